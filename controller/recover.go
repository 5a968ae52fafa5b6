package controller

import (
	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/scheduler"
)

// homeless tells whether a host is to be found for an instance: it has none, or
// all where it is or may be on its way to are off for sure, and it is not to wait
// for them. What is to restart, with its disk on a lost host alone, waits.
func homeless(v api.View, i *api.Instance) bool {
	if i.Deleting() {
		return false
	}
	hosts := hostsOf(i)
	if len(hosts) == 0 {
		return true
	}
	if i.Spec.OnHostLoss != api.OnHostLossRestart && i.Spec.OnHostLoss != api.OnHostLossRecreate {
		return false
	}
	for _, h := range hosts {
		if v.Fence(h) == nil {
			return false
		}
	}
	return i.Spec.OnHostLoss == api.OnHostLossRecreate || storageOf(v, i) != ""
}

// storageOf is the shared storage that the disk of a placed instance is on; "": none.
func storageOf(v api.View, i *api.Instance) string {
	if h := get[*api.Host](v, api.KindHost, i.Placement.Host); h != nil {
		return h.Status.Storage
	}
	return ""
}

// requestAnew asks for a host for what has none, or has lost it.
func requestAnew(v api.View, i *api.Instance) scheduler.Request {
	r := requestFor(i)
	if h := get[*api.Host](v, api.KindHost, i.Placement.Host); h != nil && i.Spec.OnHostLoss == api.OnHostLossRestart {
		r.Move = &scheduler.Move{From: h.ID, Pool: h.Spec.Pool, Storage: h.Status.Storage}
	}
	return r
}

// placedEvent says where an instance was placed.
func placedEvent(i *api.Instance, d scheduler.Decision) *api.Event {
	switch {
	case i.Placement.Host == "":
		return eventAbout(i, actorScheduler, "Scheduled", "placed on "+d.HostName+": "+d.Reason)
	case i.Spec.OnHostLoss == api.OnHostLossRecreate:
		return warning(eventAbout(i, actorScheduler, "Recreated", "its host "+i.Placement.HostName+" is lost: made anew from its image on "+d.HostName+": "+d.Reason))
	default:
		return warning(eventAbout(i, actorScheduler, "Restarted", "its host "+i.Placement.HostName+" is lost: started with its disk on "+d.HostName+": "+d.Reason))
	}
}
