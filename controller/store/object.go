package store

import (
	"reflect"

	"github.com/cairn-cloud/cairn/api"
)

// kindNo is a kind's place in api.Kinds; rows of tables are many, and a number
// is smaller than a name.
type kindNo uint8

// noKind is the number of what is no kind.
const noKind kindNo = 255

var kindNos = func() map[string]kindNo {
	m := map[string]kindNo{}
	for i, k := range api.Kinds {
		m[k.Name] = kindNo(i)
	}
	return m
}()

var (
	eventNo = kindNoOf(api.KindEvent)
	hostNo  = kindNoOf(api.KindHost)
)

func kindNoOf(name string) kindNo {
	if n, ok := kindNos[name]; ok {
		return n
	}
	return noKind
}

func (n kindNo) name() string { return api.Kinds[n].Name }

// entry is an object in memory with the mod revisions of its records; 0 where
// there is none. It is never changed after it was put into a table.
type entry struct {
	kind kindNo
	// schema is the version that each record was written with.
	schema  [3]int8
	id      string
	project string
	obj     api.Object // nil where it is kept raw, and in an entry to search with
	// raw is the record of an event. Events are by far the most objects, and
	// looked at the least: a record takes a fifth of what its object would.
	raw string
	mod [3]int64 // by part
}

// rawEntry keeps an object as its record, which was decoded once.
func rawEntry(record string, o api.Object, mod int64, schema int) *entry {
	k, _ := api.KindOf(o)
	m := o.GetMeta()
	return &entry{kind: kindNoOf(k.Name), schema: [3]int8{int8(schema)}, id: m.ID, project: m.Project, raw: record, mod: [3]int64{mod}}
}

// object is what readers are given.
func (e *entry) object() api.Object {
	if e.obj != nil {
		return e.obj
	}
	o, _, err := decode(api.Kinds[e.kind], []byte(e.raw))
	if err != nil {
		panic("store: a record that was read is unreadable: " + err.Error())
	}
	o.GetMeta().Revision = e.mod[partSpec]
	complete(o, api.Kinds[e.kind], true)
	return o
}

// claims is all that an object holds: by itself and by its placement. What is
// kept raw holds nothing.
func (e *entry) claims() api.Claims {
	if e.obj == nil {
		return api.Claims{}
	}
	c := e.obj.Claims()
	if i, ok := e.obj.(*api.Instance); ok {
		p := i.PlacementClaims()
		c.Unique = append(c.Unique, p.Unique...)
		c.Counts = append(c.Counts, p.Counts...)
		c.Refs = append(c.Refs, p.Refs...)
	}
	return c
}

func (e *entry) key(p part) string {
	switch p {
	case partStatus:
		return statusKey(e.kind.name(), e.id)
	case partPlacement:
		return placementKey(e.id)
	default:
		return specKey(e.kind.name(), e.project, e.id)
	}
}

// with returns the entry with one part taken from another object of its kind;
// all else stays. A nil entry stands for an object that is not there yet.
func (e *entry) with(k api.Kind, p part, from api.Object, mod int64, schema int) *entry {
	n := &entry{kind: kindNoOf(k.Name)}
	if e != nil {
		*n = *e
	}
	n.mod[p], n.schema[p] = mod, int8(schema)
	switch {
	case p == partSpec:
		n.id, n.project = from.GetMeta().ID, from.GetMeta().Project
		n.obj = shallow(from)
		n.obj.GetMeta().Revision = mod
		if e != nil {
			take(n.obj, e.obj, partStatus)
			take(n.obj, e.obj, partPlacement)
		} else {
			clear(n.obj, partStatus)
			clear(n.obj, partPlacement)
		}
	case mod == 0:
		n.obj = shallow(e.obj)
		clear(n.obj, p)
	default:
		n.obj = shallow(e.obj)
		take(n.obj, from, p)
	}
	complete(n.obj, k, n.mod[partStatus] == 0)
	return n
}

// complete gives the status that follows from there being no status record:
// what is in effect as soon as it is written is ready, all else is pending.
func complete(o api.Object, k api.Kind, none bool) {
	s := o.StatusPtr().GetStatus()
	switch {
	case k.Immediate:
		*s = api.Status{State: api.StateReady, ObservedGeneration: o.GetMeta().Generation}
	case none:
		*s = api.Status{State: api.StatePending}
	}
}

// shallow copies the struct. Maps and slices are shared, which is safe because
// objects in memory are never changed.
func shallow(o api.Object) api.Object {
	v := reflect.ValueOf(o).Elem()
	c := reflect.New(v.Type())
	c.Elem().Set(v)
	return c.Interface().(api.Object)
}

func take(dst, src api.Object, p part) {
	switch p {
	case partStatus:
		reflect.ValueOf(dst.StatusPtr()).Elem().Set(reflect.ValueOf(src.StatusPtr()).Elem())
	case partPlacement:
		if d, ok := dst.(*api.Instance); ok {
			d.Placement = src.(*api.Instance).Placement
		}
	case partSpec:
	}
}

func clear(dst api.Object, p part) {
	switch p {
	case partStatus:
		reflect.ValueOf(dst.StatusPtr()).Elem().SetZero()
	case partPlacement:
		if d, ok := dst.(*api.Instance); ok {
			d.Placement = api.Placement{}
		}
	case partSpec:
	}
}

// may tells whether an object of its kind can have that record.
func (e *entry) may(p part) bool {
	switch p {
	case partPlacement:
		return api.Kinds[e.kind].Name == api.KindInstance
	case partStatus:
		return !api.Kinds[e.kind].Immediate && e.kind != eventNo
	default:
		return true
	}
}
