package store

import (
	"reflect"

	"github.com/cairn-cloud/cairn/api"
)

// entry is an object in memory with the mod revisions of its records; 0 where
// there is none. It is never changed after it was put into a table.
type entry struct {
	kind string
	id   string
	obj  api.Object // nil in one to search with
	mod  [3]int64   // by part
	// schema is the version that each record was written with.
	schema [3]int8
}

func (e *entry) key(p part) string {
	switch p {
	case partStatus:
		return statusKey(e.kind, e.id)
	case partPlacement:
		return placementKey(e.id)
	default:
		return specKey(e.kind, e.obj.GetMeta().Project, e.id)
	}
}

// with returns the entry with one part taken from another object of its kind;
// all else stays. A nil entry stands for an object that is not there yet.
func (e *entry) with(k api.Kind, p part, from api.Object, mod int64, schema int) *entry {
	n := &entry{kind: k.Name}
	if e != nil {
		*n = *e
	}
	n.mod[p], n.schema[p] = mod, int8(schema)
	switch {
	case p == partSpec:
		n.id = from.GetMeta().ID
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
	n.complete(k)
	return n
}

// complete gives the status that follows from there being no status record:
// what is in effect as soon as it is written is ready, all else is pending.
func (e *entry) complete(k api.Kind) {
	s := e.obj.StatusPtr().GetStatus()
	switch {
	case k.Immediate:
		*s = api.Status{State: api.StateReady, ObservedGeneration: e.obj.GetMeta().Generation}
	case e.mod[partStatus] == 0:
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

// claimsOf is all that an object holds: by itself and by its placement.
func claimsOf(o api.Object) api.Claims {
	c := o.Claims()
	if i, ok := o.(*api.Instance); ok {
		p := i.PlacementClaims()
		c.Unique = append(c.Unique, p.Unique...)
		c.Counts = append(c.Counts, p.Counts...)
		c.Refs = append(c.Refs, p.Refs...)
	}
	return c
}
