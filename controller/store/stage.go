package store

import (
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/cairn-cloud/cairn/api"
)

// stage is a transaction in the making: several changes, each judged on what
// those before it made of the view that the first one saw.
type stage struct {
	base     *View    // as etcd has it
	t        *tables  // with the changes of the stage; those of base until there is one
	undo     []func() // takes them back, the last one first
	detector *detector
	maxOps   int
	conds    map[string]condition
	condKeys []string
	free     map[touched]int // → how many comparisons it takes
	writes   map[string]write
	keys     []string
	leads    map[string]int64
	bytes    int
}

const (
	// ownOps is how many comparisons and writes a transaction has of its own:
	// the schema in force, and the mark of its writer.
	ownOps = 2
	// maxBytes bounds what several changes are put together to; one change alone
	// may be larger, and is then judged by etcd's own limit of a request.
	maxBytes = 1 << 20
)

func newStage(base *View, maxOps int, d *detector) *stage {
	return &stage{
		base: base, t: base.t, detector: d, maxOps: maxOps,
		conds: map[string]condition{}, free: map[touched]int{}, writes: map[string]write{}, leads: map[string]int64{},
	}
}

// pending is the revision that records of the stage have until they get
// their own. No object of the view has it.
func (st *stage) pending() int64 { return st.base.rev + 1 }

// view shows the stage to decide, and closes when that has returned: the tables
// go on to be changed. Whoever kept the view would find none.
func (st *stage) view() (v *View, closeView func()) {
	v = &View{t: st.t, rev: st.base.rev}
	return v, func() { v.t = nil }
}

// own returns the tables to be changed. They are copied once for the stage: a
// copy for every change would copy the same nodes again and again.
func (st *stage) own(undo func()) *tables {
	if st.t == st.base.t {
		st.t = st.base.t.copy()
	}
	st.undo = append(st.undo, undo)
	return st.t
}

// set puts an object in the place of old, nil where there was none, with what
// the two hold.
func (st *stage) set(old, now *entry, was, is api.Claims) {
	st.own(func() {
		if old == nil {
			st.t.delete(now, is)
		} else {
			st.t.put(old, is, was)
		}
	}).put(now, was, is)
}

func (st *stage) drop(old *entry, was api.Claims) {
	st.own(func() { st.t.put(old, api.Claims{}, was) }).delete(old, was)
}

func (st *stage) count(key string, old count, had bool, amounts map[string]int64) {
	t := st.own(func() {
		if had {
			st.t.counts.Set(key, old)
		} else {
			st.t.counts.Delete(key)
		}
	})
	if len(amounts) == 0 {
		t.counts.Delete(key)
	} else {
		t.counts.Set(key, count{amounts: amounts, mod: st.pending()})
	}
}

func (st *stage) remember(i *Idempotency) {
	st.own(func() { st.t.idem.Delete(i.Key) }).idem.Set(i.Key, i.remembered(st.pending()))
}

// back takes back a change that is not to be in the stage after all. It must
// be the last one.
func (st *stage) back(d *delta) {
	for i := len(st.undo) - 1; i >= d.since; i-- {
		st.undo[i]()
	}
	st.undo = st.undo[:d.since]
}

// fits tells whether the transaction has room for the change. The first one
// gets all the bytes that it wants.
func (st *stage) fits(d *delta) bool {
	compares, writes, bytes := len(st.conds)+len(st.leads), len(st.writes), 0
	for _, n := range st.free {
		compares += n
	}
	for _, at := range d.free {
		compares += 1 + st.baseRefs(at)
	}
	// A change often has several reasons to compare one key, which is then
	// compared once.
	twice := make(map[string]bool, len(d.conds))
	for _, c := range d.conds {
		if _, known := st.conds[c.key]; !known && !twice[c.key] {
			compares++
			twice[c.key] = true
		}
	}
	for _, w := range d.writes {
		bytes += len(w.key) + len(w.value)
		if _, known := st.writes[w.key]; !known {
			writes++
		}
	}
	if d.lead != nil {
		compares++
	}
	return max(compares, writes)+ownOps <= st.maxOps && (len(st.writes) == 0 || st.bytes+bytes <= maxBytes)
}

// add takes the change in.
func (st *stage) add(d *delta) {
	for _, c := range d.conds {
		old, known := st.conds[c.key]
		if !known {
			st.condKeys = append(st.condKeys, c.key)
		}
		// All conditions are about the view, so two on one key differ only in strictness.
		if !known || old.exists {
			st.conds[c.key] = c
		}
	}
	for _, at := range d.free {
		st.free[at] = 1 + st.baseRefs(at)
	}
	for _, w := range d.writes {
		if _, known := st.writes[w.key]; !known {
			st.keys = append(st.keys, w.key)
		}
		st.writes[w.key] = w
		st.bytes += len(w.key) + len(w.value)
	}
	if d.lead != nil {
		st.leads[d.lead.key] = d.lead.rev
	}
}

func (st *stage) empty() bool { return len(st.writes) == 0 }

// baseRefs counts the references to an object in the view.
func (st *stage) baseRefs(at touched) int { return len(st.base.refRows(at)) }

func (v *View) refRows(at touched) (rows []refRow) {
	v.t.refs.Ascend(refRow{targetKind: at.kind, targetID: at.id}, func(r refRow) bool {
		if r.targetKind != at.kind || r.targetID != at.id {
			return false
		}
		rows = append(rows, r)
		return true
	})
	return rows
}

// compares are all the conditions.
func (st *stage) compares() []clientv3.Cmp {
	cmps := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(schemaKey), "=", st.base.t.schema.mod)}
	for _, key := range st.condKeys {
		if c := st.conds[key]; c.exists {
			cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(key), ">", 0))
		} else {
			cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(key), "=", c.mod))
		}
	}
	for key, rev := range st.leads {
		cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(key), "=", rev))
	}
	for at := range st.free {
		cmps = append(cmps, st.unreferred(at)...)
	}
	return cmps
}

// unreferred says that there is no reference to the object but those that the
// view shows: they go in this transaction, or the change would have been refused.
func (st *stage) unreferred(at touched) (cmps []clientv3.Cmp) {
	from := refsKey(at.kind.name(), at.id)
	end := clientv3.GetPrefixRangeEnd(from)
	gap := func(from, end string) {
		cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(from).WithRange(end), "=", 0))
	}
	var keys []string
	for _, r := range st.base.refRows(at) {
		keys = append(keys, refKey(r))
	}
	slices.Sort(keys) // rows are in order of kind, keys are in order of bytes
	for _, key := range keys {
		gap(from, key)
		from = key + "\x00"
	}
	gap(from, end)
	return cmps
}

// operations are all the writes; day is the lease for those that need one.
func (st *stage) operations(day clientv3.LeaseID) []clientv3.Op {
	ops := make([]clientv3.Op, 0, len(st.keys)+1)
	for _, key := range st.keys {
		switch w := st.writes[key]; {
		case w.value == nil:
			ops = append(ops, clientv3.OpDelete(key))
		case w.day:
			ops = append(ops, clientv3.OpPut(key, string(w.value), clientv3.WithLease(day)))
		default:
			ops = append(ops, clientv3.OpPut(key, string(w.value)))
		}
	}
	return ops
}

func (st *stage) needsDay() bool {
	for _, w := range st.writes {
		if w.day {
			return true
		}
	}
	return false
}
