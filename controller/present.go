package controller

import (
	"iter"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
)

// shown is a view as readers see it: what is counted or leased elsewhere is
// merged into the status of hosts, projects and instances. It is stored nowhere else,
// so it is never out of date and costs no write.
type shown struct{ *store.View }

// Get implements api.View.
func (s shown) Get(kind, id string) api.Object { return present(s.View, s.View.Get(kind, id)) }

// Lookup implements api.View.
func (s shown) Lookup(kind, project, nameOrID string) api.Object {
	return present(s.View, s.View.Lookup(kind, project, nameOrID))
}

// List implements api.View.
func (s shown) List(kind, project, after string) iter.Seq[api.Object] {
	list := s.View.List(kind, project, after)
	if !presented(kind) {
		return list
	}
	return func(yield func(api.Object) bool) {
		for o := range list {
			if !yield(present(s.View, o)) {
				return
			}
		}
	}
}

func presented(kind string) bool {
	return kind == api.KindHost || kind == api.KindProject || kind == api.KindInstance || kind == api.KindExternalNetwork
}

func hostState(v api.View, h *api.Host) api.State {
	ready, drained := h.Status.Condition(conditionReady), h.Status.Condition(conditionDrained)
	switch {
	case h.Status.CPUs == 0:
		return api.StatePending // it has not said yet what it is
	case !v.Alive(h.ID) && (h.Fence != nil || ready != nil && ready.Reason == reasonLost):
		return api.StateLost
	case !v.Alive(h.ID):
		return api.StateNotReady
	case h.Spec.Drain == nil:
		return api.StateReady
	case drained != nil && drained.OK:
		return api.StateMaintenance
	default:
		return api.StateDraining
	}
}

// conditionHost of an instance says that its host has not been heard of.
const conditionHost = "HostReady"

// present merges into a copy of the object what its record does not hold.
func present(v api.View, o api.Object) api.Object {
	switch o := o.(type) {
	case *api.Host:
		h := *o
		h.Status.Reserved = v.Used(api.ReservationKey(h.ID))
		h.Status.ObservedGeneration = h.Generation // its spec is for the scheduler, which sees it at once
		h.Fence = v.Fence(h.ID)
		h.Status.State = hostState(v, &h)
		if h.Spec.Drain != nil {
			h.Status.Drain = progress(v, &h)
		}
		return &h
	case *api.Project:
		p := *o
		p.Status.Usage = v.Used(api.QuotaKey(p.ID))
		return &p
	case *api.ExternalNetwork:
		n := *o
		n.Status.Given = v.Used(api.GivenKey(n.ID))
		return &n
	case *api.Instance:
		moves := o.Placement.Target != nil && o.Status.State == api.StateRunning
		silent := o.Placement.Host != "" && !v.Alive(o.Placement.Host)
		held := o.Placement.Held && o.Spec.Power == api.PowerOn
		if !moves && !silent && !held {
			return o
		}
		i := *o
		if held {
			c := api.Condition{Type: conditionHost, Reason: "HostInMaintenance", Message: "it starts when its host " + i.Placement.HostName + " is in use again"}
			i.Status.Conditions = append([]api.Condition{c}, i.Status.Conditions...)
		}
		if moves {
			i.Status.State = api.StateMigrating
		}
		if !silent {
			return &i
		}
		c := api.Condition{Type: conditionHost, Reason: "HostSilent", Message: "its host " + i.Placement.HostName + " has not been heard of, so that this may be out of date"}
		if i.Deleting() {
			c.Message = "its host " + i.Placement.HostName + " has not been heard of: it goes when the host is back, or when a cloud administrator deletes it by force"
		}
		i.Status.Conditions = append([]api.Condition{c}, i.Status.Conditions...)
		return &i
	}
	return o
}
