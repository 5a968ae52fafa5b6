package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/cairn-cloud/cairn/api"
)

// claims adds the difference of what the objects held before the change and
// what they hold after it.
func (x *editor) claims() error {
	l := ledger{x: x, lost: map[string]bool{}, gained: map[string]gain{}, amounts: map[string]map[string]int64{}}
	for _, e := range x.order {
		if e.now != nil && e.records[partSpec] == "" && e.records[partPlacement] == "" {
			continue // a status holds nothing
		}
		if e.old != nil {
			e.was = e.old.claims()
		}
		if e.now != nil {
			e.is = e.now.claims()
		}
		if err := l.unique(e); err != nil {
			return err
		}
		if err := l.refs(e); err != nil {
			return err
		}
		l.count(e.was.Counts, -1)
		l.count(e.is.Counts, 1)
	}
	if err := l.take(); err != nil {
		return err
	}
	return l.counters()
}

// after is the object as the change leaves it.
func (x *editor) after(kind, id string) *entry {
	no := kindNoOf(kind)
	if e := x.edits[touched{no, id}]; e != nil {
		return e.now
	}
	return x.st.t.get(no, id)
}

// ledger sums up what a change takes and gives back. Keys keep the order in
// which they came, so that equal changes make equal transactions.
type ledger struct {
	x       *editor
	lost    map[string]bool
	losts   []string
	gained  map[string]gain
	gains   []string
	amounts map[string]map[string]int64
	counted []string
}

type gain struct {
	u  api.Unique
	by *entry
}

func (l *ledger) unique(e *edit) error {
	for _, u := range e.was.Unique {
		if !hasKey(e.is.Unique, u.Key) {
			l.lost[u.Key] = true
			l.losts = append(l.losts, u.Key)
		}
	}
	for _, u := range e.is.Unique {
		if hasKey(e.was.Unique, u.Key) {
			continue
		}
		if other, twice := l.gained[u.Key]; twice && other.by != e.now {
			return taken(u, other.by)
		}
		l.gained[u.Key] = gain{u, e.now}
		l.gains = append(l.gains, u.Key)
	}
	return nil
}

// take claims the unique keys, or says who has them.
func (l *ledger) take() error {
	d, st := l.x.d, l.x.st
	for _, key := range l.losts {
		if _, again := l.gained[key]; !again {
			d.remove(claimKey(key))
		}
	}
	for _, key := range l.gains {
		g := l.gained[key]
		if h, ok := st.t.owners.Get(key); ok && !l.lost[key] {
			return taken(g.u, st.t.get(h.kind, h.id))
		}
		// One that was held before the stage is given up in it by its holder, whose
		// own revision is compared.
		if _, ok := st.base.t.owners.Get(key); !ok {
			d.need(claimKey(key), 0)
		}
		d.put(claimKey(key), g.by.id)
	}
	return nil
}

// taken is the problem for a unique key that another object holds.
func taken(u api.Unique, by *entry) error {
	return api.NewProblem(409, u.Code, u.Field, "choose another, or delete the one that has it", "%s is taken by %s", claimed(u), describe(by))
}

// claimed is what a unique key is about, for people: the last part of the key.
func claimed(u api.Unique) string {
	what, value, _ := strings.Cut(u.Key, "/")
	if what == "token" {
		return "the secret"
	}
	if i := strings.LastIndexByte(value, '/'); i >= 0 {
		value = value[i+1:]
	}
	if word, ok := map[string]string{"ip": "address", "floating": "address", "mac": "MAC address", "vni": "VNI"}[what]; ok {
		what = word
	}
	return fmt.Sprintf("the %s %q", what, value)
}

func describe(e *entry) string {
	if e == nil {
		return "another object"
	}
	return fmt.Sprintf("%s %s (%s)", e.kind.name(), e.object().GetMeta().Name, e.id)
}

func (l *ledger) refs(e *edit) error {
	d, st := l.x.d, l.x.st
	at := e.now
	if at == nil {
		at = e.old
	}
	key := func(r api.Ref) string { return refKey(refRow{kindNoOf(r.Kind), at.kind, r.ID, at.id}) }
	for i, r := range e.is.Refs {
		if hasRef(e.was.Refs, r) || hasRef(e.is.Refs[:i], r) {
			continue
		}
		if err := l.refer(r); err != nil {
			return err
		}
		if base := st.base.t.get(kindNoOf(r.Kind), r.ID); base != nil {
			d.need(base.key(partSpec), base.mod[partSpec])
		}
		d.put(key(r), "{}")
	}
	for i, r := range e.was.Refs {
		if !hasRef(e.is.Refs, r) && !hasRef(e.was.Refs[:i], r) {
			d.remove(key(r))
		}
	}
	return nil
}

// refer checks that what is referred to from now on is there, and stays.
func (l *ledger) refer(r api.Ref) error {
	e := l.x.after(r.Kind, r.ID)
	if e == nil {
		return api.NewProblem(422, "reference_not_found", r.Field, "list what there is, and choose one of it", "there is no %s %q", r.Kind, r.ID)
	}
	if m := e.object().GetMeta(); m.Deleting() {
		return api.NewProblem(422, "reference_not_found", r.Field, "choose another one", "%s %s is being deleted", r.Kind, m.Name)
	}
	return nil
}

func (l *ledger) count(counts []api.Count, sign int64) {
	for _, c := range counts {
		sum := l.amounts[c.Key]
		if sum == nil {
			sum = map[string]int64{}
			l.amounts[c.Key] = sum
			l.counted = append(l.counted, c.Key)
		}
		for name, n := range c.Amounts {
			sum[name] += sign * n
		}
	}
}

// counters writes the counters that changed. They are only counted here; whoever
// decided has held them against their limits, which the comparison makes good.
func (l *ledger) counters() error {
	d, st := l.x.d, l.x.st
	for _, key := range l.counted {
		have, had := st.t.counts.Get(key)
		sum, changed := maps.Clone(have.amounts), false
		if sum == nil {
			sum = map[string]int64{}
		}
		for name, n := range l.amounts[key] {
			changed = changed || n != 0
			if sum[name] += n; sum[name] == 0 {
				delete(sum, name)
			}
		}
		if !changed {
			continue
		}
		base, _ := st.base.t.counts.Get(key)
		d.need(countKey(key), base.mod)
		if len(sum) == 0 {
			d.remove(countKey(key))
			st.count(key, have, had, nil)
			continue
		}
		value, err := json.Marshal(sum)
		if err != nil {
			return fmt.Errorf("count %s: %w", key, err)
		}
		d.put(countKey(key), string(value))
		st.count(key, have, had, sum)
	}
	return nil
}

// unused refuses the deletion of what others refer to after the change.
func (x *editor) unused(at touched) error {
	var names []string
	more := false
	x.st.t.refs.Ascend(refRow{targetKind: at.kind, targetID: at.id}, func(r refRow) bool {
		if r.targetKind != at.kind || r.targetID != at.id {
			return false
		}
		if more = len(names) == 3; more {
			return false
		}
		names = append(names, describe(x.st.t.get(r.kind, r.id)))
		return true
	})
	if len(names) == 0 {
		return nil
	}
	who := strings.Join(names, ", ")
	if more {
		who += " and others"
	}
	return api.NewProblem(409, "in_use", "", "delete those first", "%s is in use by %s", describe(x.edits[at].old), who)
}
