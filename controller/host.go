package controller

import (
	"reflect"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
)

var hostKind = Kind{
	Name:      api.KindHost,
	Admit:     admitHost,
	Remove:    removeHost,
	Watches:   map[string]func(api.View, api.Object) []string{api.KindInstance: hostsOfInstance},
	Reconcile: reconcileHost,
}

// admitHost completes a drain, and makes of what an administrator says of a
// silent host its fence.
func admitHost(a *admission, old, o api.Object) error {
	was, h := old.(*api.Host), o.(*api.Host)
	if d := h.Spec.Drain; d != nil {
		n := *d
		if n.Since = a.now; was.Spec.Drain != nil {
			n.Since = was.Spec.Drain.Since
		}
		h.Spec.Drain = &n
	}
	if h.Fence == nil || h.Fence.Life != 0 {
		return nil
	}
	if a.view.Alive(h.ID) {
		return api.NewProblem(409, "host_alive", "", "switch it off first; it counts as silent 30 seconds later", "the host %s reports, so it is not off", h.Name)
	}
	if a.view.Fence(h.ID) != nil {
		return nil // it was said before
	}
	f := fenceOf(a.view, h, h.Fence.By, h.Fence.Message, a.now)
	a.change.Fences = append(a.change.Fences, f)
	a.change.Events = append(a.change.Events, fencedEvent(h, a.who.Actor, f))
	return nil
}

// hostsOfInstance are the hosts whose drain an instance concerns.
func hostsOfInstance(_ api.View, o api.Object) []string {
	i, ok := o.(*api.Instance)
	if !ok {
		return nil
	}
	ids := hostsOf(i)
	if i.Placement.From != "" {
		ids = append(ids, i.Placement.From)
	}
	return ids
}

// removeHost refuses while the host reports: its agent would find itself
// without a cloud, with guests running. Instances on it are refused before.
func removeHost(a *admission, o api.Object, force bool) (bool, error) {
	if h := o.GetMeta(); a.view.Alive(h.ID) && !force {
		return false, api.NewProblem(409, "host_alive", "", "stop its agent first, or delete it with force", "the host %s still reports", h.Name)
	}
	return true, nil
}

// Conditions of a host that are the control plane's; all others are its agent's.
const (
	conditionReady   = "Ready"
	conditionDrained = "Drained"
	actorHosts       = "controller/host"
)

// Reasons of the condition Ready.
const (
	reasonReports = "Reports"
	reasonSilent  = "Silent"
	reasonLost    = "Lost"
)

// reconcileHost writes down, once for each change, whether a host reports, and
// brings a drain further. The state that readers see follows the host's lease
// without it; the condition is for the event.
func reconcileHost(r reconciling, id string) (c store.Change, again time.Duration, err error) {
	h := get[*api.Host](r, api.KindHost, id)
	if h == nil {
		return c, 0, nil
	}
	n := api.Clone(h)
	n.Status.Reserved = nil // it is merged in when a host is read
	e := judgeReady(n, r.Alive(id), r.now)
	if e != nil {
		c.Events = append(c.Events, e)
	}
	again = drain(r, n, &c)
	if !reflect.DeepEqual(n.Status.Conditions, h.Status.Conditions) {
		c.Status = append(c.Status, n)
	}
	return c, again, nil
}

// judgeReady sets the condition Ready, and returns the event where that is news.
func judgeReady(h *api.Host, alive bool, now time.Time) *api.Event {
	have := h.Status.Condition(conditionReady)
	if have == nil && !alive || have != nil && have.OK == alive {
		return nil
	}
	cond := api.Condition{Type: conditionReady, OK: alive, Reason: reasonReports, Message: "its agent reports", Since: now}
	e := eventAbout(h, actorHosts, "HostReady", "the host "+h.Name+" reports")
	if !alive {
		cond.Reason, cond.Message = reasonSilent, "its agent has not been heard of; its instances run on"
		e = warning(eventAbout(h, actorHosts, "HostNotReady", "the host "+h.Name+" has not been heard of; look at its agent and its network"))
	}
	h.Status.SetCondition(cond)
	return e
}
