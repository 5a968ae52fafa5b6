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
	conds    keyed[condition]
	free     map[touched]int // → how many comparisons it takes
	writes   keyed[write]
	leads    map[string]int64
	bytes    int
}

// keyed holds things by key, in the order in which the keys came.
type keyed[T any] struct {
	list []T
	at   map[string]int
}

func (k *keyed[T]) has(key string) bool {
	_, ok := k.at[key]
	return ok
}

func (k *keyed[T]) set(key string, x T) {
	if i, ok := k.at[key]; ok {
		k.list[i] = x
		return
	}
	k.at[key] = len(k.list)
	k.list = append(k.list, x)
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
		conds: keyed[condition]{at: map[string]int{}}, free: map[touched]int{}, writes: keyed[write]{at: map[string]int{}}, leads: map[string]int64{},
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
	compares, writes, bytes := len(st.conds.list)+len(st.leads), len(st.writes.list), 0
	for _, n := range st.free {
		compares += n
	}
	for _, at := range d.free {
		compares += 1 + st.baseRefs(at)
	}
	for _, c := range d.conds {
		if !st.conds.has(c.key) {
			compares++
		}
	}
	for _, w := range d.writes {
		bytes += len(w.key) + len(w.value)
		if !st.writes.has(w.key) {
			writes++
		}
	}
	if d.lead != nil {
		compares++
	}
	return max(compares, writes)+ownOps <= st.maxOps && (st.empty() || st.bytes+bytes <= maxBytes)
}

// add takes the change in.
func (st *stage) add(d *delta) {
	for _, c := range d.conds {
		if !c.exists || !st.conds.has(c.key) {
			st.conds.set(c.key, c)
		}
	}
	for _, at := range d.free {
		st.free[at] = 1 + st.baseRefs(at)
	}
	for _, w := range d.writes {
		st.writes.set(w.key, w)
		st.bytes += len(w.key) + len(w.value)
	}
	if d.lead != nil {
		st.leads[d.lead.key] = d.lead.rev
	}
}

func (st *stage) empty() bool { return len(st.writes.list) == 0 }

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
	cmps := make([]clientv3.Cmp, 0, len(st.conds.list)+len(st.leads)+len(st.free)+ownOps)
	cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(schemaKey), "=", st.base.t.schema.mod))
	for _, c := range st.conds.list {
		if c.exists {
			cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(c.key), ">", 0))
		} else {
			cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(c.key), "=", c.mod))
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
	ops := make([]clientv3.Op, 0, len(st.writes.list)+1)
	for _, w := range st.writes.list {
		switch {
		case w.value == "":
			ops = append(ops, clientv3.OpDelete(w.key))
		case w.day:
			ops = append(ops, clientv3.OpPut(w.key, w.value, clientv3.WithLease(day)))
		default:
			ops = append(ops, clientv3.OpPut(w.key, w.value))
		}
	}
	return ops
}

func (st *stage) needsDay() bool {
	for _, w := range st.writes.list {
		if w.day {
			return true
		}
	}
	return false
}
