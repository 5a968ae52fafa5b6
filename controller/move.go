package controller

import (
	"fmt"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
	"github.com/cairn-cloud/cairn/scheduler"
)

// conditionMigrated says what became of the last move.
const conditionMigrated = "Migrated"

// aiming is what a target is found by.
type aiming struct {
	view       api.View
	place      scheduler.Placer
	why, actor string // the reason of the move in words, and who wants it
	cold       bool   // what runs is stopped first
	now        time.Time
}

// at decides where a placed instance moves to: to the host of that ID or, where
// it is empty, to the one that fits best. It returns the instance with its placement's target,
// which takes the room there when it is written (Change.Place and Change.Status), and
// the event that says so; or a problem that says why no host will do. It is pure.
//
// An instance that is off, or is to be moved cold, has nothing to be copied where
// its disk is on storage that the hosts share: its host says that it is off there and
// stays so, and then it is the other's.
func (a aiming) at(i *api.Instance, to string) (*api.Instance, *api.Event, error) {
	from := get[*api.Host](a.view, api.KindHost, i.Placement.Host)
	if from == nil {
		return nil, nil, api.NewProblem(409, "not_placed", "placement.host", "wait until it is placed; see its conditions", "the instance %s is on no host yet, so it cannot be moved", i.Name)
	}
	off := i.Spec.Power == api.PowerOff
	cold := off || a.cold
	switch {
	case cold && from.Status.Storage == "" && off:
		return nil, nil, api.NewProblem(409, "instance_is_off", "spec.power", "start it, and move it while it runs", "the instance %s is off and its disk is on its host %s alone, which copies disks of running instances only", i.Name, from.Name)
	case cold && from.Status.Storage == "":
		return nil, nil, api.NewProblem(409, "no_host_fits", "placement.host", "move it while it runs", "the disk of the instance %s is on its host %s alone", i.Name, from.Name)
	case !cold && i.Status.State != api.StateRunning:
		return nil, nil, api.NewProblem(409, "not_running", "status.state", "wait until it runs", "the instance %s is %s: only what runs is moved", i.Name, i.Status.State)
	case !cold && from.Status.CPU == nil:
		return nil, nil, api.NewProblem(409, "no_host_fits", "placement.host", "leave it where it is, or stop it and move it on shared storage", "the host %s does not report its CPU, so nothing that runs there can be moved", from.Name)
	}
	r := requestFor(i)
	r.Move = &scheduler.Move{From: from.ID, To: to, Pool: from.Spec.Pool, CPU: i.Placement.CPU}
	if cold {
		r.Move.Storage = from.Status.Storage
	}
	d := a.place(snapshot(a.view), []scheduler.Request{r}, seedOf(i.ID))[0]
	if d.Host == "" {
		return nil, nil, noTarget(i, d)
	}
	n, now, actor := api.Clone(i), a.now, a.actor
	reason := a.why + "; " + d.Reason
	n.Placement.Target = &api.Target{Host: d.Host, HostName: d.HostName, Epoch: i.Placement.NextEpoch(), Reason: reason, Cold: cold, Since: now}
	n.Status.Migration = nil
	n.Status.SetCondition(api.Condition{Type: conditionMigrated, Reason: "Migrating", Message: "it is being moved to " + d.HostName + ": " + reason, Since: now})
	return n, eventAbout(i, actor, "Migrating", fmt.Sprintf("is being moved from %s to %s: %s", from.Name, d.HostName, reason)), nil
}

// noTarget is the problem of a move for which no host will do.
func noTarget(i *api.Instance, d scheduler.Decision) error {
	return api.NewProblem(409, "no_host_fits", "placement.target", "free room on another host of its pool, or add one", "the instance %s cannot be moved: %s", i.Name, explain(d))
}

// admitMove turns what the action asked for into a target.
func admitMove(a *admission, old, i *api.Instance) error {
	was, asked := old.Placement.Target, i.Placement.Target
	if asked == nil || was != nil && was.Cancelled == asked.Cancelled {
		return nil
	}
	if !a.who.Cloud {
		return api.NewProblem(403, "forbidden", "", "ask a cloud administrator", "hosts are the cloud administrators' business, and so is moving instances between them")
	}
	if asked.Cancelled {
		a.change.Place = append(a.change.Place, i)
		a.event(i, "MigrationCancelled", "the move to %s is to be given up", asked.HostName)
		return nil
	}
	to := asked.HostName
	if to != "" {
		o, err := a.resolve(api.KindHost, "", "to", to)
		if err != nil {
			return err
		}
		to = o.GetMeta().ID
	}
	n, e, err := aiming{view: a.view, place: a.place, why: "asked for by " + a.who.Actor, actor: a.who.Actor, now: a.now}.at(old, to)
	if err != nil {
		return err
	}
	i.Placement, i.Status = n.Placement, n.Status
	a.change.Place, a.change.Status = append(a.change.Place, i), append(a.change.Status, i)
	a.change.Events = append(a.change.Events, e)
	return nil
}

// sending tells whether the present host of an instance knows, or may know, that it
// is to send it: its target has said that it is ready, which it need not be for what
// is moved cold.
func sending(i *api.Instance) bool {
	t, m := i.Placement.Target, i.Status.Migration
	return t != nil && t.Cold || t != nil && m != nil && m.Epoch == t.Epoch && (m.Incoming == api.IncomingReady || m.Incoming == api.IncomingArrived)
}

// reconcileMove ends a move by what the two hosts report. What they say is what
// is: until one of them has said how it ended, nothing is decided.
func reconcileMove(v api.View, i *api.Instance, now time.Time) (c store.Change) {
	t := i.Placement.Target
	m := i.Status.Migration
	if m == nil || m.Epoch != t.Epoch {
		m = &api.Migration{}
	}
	switch {
	case m.Incoming == api.IncomingArrived || m.Outgoing == api.OutgoingHandedOver:
		return arrive(i, now)
	case m.Outgoing == api.OutgoingFailed && t.Cancelled:
		return stay(i, "Cancelled", "the move to "+t.HostName+" was given up as asked for; it runs on "+i.Placement.HostName, now)
	case m.Outgoing == api.OutgoingFailed:
		return stay(i, "Failed", "the move to "+t.HostName+" failed, and it runs on "+i.Placement.HostName+": "+m.Message, now)
	case v.Fence(t.Host) != nil: // whatever has arrived there is off, and so is not lost twice
		c = stay(i, "TargetLost", "its target "+t.HostName+" is lost and off, so it stays on "+i.Placement.HostName, now)
		c.Fenced = append(c.Fenced, t.Host)
		return c
	case sending(i):
		return c // its host tells how it ends
	case m.Incoming == api.IncomingFailed:
		return stay(i, "TargetFailed", t.HostName+" could not be made ready to receive it, and it runs on "+i.Placement.HostName+": "+m.Message, now)
	case t.Cancelled:
		return stay(i, "Cancelled", "the move to "+t.HostName+" was given up as asked for; it runs on "+i.Placement.HostName, now)
	case v.Get(api.KindHost, t.Host) == nil || !v.Alive(t.Host):
		return stay(i, "TargetSilent", "its target "+t.HostName+" is not heard of, so it stays on "+i.Placement.HostName, now)
	case i.Deleting():
		return stay(i, "Deleting", "it is being deleted", now)
	}
	return c
}

// arrive makes the target the host.
func arrive(i *api.Instance, now time.Time) (c store.Change) {
	n, t := api.Clone(i), i.Placement.Target
	n.Placement.Host, n.Placement.HostName, n.Placement.Epoch, n.Placement.Reason = t.Host, t.HostName, t.Epoch, t.Reason
	n.Placement.Target, n.Placement.Epochs, n.Placement.From, n.Placement.Held = nil, 0, i.Placement.Host, false
	n.Status.Epoch, n.Status.Host, n.Status.Migration = t.Epoch, t.HostName, nil
	took := now.Sub(t.Since).Round(100 * time.Millisecond)
	n.Status.SetCondition(api.Condition{Type: conditionMigrated, OK: true, Reason: "Migrated", Message: "it was moved from " + i.Placement.HostName + " to " + t.HostName, Since: now})
	n.Status.SetCondition(api.Condition{Type: conditionScheduled, OK: true, Reason: "Migrated", Message: "it runs on " + t.HostName + ": " + t.Reason, Since: now})
	c.Place, c.Status = append(c.Place, n), append(c.Status, n)
	c.Events = append(c.Events, eventAbout(i, actorInstances, "Migrated", fmt.Sprintf("moved from %s to %s in %s", i.Placement.HostName, t.HostName, took)))
	return c
}

// stay gives the target up.
func stay(i *api.Instance, reason, message string, now time.Time) (c store.Change) {
	n := api.Clone(i)
	n.Placement.Target, n.Placement.Epochs = nil, i.Placement.Target.Epoch
	n.Status.Migration = nil
	n.Status.SetCondition(api.Condition{Type: conditionMigrated, OK: reason == "Cancelled", Reason: reason, Message: message, Since: now})
	c.Place, c.Status = append(c.Place, n), append(c.Status, n)
	e := eventAbout(i, actorInstances, "MigrationEnded", message)
	if reason != "Cancelled" {
		e = warning(eventAbout(i, actorInstances, "MigrationFailed", message))
	}
	c.Events = append(c.Events, e)
	return c
}

// baselineOf is the CPU that the hosts of a pool have in common.
func baselineOf(v api.View, pool string) *api.CPU {
	var hosts []*api.HostCPU
	for o := range v.List(api.KindHost, "", "") {
		if h, ok := o.(*api.Host); ok && h.Spec.Pool == pool && h.Status.CPU != nil {
			hosts = append(hosts, h.Status.CPU)
		}
	}
	return scheduler.Baseline(hosts)
}

// unsettledOfHost are the instances that are being moved to a host, whose silence ends
// that, and those that are being deleted, which are gone where it is off.
func unsettledOfHost(v api.View, o api.Object) (ids []string) {
	for r := range v.Referrers(api.KindInstance, api.KindHost, o.GetMeta().ID) {
		if i, ok := r.(*api.Instance); ok && (i.Placement.Target != nil || i.Deleting()) {
			ids = append(ids, i.ID)
		}
	}
	return ids
}
