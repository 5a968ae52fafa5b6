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

// aim decides where a placed instance moves to: to the host of that ID or, where
// it is empty, to the one that fits best. It returns the instance with its placement's target,
// which takes the room there when it is written (Change.Place and Change.Status), and
// the event that says so; or a problem that says why no host will do. why is the
// reason of the move, in words. It is pure.
//
// An instance that is off on storage that the hosts share has nothing to be copied:
// its placement is the new host at once.
func aim(v api.View, place scheduler.Placer, i *api.Instance, to, why, actor string, now time.Time) (*api.Instance, *api.Event, error) {
	from := get[*api.Host](v, api.KindHost, i.Placement.Host)
	if from == nil {
		return nil, nil, api.NewProblem(409, "not_placed", "placement.host", "wait until it is placed; see its conditions", "the instance %s is on no host yet, so it cannot be moved", i.Name)
	}
	off := i.Spec.Power == api.PowerOff && i.Status.State == api.StateStopped
	if off && from.Status.Storage == "" {
		return nil, nil, api.NewProblem(409, "instance_is_off", "spec.power", "start it, and move it while it runs", "the instance %s is off and its disk is on its host %s alone, which copies disks of running instances only", i.Name, from.Name)
	}
	if !off && i.Status.State != api.StateRunning {
		return nil, nil, api.NewProblem(409, "not_running", "status.state", "wait until it runs", "the instance %s is %s: only what runs is moved", i.Name, i.Status.State)
	}
	if !off && from.Status.CPU == nil {
		return nil, nil, api.NewProblem(409, "no_host_fits", "placement.host", "leave it where it is: the agents of this release do not migrate yet", "the host %s does not report its CPU, so nothing that runs there can be moved", from.Name)
	}
	r := requestFor(i)
	r.Move = &scheduler.Move{From: from.ID, To: to, Pool: from.Spec.Pool, CPU: i.Placement.CPU}
	if off {
		r.Move.Storage = from.Status.Storage
	}
	d := place(snapshot(v), []scheduler.Request{r}, seedOf(i.ID))[0]
	if d.Host == "" {
		return nil, nil, noTarget(i, d)
	}
	n := api.Clone(i)
	reason := why + "; " + d.Reason
	if off {
		n.Placement = api.Placement{Host: d.Host, HostName: d.HostName, Epoch: i.Placement.NextEpoch(), Reason: reason, CPU: baselineOf(v, get[*api.Host](v, api.KindHost, d.Host).Spec.Pool)}
		n.Status.SetCondition(api.Condition{Type: conditionScheduled, OK: true, Reason: "Moved", Message: "it is on " + d.HostName + ": " + reason, Since: now})
		return n, eventAbout(i, actor, "Moved", fmt.Sprintf("moved, off as it was, from %s to %s: %s", from.Name, d.HostName, reason)), nil
	}
	n.Placement.Target = &api.Target{Host: d.Host, HostName: d.HostName, Epoch: i.Placement.NextEpoch(), Reason: reason, Since: now}
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
	n, e, err := aim(a.view, a.place, old, to, "asked for by "+a.who.Actor, a.who.Actor, a.now)
	if err != nil {
		return err
	}
	i.Placement, i.Status = n.Placement, n.Status
	a.change.Place, a.change.Status = append(a.change.Place, i), append(a.change.Status, i)
	a.change.Events = append(a.change.Events, e)
	return nil
}

// sending tells whether the present host of an instance knows, or may know, that it
// is to send it: its target has said that it is ready.
func sending(i *api.Instance) bool {
	t, m := i.Placement.Target, i.Status.Migration
	return t != nil && m != nil && m.Epoch == t.Epoch && (m.Incoming == api.IncomingReady || m.Incoming == api.IncomingArrived)
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
	n.Placement.Target, n.Placement.Epochs = nil, 0
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

// movesOfHost are the instances that are being moved to a host, whose silence ends that.
func movesOfHost(v api.View, o api.Object) (ids []string) {
	for r := range v.Referrers(api.KindInstance, api.KindHost, o.GetMeta().ID) {
		if i, ok := r.(*api.Instance); ok && i.Placement.Target != nil {
			ids = append(ids, i.ID)
		}
	}
	return ids
}
