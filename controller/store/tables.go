package store

import (
	"cmp"
	"slices"
	"sync"

	"github.com/tidwall/btree"

	"github.com/cairn-cloud/cairn/api"
)

// tables is the copy in memory. It is made of persistent B-trees: copy costs a
// few allocations, and a copy and its original can then be changed apart.
type tables struct {
	objects *btree.BTreeG[*entry]              // by kind and ID
	members *btree.BTreeG[*entry]              // those of projects, by project, kind and ID
	refs    *btree.BTreeG[refRow]              // by target
	owners  *btree.Map[string, holder]         // unique key → who holds it
	counts  *btree.Map[string, count]          // counter → amounts
	idem    *btree.Map[string, *remembered]    // idempotency key → what was written
	alive   *btree.Map[string, string]         // host → process that holds its lease
	lives   *btree.Map[string, int64]          // host → revision at which it last came alive
	fences  *btree.Map[string, fence]          // host → that it is off for sure
	live    *btree.Map[string, controllerInfo] // processes
	schema  schemaRow
	held    *Hold // nil unless it is

	// copying guards copy, which marks the trees of both as shared.
	copying sync.Mutex
}

type holder struct {
	kind kindNo
	id   string
}

type count struct {
	amounts map[string]int64 // never changed in place
	mod     int64
}

// fence is an api.Fence with the revision of its record.
type fence struct {
	api.Fence
	mod int64
}

// remembered is an Idempotency without its key.
type remembered struct {
	fingerprint, id string
	kind            kindNo
	refused         *api.Problem
	mod             int64
}

type schemaRow struct {
	version int
	mod     int64
}

// refRow says that an object refers to a target.
type refRow struct {
	targetKind, kind kindNo
	targetID, id     string
}

// degree keeps the trees' nodes small: a write copies those on the way to its
// item, and with the library's default of 32 that was half of all that was allocated.
const degree = 8

func lessRef(a, b refRow) bool {
	return cmp.Or(cmp.Compare(a.targetKind, b.targetKind), cmp.Compare(a.targetID, b.targetID), cmp.Compare(a.kind, b.kind), cmp.Compare(a.id, b.id)) < 0
}

func lessEntry(a, b *entry) bool {
	if a.kind != b.kind {
		return a.kind < b.kind
	}
	return a.id < b.id
}

func lessMember(a, b *entry) bool {
	if a.project != b.project {
		return a.project < b.project
	}
	return lessEntry(a, b)
}

func newTables() *tables {
	// The trees are locked by copying and by there being one writer.
	o := btree.Options{NoLocks: true, Degree: degree}
	return &tables{
		objects: btree.NewBTreeGOptions(lessEntry, o),
		members: btree.NewBTreeGOptions(lessMember, o),
		refs:    btree.NewBTreeGOptions(lessRef, o),
		owners:  btree.NewMap[string, holder](degree),
		counts:  btree.NewMap[string, count](degree),
		idem:    btree.NewMap[string, *remembered](degree),
		alive:   btree.NewMap[string, string](degree),
		lives:   btree.NewMap[string, int64](degree),
		fences:  btree.NewMap[string, fence](degree),
		live:    btree.NewMap[string, controllerInfo](degree),
	}
}

func (t *tables) copy() *tables {
	t.copying.Lock()
	defer t.copying.Unlock()
	return &tables{
		objects: t.objects.Copy(), members: t.members.Copy(), refs: t.refs.Copy(), owners: t.owners.Copy(), counts: t.counts.Copy(),
		idem: t.idem.Copy(), alive: t.alive.Copy(), lives: t.lives.Copy(), fences: t.fences.Copy(), live: t.live.Copy(), schema: t.schema, held: t.held,
	}
}

// sought are entries to search with.
var sought = sync.Pool{New: func() any { return &entry{} }}

func (t *tables) get(kind kindNo, id string) *entry {
	x := sought.Get().(*entry)
	x.kind, x.id = kind, id
	e, _ := t.objects.Get(x)
	x.id = ""
	sought.Put(x)
	return e
}

// put makes e the object of its kind and ID, which held what was, and holds what
// is from now on.
func (t *tables) put(e *entry, was, is api.Claims) {
	t.objects.Set(e)
	if e.project != "" {
		t.members.Set(e)
	}
	t.unindex(e, was, is)
	t.index(e, was, is)
}

// index adds what is held and was not.
func (t *tables) index(e *entry, was, is api.Claims) {
	h := holder{e.kind, e.id}
	for _, u := range is.Unique {
		if !hasKey(was.Unique, u.Key) {
			t.owners.Set(u.Key, h)
		}
	}
	for _, r := range is.Refs {
		if !hasRef(was.Refs, r) {
			t.refs.Set(refRow{kindNoOf(r.Kind), h.kind, r.ID, h.id})
		}
	}
}

// unindex removes what was held and is not.
func (t *tables) unindex(e *entry, was, is api.Claims) {
	h := holder{e.kind, e.id}
	for _, u := range was.Unique {
		if hasKey(is.Unique, u.Key) {
			continue
		}
		// Within one transaction another object may have taken the key already.
		if now, ok := t.owners.Get(u.Key); ok && now == h {
			t.owners.Delete(u.Key)
		}
	}
	for _, r := range was.Refs {
		if !hasRef(is.Refs, r) {
			t.refs.Delete(refRow{kindNoOf(r.Kind), h.kind, r.ID, h.id})
		}
	}
}

func hasKey(list []api.Unique, key string) bool {
	return slices.ContainsFunc(list, func(u api.Unique) bool { return u.Key == key })
}

func hasRef(list []api.Ref, ref api.Ref) bool {
	return slices.ContainsFunc(list, func(r api.Ref) bool { return r.Kind == ref.Kind && r.ID == ref.ID })
}

// delete removes the object, which held what was.
func (t *tables) delete(e *entry, was api.Claims) {
	t.objects.Delete(e)
	if e.project != "" {
		t.members.Delete(e)
	}
	t.unindex(e, was, api.Claims{})
}
