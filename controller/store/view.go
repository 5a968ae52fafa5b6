package store

import (
	"iter"
	"maps"

	"github.com/cairn-cloud/cairn/api"
)

// View is an immutable picture of all objects at one revision. It implements
// api.View, costs nothing to keep, and may be used by many at once.
type View struct {
	t   *tables
	rev int64
}

var _ api.View = (*View)(nil)

// Revision implements api.View.
func (v *View) Revision() int64 { return v.rev }

// Get implements api.View.
func (v *View) Get(kind, id string) api.Object {
	if e := v.t.get(kindNoOf(kind), id); e != nil {
		return e.object()
	}
	return nil
}

// Lookup implements api.View. An ID of another project is as one that does
// not exist, unless the project is empty.
func (v *View) Lookup(kind, project, nameOrID string) api.Object {
	if o := v.Get(kind, nameOrID); o != nil && (project == "" || o.GetMeta().Project == project) {
		return o
	}
	m := api.Meta{Name: nameOrID, Project: project}
	h, ok := v.t.owners.Get(api.NameClaim(kind, &m).Key)
	if !ok || h.kind != kindNoOf(kind) {
		return nil
	}
	return v.Get(kind, h.id)
}

// List implements api.View.
func (v *View) List(kind, project, after string) iter.Seq[api.Object] {
	tree := v.t.objects
	if project != "" {
		tree = v.t.members
	}
	from := &entry{kind: kindNoOf(kind), project: project, id: after}
	return func(yield func(api.Object) bool) {
		tree.Ascend(from, func(e *entry) bool {
			if e.kind != from.kind || project != "" && e.project != project {
				return false
			}
			return e.id == after || yield(e.object())
		})
	}
}

// Referrers implements api.View.
func (v *View) Referrers(kind, targetKind, targetID string) iter.Seq[api.Object] {
	from := refRow{targetKind: kindNoOf(targetKind), targetID: targetID, kind: kindNoOf(kind)}
	return func(yield func(api.Object) bool) {
		v.t.refs.Ascend(from, func(r refRow) bool {
			if r.targetKind != from.targetKind || r.targetID != from.targetID || r.kind != from.kind {
				return false
			}
			e := v.t.get(r.kind, r.id)
			return e == nil || yield(e.object())
		})
	}
}

// Owner implements api.View.
func (v *View) Owner(key string) string {
	h, _ := v.t.owners.Get(key)
	return h.id
}

// Used implements api.View.
func (v *View) Used(key string) map[string]int64 {
	c, _ := v.t.counts.Get(key)
	return maps.Clone(c.amounts)
}

// Alive implements api.View.
func (v *View) Alive(host string) bool {
	_, ok := v.t.alive.Get(host)
	return ok
}

// aliveBy is the process that holds the host's lease; "": none does.
func (v *View) aliveBy(host string) string {
	by, _ := v.t.alive.Get(host)
	return by
}

// Life implements api.View.
func (v *View) Life(host string) int64 {
	rev, _ := v.t.lives.Get(host)
	return rev
}

// Fence implements api.View.
func (v *View) Fence(host string) *api.Fence {
	if f, ok := v.t.fences.Get(host); ok {
		return &f.Fence
	}
	return nil
}

// Idempotency returns what was answered under the key within the last day, or nil.
func (v *View) Idempotency(key string) *Idempotency {
	r, ok := v.t.idem.Get(key)
	if !ok {
		return nil
	}
	return &Idempotency{Key: key, Fingerprint: r.fingerprint, Kind: r.kind.name(), ID: r.id, Refused: r.refused}
}
