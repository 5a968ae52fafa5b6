package rest

import (
	"iter"
	"slices"
	"strings"

	"github.com/cairn-cloud/cairn/api"
)

// operations is the reader of the kind operation, which is not stored: each is
// a view of the resource that it changes.
type operations struct{}

func (operations) lookup(v api.View, project, ref string) api.Object {
	id, generation, ok := api.ParseOperationID(ref)
	k, known := api.KindByID(id)
	if !ok || !known {
		return nil
	}
	o := present(v.Get(k.Name, id))
	if o == nil {
		return ofDeleted(v, project, k, id, generation)
	}
	m := o.GetMeta()
	if project != "" && m.Project != project || generation > m.Generation || generation == 0 && !m.Deleting() {
		return nil
	}
	op := api.OperationOf(o)
	if generation != 0 {
		if seen := o.StatusPtr().GetStatus().ObservedGeneration; seen >= generation && generation < m.Generation {
			op.Status.State = api.StateReady // overtaken by a newer change, but reached
		}
		op.ID, op.Spec.Generation = api.OperationID(id, generation), generation
	}
	return op
}

// ofDeleted answers for an object that is gone, from the events that it left.
// They go after a day, and then so does the operation.
func ofDeleted(v api.View, project string, k api.Kind, id string, generation int64) api.Object {
	var last *api.Event
	for o := range v.List(api.KindEvent, project, "") {
		if e, ok := o.(*api.Event); ok && e.Spec.Object == id && (last == nil || e.Spec.Time.After(last.Spec.Time)) {
			last = e
		}
	}
	if last == nil {
		return nil
	}
	op := &api.Operation{}
	op.ID, op.Name, op.Project = api.OperationID(id, generation), last.Spec.Name, last.Project
	op.CreatedAt, op.UpdatedAt = last.Spec.Time, last.Spec.Time
	op.Spec = api.OperationSpec{Kind: k.Name, Object: id, Generation: generation}
	op.Status.State = api.StateReady
	op.Status.Message = "the " + k.Name + " is gone"
	if generation != 0 {
		op.Status.State = api.StateFailed
		op.Status.Message = "the " + k.Name + " was deleted before it got there"
	}
	return op
}

// list yields the operations in progress, in order of ID.
func (operations) list(v api.View, project, after string) iter.Seq[api.Object] {
	var all []api.Object
	for _, k := range api.Kinds {
		if k.Immediate || k.Name == api.KindOperation || k.Scope == api.ScopeCloud && project != "" {
			continue
		}
		for o := range v.List(k.Name, project, "") {
			if op := api.OperationOf(o); op.ID > after && (op.Status.State == api.StatePending || op.Status.State == api.StateRunning) {
				all = append(all, op)
			}
		}
	}
	slices.SortFunc(all, func(a, b api.Object) int { return strings.Compare(a.GetMeta().ID, b.GetMeta().ID) })
	return slices.Values(all)
}

func (operations) watched() string { return "" }

// event follows the operation towards the object's present desired state; an
// object that is gone has ended its operation.
func (operations) event(e api.WatchEvent) (api.WatchEvent, bool) {
	k, ok := api.KindByName(e.Kind)
	if !ok || k.Immediate || e.Object == nil {
		return e, false
	}
	op := api.OperationOf(e.Object)
	if e.Type == api.EventDelete {
		op.Spec.Generation = 0
		op.ID = api.OperationID(op.Spec.Object, 0)
		op.Status.State = api.StateReady
		op.Status.Message = "the " + k.Name + " is gone"
	}
	e.Type, e.Kind, e.Object = api.EventPut, api.KindOperation, op
	return e, true
}
