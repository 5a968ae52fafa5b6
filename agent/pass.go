package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// pass observes, plans, sets to work and reports. It returns when to come
// again if nothing happens before.
func (l *loop) pass(ctx context.Context) time.Time {
	now := l.o.Now()
	if now.Before(l.passed) {
		l.setBack()
	}
	l.passed = now
	if now.Before(l.blindUntil) {
		return l.blindUntil
	}
	have, err := l.observe(ctx)
	if err != nil {
		l.blind++
		l.blindUntil = now.Add(backoff(l.blind, firstRetry, lastRetry, l.o.Rand()))
		if l.blind == 1 && ctx.Err() == nil {
			l.o.Log.Warn("what is on the host cannot be seen; nothing is changed", "error", err)
		}
		return l.blindUntil
	}
	l.blind = 0
	want := l.desired.want
	l.settle(&have, now)
	actions := Plan(want, have, now)
	l.idle.Store(idle(want, have))
	l.work(ctx, actions)
	have.Network, have.Guests, have.NetworkNotBefore = l.network, l.guests, l.netNot
	have.NetworkHolds = l.networkHolds(have)
	have.NetDrift = l.netDrift
	l.report(ctx, have, now)
	return wakeAt(want, have, now)
}

// setBack makes a clock that was set back hold nothing up: times to wait for were
// told by what it said before.
func (l *loop) setBack() {
	l.blindUntil, l.netNot = time.Time{}, time.Time{}
	for id, m := range l.memory { // each by itself
		m.NotBefore, m.StartNotBefore, m.MendNotBefore = time.Time{}, time.Time{}, time.Time{}
		l.memory[id] = m
	}
}

// observe looks at what is on the host.
func (l *loop) observe(ctx context.Context) (Observed, error) {
	have := Observed{
		Layout: l.o.Layout, Shared: l.o.Storage != "", Known: l.desired.known, Synced: l.desired.synced, Underlay: l.o.Underlay,
		Network: l.network, NetworkNotBefore: l.netNot, Guests: l.guests,
		Domains: map[string]Domain{}, Memory: map[string]Memory{}, UnusedSince: l.unused,
		Grace: l.o.OrphanGrace,
	}
	have.Life, have.CutOff = l.contact.now()
	have.Fences = l.o.Watchdog != nil
	domains, err := l.o.Drivers.Hypervisor.Domains(ctx)
	if err != nil {
		return have, err
	}
	for _, d := range domains {
		have.Domains[d.Mark.Instance] = d
	}
	if have.Disks, have.Images, err = l.o.Drivers.Disks.Observe(ctx); err != nil {
		return have, err
	}
	have.Orphans, err = l.o.Drivers.Disks.Orphans(ctx)
	return have, err
}

// settle brings what is remembered in line with what is seen.
func (l *loop) settle(have *Observed, now time.Time) {
	want := l.desired.want
	for id := range l.memory {
		_, wanted := want.Instances[id]
		_, defined := have.Domains[id]
		_, onDisk := have.Disks[id]
		if _, noted := have.Orphans[id]; noted {
			onDisk = true
		}
		if !wanted && !defined && !onDisk {
			delete(l.memory, id)
		}
	}
	for id := range l.reported {
		if _, wanted := want.Instances[id]; !wanted {
			delete(l.reported, id)
			delete(l.events, id)
			l.reporter.forget(api.KindInstance, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(want.Instances)) {
		w := want.Instances[id]
		d, defined := have.Domains[id]
		m := l.memory[id]
		if l.busy[id] == nil { // while it is worked on, what is seen may be half done
			var crashed bool
			if m, crashed = m.settle(d, defined, now, l.o.Rand()); crashed && w.Power == api.PowerOn && !w.Deleting {
				l.event(id, api.EventSpec{
					Warning: true, Reason: "Crashed", Time: now,
					Message: fmt.Sprintf("the guest crashed; it is started again in about %s", m.StartNotBefore.Sub(now).Round(time.Second)),
				})
			}
		}
		l.memory[id] = m
	}
	for id, m := range l.memory {
		have.Memory[id] = m
	}
	used, ok := usedImages(want, *have)
	for sha := range have.Images {
		if _, known := l.unused[sha]; ok && !used[sha] && !known {
			l.unused[sha] = now
		}
	}
	for sha := range l.unused {
		if !have.Images[sha] || used[sha] {
			delete(l.unused, sha)
		}
	}
}

// networkHolds tells whether the network that is wanted now was applied.
func (l *loop) networkHolds(have Observed) bool {
	if l.network == nil {
		return false
	}
	want, _ := networkDesired(l.o.Underlay, situate(l.desired.want, have))
	return equalNetworks(*l.network, want)
}

func (l *loop) event(instance string, e api.EventSpec) {
	l.events[instance] = append(l.events[instance], e)
}

// report hands the reporter all that is so now; it drops what it has said.
func (l *loop) report(ctx context.Context, have Observed, now time.Time) {
	want := l.desired.want
	if !have.Known {
		have.NetworkHolds = false
	}
	made, _ := networkDesired(l.o.Underlay, want)
	for _, id := range slices.Sorted(maps.Keys(want.Instances)) {
		w, before := want.Instances[id], l.reported[id]
		s, ok := instanceStatus(want, have, id, l.o.Name, before, now)
		if !ok || s.State == api.StateGone && l.busy[id] != nil {
			continue // a worker may still make something of it
		}
		s.Drift = instanceDrift(made, want, have, w, before.Drift, now)
		if before.State != "" && before.State != s.State && s.State == api.StateRunning {
			l.event(id, api.EventSpec{Reason: "Started", Message: "the instance runs on " + l.o.Name, Time: now})
		}
		l.reported[id] = s
		l.reporter.say(api.Report{Kind: api.KindInstance, ID: id, Epoch: w.Epoch, Instance: &s, Events: l.events[id]})
		delete(l.events, id)
	}
	floating := floatingIPs(want)
	for _, id := range slices.Sorted(maps.Keys(want.Ports)) {
		p := want.Ports[id]
		if i, here := want.Instances[p.Instance]; p.Local && here {
			s := portStatus(have, p, floating[id], l.host)
			l.reporter.say(api.Report{Kind: api.KindPort, ID: id, Epoch: i.Epoch, Port: &s})
		}
	}
	l.reportHost(ctx, have)
}

func (l *loop) reportHost(ctx context.Context, have Observed) {
	if !l.hostSaid {
		s, err := l.hostStatus(ctx)
		if err != nil {
			l.o.Log.Warn("the host cannot be described yet", "error", err)
			return
		}
		l.hostSaid, l.hostSeen = true, &s
	}
	s := *l.hostSeen
	s.Drift = have.NetDrift
	s.Orphans, s.OrphanCount = orphansSeen(l.desired.want, have)
	l.reporter.say(api.Report{Kind: api.KindHost, ID: l.host, Host: &s, Events: l.hostEvents})
	l.hostEvents = nil
}
