package controller

import (
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
)

var hostKind = Kind{
	Name:      api.KindHost,
	Remove:    removeHost,
	Reconcile: reconcileHost,
}

// removeHost refuses while the host reports: its agent would find itself
// without a cloud, with guests running. Instances on it are refused before.
func removeHost(a *admission, o api.Object, force bool) (bool, error) {
	if h := o.GetMeta(); a.view.Alive(h.ID) && !force {
		return false, api.NewProblem(409, "host_alive", "", "stop its agent first, or delete it with force", "the host %s still reports", h.Name)
	}
	return true, nil
}

// conditionReady of a host is the control plane's; all other conditions are its agent's.
const (
	conditionReady = "Ready"
	actorHosts     = "controller/host"
)

// reconcileHost writes down, once for each change, whether a host reports. The
// state that readers see follows the host's lease without it; this is for the event.
func reconcileHost(v api.View, now time.Time, id string) (c store.Change, again time.Duration, err error) {
	h := get[*api.Host](v, api.KindHost, id)
	if h == nil {
		return c, 0, nil
	}
	alive, have := v.Alive(id), h.Status.Condition(conditionReady)
	if have == nil && !alive || have != nil && have.OK == alive {
		return c, 0, nil
	}
	n := api.Clone(h)
	cond := api.Condition{Type: conditionReady, OK: alive, Reason: "Reports", Message: "its agent reports", Since: now}
	e := eventAbout(h, actorHosts, "HostReady", "the host "+h.Name+" reports")
	if !alive {
		cond.Reason, cond.Message = "Silent", "its agent has not been heard of; its instances run on"
		e = warning(eventAbout(h, actorHosts, "HostNotReady", "the host "+h.Name+" has not been heard of; look at its agent and its network"))
	}
	n.Status.SetCondition(cond)
	n.Status.Reserved = nil // it is merged in when a host is read
	c.Status, c.Events = append(c.Status, n), append(c.Events, e)
	return c, 0, nil
}
