package controller

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
)

// How long a drain waits until it tries again what failed, and looks again for
// room where there was none.
const (
	drainRetry   = time.Minute
	blockedAgain = 30 * time.Second
)

// reasonBlocked is why an instance of a host that is drained stays there.
const reasonBlocked = "Blocked"

// drain brings the drain of a host one step further: one move more, as long as
// its budget allows, or what cannot be moved kept off once its time is over. It
// sets the host's condition Drained, and says when to look again (0: when
// something changes). It is pure.
func drain(r reconciling, h *api.Host, c *store.Change) (again time.Duration) {
	if h.Spec.Drain == nil {
		return activate(r, h, c)
	}
	d := &draining{reconciling: r, host: h, change: c}
	if r.Alive(h.ID) { // a silent host can neither send nor stop anything
		d.look()
	}
	d.judge()
	return d.again
}

// activate lets go what was kept off for the drain, which is over.
func activate(r reconciling, h *api.Host, c *store.Change) time.Duration {
	at := slices.IndexFunc(h.Status.Conditions, func(x api.Condition) bool { return x.Type == conditionDrained })
	if at < 0 {
		return 0
	}
	for _, i := range instancesOf(r, h.ID) {
		t := i.Placement.Target
		leaving := t != nil && !t.Cancelled && i.Placement.Host == h.ID && t.Drain
		blocked := i.Placement.Host == h.ID && isBlocked(i)
		if !i.Placement.Held && !leaving && !blocked {
			continue
		}
		if len(c.Place)+len(c.Status) >= writesAtOnce {
			return firstRetry // the others in the next commit
		}
		n := api.Clone(i)
		if blocked {
			n.Status.Conditions = slices.DeleteFunc(n.Status.Conditions, func(x api.Condition) bool { return x.Type == conditionMigrated })
			c.Status = append(c.Status, n)
		}
		n.Placement.Held = false
		if leaving {
			n.Placement.Target.Cancelled = true
		}
		c.Place = append(c.Place, n)
	}
	h.Status.Conditions = slices.Delete(h.Status.Conditions, at, at+1)
	c.Events = append(c.Events, eventAbout(h, actorHosts, "HostActivated", "the host "+h.Name+" is in use again"))
	return 0
}

func isBlocked(i *api.Instance) bool {
	m := i.Status.Condition(conditionMigrated)
	return m != nil && !m.OK && m.Reason == reasonBlocked
}

// instancesOf are the instances that are on a host or on their way to it, by ID.
func instancesOf(v api.View, host string) (out []*api.Instance) {
	for o := range v.Referrers(api.KindInstance, api.KindHost, host) {
		if i, ok := o.(*api.Instance); ok {
			out = append(out, i)
		}
	}
	return out
}

// draining is one look at a host that is drained.
type draining struct {
	reconciling
	host   *api.Host
	change *store.Change
	again  time.Duration
}

// look goes through the instances: first what is under way, then what could be next.
func (d *draining) look() {
	budget := d.host.Spec.Drain.Parallel
	var next []*api.Instance
	for _, i := range instancesOf(d, d.host.ID) {
		t := i.Placement.Target
		switch {
		case i.Deleting() || i.Placement.Held:
		case t != nil && t.Host == d.host.ID && !t.Cancelled:
			n := api.Clone(i) // it was to come here
			n.Placement.Target.Cancelled = true
			d.change.Place = append(d.change.Place, n)
		case t != nil:
			budget--
		case i.Placement.Host == d.host.ID:
			next = append(next, i)
		}
	}
	for _, i := range next {
		if len(d.change.Place) >= writesAtOnce || len(d.change.Status) >= writesAtOnce {
			d.soon(firstRetry)
			return
		}
		if budget > 0 && d.move(i, false) {
			return // one at a time: the next is decided when its room is taken
		}
	}
}

// move gives an instance a target or, where it can have none, keeps it off or
// says why it stays. It tells whether there is a target.
func (d *draining) move(i *api.Instance, cold bool) bool {
	if wait := d.failedUntil(i); !cold && wait > 0 && !d.stops() {
		d.soon(wait)
		return false
	}
	why := "its host " + d.host.Name + " is drained"
	n, e, err := aiming{view: d, place: d.place, why: why, actor: actorHosts, cold: cold, now: d.now}.at(i, "")
	if err == nil {
		n.Placement.Target.Drain = true
		d.change.Place, d.change.Status, d.change.Events = append(d.change.Place, n), append(d.change.Status, n), append(d.change.Events, e)
		return true
	}
	off := i.Spec.Power == api.PowerOff
	switch {
	case !off && !d.stops():
		if !i.Status.State.InProgress() { // else it is looked at again when that is over
			d.block(i, err)
		}
		return false
	case !off && !cold && d.move(i, true):
		return true
	case !off && cold:
		return false // its caller goes on
	}
	n = api.Clone(i)
	n.Placement.Held = true
	d.change.Place = append(d.change.Place, n)
	if !off {
		d.change.Events = append(d.change.Events, eventAbout(i, actorHosts, "Held", "is stopped until its host "+d.host.Name+" is in use again: "+words(err)))
	}
	return false
}

// failedUntil is how long to wait before a move that failed is tried again.
func (d *draining) failedUntil(i *api.Instance) time.Duration {
	m := i.Status.Condition(conditionMigrated)
	if m == nil || m.OK || m.Reason == reasonBlocked {
		return 0
	}
	return max(0, m.Since.Add(drainRetry).Sub(d.now))
}

// stops tells whether what still runs is to be stopped, and comes back when it is.
func (d *draining) stops() bool {
	at, ever := d.host.Spec.Drain.StopAt()
	if !ever {
		return false
	}
	if wait := at.Sub(d.now); wait > 0 {
		d.soon(wait)
		return false
	}
	return true
}

// block says on an instance why it stays, once for each reason.
func (d *draining) block(i *api.Instance, err error) {
	d.soon(blockedAgain)
	n := api.Clone(i)
	want := api.Condition{Type: conditionMigrated, Reason: reasonBlocked, Message: words(err), Since: d.now}
	if have := i.Status.Condition(conditionMigrated); have != nil && have.Reason == want.Reason && have.Message == want.Message {
		return
	}
	n.Status.SetCondition(want)
	d.change.Status = append(d.change.Status, n)
}

// words is what a problem says, without its code.
func words(err error) string {
	var p *api.Problem
	if errors.As(err, &p) {
		return p.Detail
	}
	return err.Error()
}

// judge sets the condition Drained.
func (d *draining) judge() {
	p := progress(d, d.host)
	have := d.host.Status.Condition(conditionDrained)
	cond := api.Condition{Type: conditionDrained, OK: p.Left == 0, Reason: "Draining", Message: "its instances are being moved away", Since: d.now}
	if cond.OK {
		cond.Reason, cond.Message = "InMaintenance", fmt.Sprintf("nothing runs on it; %d instances stay there, off", p.Stopped)
	}
	if have != nil && have.OK == cond.OK {
		return
	}
	if cond.OK {
		d.change.Events = append(d.change.Events, eventAbout(d.host, actorHosts, "HostDrained", "the host "+d.host.Name+" is in maintenance: "+cond.Message))
	} else {
		d.change.Events = append(d.change.Events, eventAbout(d.host, actorHosts, "HostDraining", "the host "+d.host.Name+" is being drained"))
	}
	d.host.Status.SetCondition(cond)
}

func (d *draining) soon(wait time.Duration) {
	if d.again == 0 || wait < d.again {
		d.again = wait
	}
}

// blockedShown is how many of the instances that stay are named.
const blockedShown = 10

// progress counts how far a drain is.
func progress(v api.View, h *api.Host) *api.Drained {
	p := &api.Drained{}
	for _, i := range instancesOf(v, h.ID) {
		t := i.Placement.Target
		switch {
		case t != nil:
			p.Left++
			p.Moving++
		case i.Placement.Held && i.Status.State == api.StateStopped:
			p.Stopped++
		default:
			p.Left++
			m := i.Status.Condition(conditionMigrated)
			if m != nil && !m.OK && len(p.Blocked) < blockedShown {
				p.Blocked = append(p.Blocked, api.Blocked{Instance: i.ID, Name: i.Name, Reason: m.Message})
			}
		}
	}
	return p
}
