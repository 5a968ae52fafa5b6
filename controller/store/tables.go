package store

import (
	"cmp"
	"sync"

	"github.com/tidwall/btree"

	"github.com/cairn-cloud/cairn/api"
)

// tables is the copy in memory. It is made of persistent B-trees: copy costs a
// few allocations, and a copy and its original can then be changed apart.
type tables struct {
	objects *btree.BTreeG[*entry]              // by kind and ID
	refs    *btree.BTreeG[refRow]              // by target, and of each project its objects
	owners  *btree.Map[string, holder]         // unique key → who holds it
	counts  *btree.Map[string, count]          // counter → amounts
	idem    *btree.Map[string, *remembered]    // idempotency key → what was written
	alive   *btree.Map[string, string]         // host → process that holds its lease
	live    *btree.Map[string, controllerInfo] // processes
	schema  schemaRow

	// copying guards copy, which marks the trees of both as shared.
	copying sync.Mutex
}

type holder struct{ kind, id string }

type count struct {
	amounts map[string]int64 // never changed in place
	mod     int64
}

type remembered struct {
	Idempotency
	mod int64
}

type schemaRow struct {
	version int
	mod     int64
}

// refRow says that an object refers to a target. The target kind inProject is
// the index of what is in a project.
type refRow struct{ targetKind, targetID, kind, id string }

const inProject = ""

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

func newTables() *tables {
	// The trees are locked by copying and by there being one writer.
	o := btree.Options{NoLocks: true, Degree: degree}
	return &tables{
		objects: btree.NewBTreeGOptions(lessEntry, o),
		refs:    btree.NewBTreeGOptions(lessRef, o),
		owners:  btree.NewMap[string, holder](degree),
		counts:  btree.NewMap[string, count](degree),
		idem:    btree.NewMap[string, *remembered](degree),
		alive:   btree.NewMap[string, string](degree),
		live:    btree.NewMap[string, controllerInfo](degree),
	}
}

func (t *tables) copy() *tables {
	t.copying.Lock()
	defer t.copying.Unlock()
	return &tables{
		objects: t.objects.Copy(), refs: t.refs.Copy(), owners: t.owners.Copy(), counts: t.counts.Copy(),
		idem: t.idem.Copy(), alive: t.alive.Copy(), live: t.live.Copy(), schema: t.schema,
	}
}

func (t *tables) get(kind, id string) *entry {
	e, _ := t.objects.Get(&entry{kind: kind, id: id})
	return e
}

// put makes e the object of its kind and ID. held says that what it holds may
// have changed; a status holds nothing.
func (t *tables) put(e *entry, held bool) {
	old, had := t.objects.Set(e)
	if !had {
		t.index(e, claimsOf(e.obj))
		if p := e.obj.GetMeta().Project; p != "" {
			t.refs.Set(refRow{inProject, p, e.kind, e.id})
		}
		return
	}
	if held {
		t.unindex(old, claimsOf(old.obj))
		t.index(e, claimsOf(e.obj))
	}
}

func (t *tables) index(e *entry, c api.Claims) {
	h := holder{e.kind, e.id}
	for _, u := range c.Unique {
		t.owners.Set(u.Key, h)
	}
	for _, r := range c.Refs {
		t.refs.Set(refRow{r.Kind, r.ID, h.kind, h.id})
	}
}

func (t *tables) unindex(e *entry, c api.Claims) {
	h := holder{e.kind, e.id}
	for _, u := range c.Unique {
		// Within one transaction another object may have taken the key already.
		if now, ok := t.owners.Get(u.Key); ok && now == h {
			t.owners.Delete(u.Key)
		}
	}
	for _, r := range c.Refs {
		t.refs.Delete(refRow{r.Kind, r.ID, h.kind, h.id})
	}
}

// delete removes the object, and returns it as it was last.
func (t *tables) delete(kind, id string) *entry {
	e, had := t.objects.Delete(&entry{kind: kind, id: id})
	if !had {
		return nil
	}
	t.unindex(e, claimsOf(e.obj))
	if p := e.obj.GetMeta().Project; p != "" {
		t.refs.Delete(refRow{inProject, p, kind, id})
	}
	return e
}
