package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cairn-cloud/cairn/api"
)

// condition is something that must still be so when the transaction is carried out.
type condition struct {
	key    string
	mod    int64 // the key's mod revision; 0: it is not there
	exists bool  // instead: the key is there, at whatever revision
}

// write is a put or, without a value, a delete.
type write struct {
	key   string
	value string
	day   bool // under the lease of a day
}

// delta is what one Change adds to a stage. The stage's tables have it already,
// and take it back where it does not fit.
type delta struct {
	since  int // where it begins in the stage's undo
	conds  []condition
	free   []touched // objects that nothing may refer to
	writes []write
	lead   *leadership
}

func (d *delta) empty() bool { return len(d.writes) == 0 }

func (d *delta) need(key string, mod int64) { d.when(condition{key: key, mod: mod}) }

// when adds a condition. A change often has several reasons to compare one key,
// which is then compared once: all are about the view, so two on one key differ only
// in strictness.
func (d *delta) when(c condition) {
	i := slices.IndexFunc(d.conds, func(x condition) bool { return x.key == c.key })
	switch {
	case i < 0:
		d.conds = append(d.conds, c)
	case !c.exists:
		d.conds[i] = c
	}
}

func (d *delta) put(key, value string) {
	d.writes = append(d.writes, write{key: key, value: value})
}
func (d *delta) remove(key string) { d.writes = append(d.writes, write{key: key}) }

// edit is what a Change does to one object.
type edit struct {
	kind     api.Kind
	old, now *entry     // nil: not there
	was, is  api.Claims // what they hold, where that may differ
	records  [3]string  // to be written
	day      bool
}

// editor turns a Change into a delta. It judges first, by the tables as they
// were before, and then changes them.
type editor struct {
	st    *stage
	d     *delta
	edits map[touched]*edit
	order []*edit
}

// prepare puts a change into the stage's tables, which stay as they are where
// it is refused.
func (st *stage) prepare(c Change) (*delta, error) {
	x := &editor{st: st, d: &delta{since: len(st.undo)}, edits: map[touched]*edit{}}
	if err := x.prepare(c); err != nil {
		st.back(x.d)
		return nil, err
	}
	return x.d, nil
}

func (x *editor) prepare(c Change) error {
	for _, step := range []struct {
		objects []api.Object
		do      func(*edit, api.Object) error
	}{
		{c.Create, x.create},
		{c.Update, x.update},
		{instances(c.Place), x.place},
		{c.Status, x.status},
		{c.rewrite, x.rewrite},
		{events(c.Events), x.event},
		{c.Delete, x.delete},
	} {
		for _, o := range step.objects {
			if err := step.do(x.edit(o), o); err != nil {
				return err
			}
		}
	}
	if err := x.guard(c.Guards); err != nil {
		return err
	}
	if err := x.fences(c); err != nil {
		return err
	}
	if err := x.claims(); err != nil {
		return err
	}
	for _, e := range x.order {
		x.records(e)
	}
	for _, at := range x.d.free {
		if err := x.unused(at); err != nil {
			return err
		}
	}
	if c.Idempotency != nil {
		return x.remember(c.Idempotency)
	}
	return nil
}

func instances(in []*api.Instance) (out []api.Object) {
	for _, i := range in {
		out = append(out, i)
	}
	return out
}

func events(in []*api.Event) (out []api.Object) {
	for _, e := range in {
		out = append(out, e)
	}
	return out
}

func (x *editor) edit(o api.Object) *edit {
	k, ok := api.KindOf(o)
	if !ok {
		panic(fmt.Sprintf("store: %T is of no kind", o))
	}
	at := touched{kindNoOf(k.Name), o.GetMeta().ID}
	e := x.edits[at]
	if e == nil {
		old := x.st.t.get(at.kind, at.id)
		e = &edit{kind: k, old: old, now: old}
		x.edits[at] = e
		x.order = append(x.order, e)
	}
	return e
}

// set makes the record of one part and puts it into the object. What is in
// memory is what was encoded, and shares nothing with the caller's object.
func (x *editor) set(e *edit, p part, o api.Object, force bool) error {
	schema := x.st.t.schema.inForce(e.kind)
	record, err := encode(p, schema, o)
	if err != nil {
		return err
	}
	if e.now != nil && !force {
		was, err := encode(p, schema, e.now.obj)
		if err != nil {
			return err
		}
		if bytes.Equal(was, record) {
			return nil // it changes nothing, so it costs no revision
		}
	}
	e.records[p] = string(record)
	if e.kind.Name == api.KindEvent {
		e.now = rawEntry(e.records[p], o, x.st.pending(), schema)
		return nil
	}
	from, _, err := decode(e.kind, record)
	if err != nil {
		return err
	}
	e.now = e.now.with(e.kind, p, from, x.st.pending(), schema)
	x.st.detector.add(e.now.obj)
	return nil
}

func (x *editor) create(e *edit, o api.Object) error {
	m := o.GetMeta()
	if m.ID == "" {
		return fmt.Errorf("create a %s: it has no ID", e.kind.Name)
	}
	if e.now != nil {
		return fmt.Errorf("create %s: there is one already", m.ID)
	}
	return x.set(e, partSpec, o, true)
}

func (x *editor) update(e *edit, o api.Object) error {
	if err := x.unchanged(e, o); err != nil {
		return err
	}
	if was, m := e.now.obj.GetMeta(), o.GetMeta(); was.Project != m.Project {
		return fmt.Errorf("update %s: its project cannot change", m.ID)
	}
	return x.set(e, partSpec, o, false)
}

// unchanged refuses to write over what the caller cannot have seen.
func (x *editor) unchanged(e *edit, o api.Object) error {
	m := o.GetMeta()
	if e.now == nil {
		return api.NotFound(e.kind.Name, m.ID)
	}
	if e.old != nil && e.old.obj.GetMeta().Revision != m.Revision {
		return fmt.Errorf("change %s of revision %d: %w", m.ID, m.Revision, ErrStale)
	}
	return nil
}

func (x *editor) place(e *edit, o api.Object) error {
	if e.now == nil {
		return api.NotFound(e.kind.Name, o.GetMeta().ID)
	}
	return x.set(e, partPlacement, o, false)
}

func (x *editor) status(e *edit, o api.Object) error {
	if e.now == nil {
		return api.NotFound(e.kind.Name, o.GetMeta().ID)
	}
	if e.kind.Immediate {
		return fmt.Errorf("write the status of %s: the kind %s has none", o.GetMeta().ID, e.kind.Name)
	}
	return x.set(e, partStatus, o, false)
}

// rewrite writes the records as they are, in the schema that is in force.
func (x *editor) rewrite(e *edit, _ api.Object) error {
	if e.now == nil {
		return nil
	}
	o := e.now
	for p, mod := range o.mod {
		if mod == 0 {
			continue
		}
		if err := x.set(e, part(p), o.obj, true); err != nil {
			return err
		}
	}
	return nil
}

func (x *editor) event(e *edit, o api.Object) error {
	e.day = true
	return x.create(e, o)
}

func (x *editor) delete(e *edit, _ api.Object) error {
	e.now = nil // what is gone already may be deleted again
	return nil
}

func (x *editor) guard(objects []api.Object) error {
	for _, o := range objects {
		k, _ := api.KindOf(o)
		e := &edit{kind: k, old: x.st.t.get(kindNoOf(k.Name), o.GetMeta().ID)}
		e.now = e.old
		if err := x.unchanged(e, o); err != nil {
			return err
		}
		if base := x.st.base.t.get(kindNoOf(k.Name), o.GetMeta().ID); base != nil {
			x.d.need(base.key(partSpec), base.mod[partSpec])
			if k.Name == api.KindInstance {
				x.d.need(base.key(partPlacement), base.mod[partPlacement])
			}
		}
	}
	return nil
}

// records adds the object's records to the delta, and the object to the tables.
func (x *editor) records(e *edit) {
	if e.now == e.old {
		return
	}
	var base *entry
	at := e.now
	if at == nil {
		at = e.old
	}
	if !e.day { // the ID of an event is new, and nobody else writes it
		base = x.st.base.t.get(at.kind, at.id)
	}
	mod := func(p part) int64 {
		if base == nil {
			return 0
		}
		return base.mod[p]
	}
	if e.now == nil {
		for _, p := range []part{partSpec, partPlacement, partStatus} {
			if !at.may(p) {
				continue
			}
			// Also what is not there must still not be: a record that came meanwhile
			// would stay behind, with all that it claims.
			x.d.need(at.key(p), mod(p))
			if e.old.mod[p] != 0 {
				x.d.remove(at.key(p))
			}
		}
		if at.kind == hostNo {
			x.d.remove(lifePrefix + at.id)
			x.d.remove(fencePrefix + at.id)
			x.st.forget(at.id)
		}
		x.d.free = append(x.d.free, touched{at.kind, at.id})
		x.st.drop(e.old, e.was)
		return
	}
	for _, p := range []part{partSpec, partPlacement, partStatus} {
		if e.records[p] == "" {
			continue
		}
		if !e.day {
			x.d.need(at.key(p), mod(p))
		}
		x.d.writes = append(x.d.writes, write{key: at.key(p), value: e.records[p], day: e.day})
	}
	if e.records[partSpec] == "" && base != nil {
		// A record of an object that is gone would be there for ever.
		x.d.when(condition{key: at.key(partSpec), exists: true})
	}
	if e.records[partStatus] != "" && base != nil && e.kind.Name == api.KindInstance {
		// A report under an old epoch must not land after the move.
		x.d.need(at.key(partPlacement), mod(partPlacement))
	}
	x.st.set(e.old, e.now, e.was, e.is)
}

func (x *editor) remember(i *Idempotency) error {
	if _, ok := x.st.t.idem.Get(i.Key); ok {
		return api.NewProblem(409, "idempotency_key_reused", "Idempotency-Key", "use a new key for a new request", "this key came before")
	}
	value, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("remember a write: %w", err)
	}
	key := idemPrefix + i.Key
	x.d.need(key, 0)
	x.d.writes = append(x.d.writes, write{key: key, value: string(value), day: true})
	x.st.remember(i)
	return nil
}
