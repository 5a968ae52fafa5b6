package agent

import (
	"slices"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// instance plans one instance that the desired state has.
func (p *planner) instance(w api.HostInstance) {
	id := w.ID
	d, defined := p.have.Domains[id]
	if defined && w.Epoch < d.Mark.Epoch {
		return // what is wanted is older than what is there: newer is on its way
	}
	if p.now.Before(p.have.Memory[id].NotBefore) {
		return
	}
	if w.Deleting {
		p.remove(id, "the instance is being deleted")
		return
	}
	if defined && d.Mark.Epoch < w.Epoch {
		p.removeDomain(id, "it ran under a placement that has passed")
		d, defined = Domain{}, false
	}
	if w.Incoming != nil {
		p.incoming(w, defined)
		return
	}
	if w.Outgoing != nil {
		if p.outgoing(w) {
			return
		}
		if w.Outgoing.Cold {
			w.Power = api.PowerOff
		}
	}
	p.prepare(w, p.adopt(w))
	if !portsKnown(p.want, w) {
		return // the map of its ports is on its way
	}
	if d.State == DomainStarting || d.State == DomainMoving {
		return // its event is on its way
	}
	if d.State == DomainPaused && mayStart(p.want, p.have, w) {
		r := Resume{target: target{id}}
		if p.have.Disks[id].Away == 0 { // else it came from another host, which could not say go
			r.Repairs = power("paused")
		}
		p.do(r)
		return
	}
	mark, fresh := p.define(w, d, defined)
	if w.Power == api.PowerOff {
		p.off(w, d, defined, mark)
	} else {
		p.on(w, d, defined, mark, fresh)
	}
}

// prepare plans what an instance needs on disk.
func (p *planner) prepare(w api.HostInstance, disk DiskState) {
	if !p.have.Images[w.Image.SHA256] {
		p.do(FetchImage{target{w.ID}, w.Image})
	}
	if !disk.Root {
		p.do(CreateRoot{target{w.ID}, w})
	}
	if w.Incoming == nil && w.Outgoing == nil && disk.Away != 0 {
		p.do(KeepDisks{target{w.ID}})
	}
	if c := configDigest(p.want, w); disk.ConfigDigest != c {
		p.do(WriteConfigDrive{target{w.ID}, p.want, c})
	}
}

// portsKnown tells whether all of an instance's ports and their networks are known.
func portsKnown(want api.HostDesired, w api.HostInstance) bool {
	for _, id := range w.Ports {
		port, ok := want.Ports[id]
		if !ok {
			return false
		}
		if _, ok := want.Networks[port.Network]; !ok {
			return false
		}
	}
	return true
}

// define plans the domain's definition and returns the mark that will be on it,
// and whether that is just being written.
func (p *planner) define(w api.HostInstance, d Domain, defined bool) (mark Mark, fresh bool) {
	mark = d.Mark
	if !defined {
		// What was asked for before there was a domain is done by making it.
		mark = Mark{Reboots: w.Reboots, Power: MarkPower(w.Power)}
		if w.Power == api.PowerOn {
			mark.StartedAt = p.now
		}
	}
	s := domainSpec(p.have.Layout, p.want, w, p.net, mark)
	var mends []api.Drift
	if defined && d.Mark.Digest == s.Mark.Digest {
		if mends = definitionDrift(s, d); len(mends) == 0 || p.now.Before(p.have.Memory[w.ID].MendNotBefore) {
			return d.Mark, false
		}
	}
	p.do(Define{target{w.ID}, s, mends, p.now})
	return s.Mark, !defined
}

const cutOffWhy = "the host is cut off, and it may be started elsewhere"

// cutOff tells whether an instance must not run here on.
func (p *planner) cutOff(w api.HostInstance) bool {
	return w.Exclusive && p.have.Fences && p.have.CutOff
}

// on plans an instance that is to run.
func (p *planner) on(w api.HostInstance, d Domain, defined bool, mark Mark, fresh bool) {
	if defined && d.State != DomainStopped && p.cutOff(w) {
		mark.Power = MarkOff // by us: it starts again once there is contact
		p.do(SetMark{target{w.ID}, mark, "the host is cut off"}, Destroy{target{w.ID}, cutOffWhy})
		return
	}
	if defined && d.State == DomainPaused {
		return // until it may go on
	}
	if defined && d.State == DomainRunning {
		p.running(w, d, mark)
		return
	}
	if defined && halted(d) && w.Reboots <= mark.Reboots {
		if mark.Power != MarkHalted {
			mark.Power = MarkHalted
			p.do(SetMark{target{w.ID}, mark, "the guest switched itself off"})
		}
		return
	}
	if p.now.Before(p.have.Memory[w.ID].StartNotBefore) || len(w.Ports) > 0 && !p.netOK || !mayStart(p.want, p.have, w) {
		return
	}
	mark.Power, mark.Reboots, mark.RebootAsked, mark.StartedAt = MarkOn, max(w.Reboots, mark.Reboots), 0, p.now
	start := Start{target: target{w.ID}, Mark: mark, Noted: fresh}
	if defined && d.Reason == StopDestroy && d.Mark.Power == MarkOn {
		start.Repairs = power("off")
	}
	p.do(start)
}

// halted tells whether a stopped domain's guest switched itself off unasked.
func halted(d Domain) bool {
	return d.Mark.Power == MarkHalted || d.Mark.Power == MarkOn && d.Reason == StopShutdown
}

// running plans an instance that is to run and does.
func (p *planner) running(w api.HostInstance, d Domain, mark Mark) {
	m := p.have.Memory[w.ID]
	grace := graceOf(w)
	for _, id := range w.Ports {
		if tap := network.Tap(id); p.netOK && slices.Contains(d.Unplugged, tap) {
			p.do(Plug{target{w.ID}, p.want.Ports[id].MAC, tap})
		}
	}
	if mark.Power != MarkOn && (m.ShutdownAt.IsZero() || !p.now.Before(m.ShutdownAt.Add(grace))) {
		// The guest did not follow the power button before it was to run again.
		mark.Power = MarkOn
		p.do(SetMark{target{w.ID}, mark, "it is to run"})
	}
	if w.Reboots <= mark.Reboots {
		return
	}
	done := mark
	done.Reboots, done.RebootAsked = w.Reboots, 0
	asked := mark
	asked.RebootAsked = w.Reboots
	switch {
	case w.HardReboot || grace == 0:
		p.do(Reboot{target{w.ID}, true, done, p.now})
	case mark.RebootAsked != w.Reboots:
		p.do(Reboot{target{w.ID}, false, asked, p.now})
	case m.Rebooted, m.RebootAt.IsZero():
		// The second: the agent was restarted meanwhile. The guest may be through
		// it, and must not be rebooted twice.
		p.do(SetMark{target{w.ID}, done, "it has rebooted"})
	case !p.now.Before(m.RebootAt.Add(grace)):
		p.do(Reboot{target{w.ID}, true, done, p.now})
	}
}

// off plans an instance that is not to run.
func (p *planner) off(w api.HostInstance, d Domain, defined bool, mark Mark) {
	if !defined {
		return
	}
	m := p.have.Memory[w.ID]
	grace := graceOf(w)
	marked := mark.Power == MarkOff
	mark.Power, mark.Reboots, mark.RebootAsked = MarkOff, max(w.Reboots, mark.Reboots), 0
	switch {
	case d.State == DomainPaused:
		p.do(Destroy{target{w.ID}, "it is to be off, and may not go on"})
	case d.State != DomainRunning:
		if !marked {
			p.do(SetMark{target{w.ID}, mark, "it is to be off"})
		}
	case grace == 0:
		if !marked {
			p.do(SetMark{target{w.ID}, mark, "it is to be off"})
		}
		p.do(Destroy{target{w.ID}, "it is to stop at once"})
	case m.ShutdownAt.IsZero():
		p.do(Shutdown{target{w.ID}, mark, p.now})
	case !p.now.Before(m.ShutdownAt.Add(grace)):
		p.do(Destroy{target{w.ID}, "its guest did not stop in time"})
	case !p.now.Before(m.PressedAt.Add(pressEvery)):
		p.do(Shutdown{target{w.ID}, mark, p.now})
	}
}

func graceOf(w api.HostInstance) time.Duration {
	return time.Duration(w.StopGraceSeconds) * time.Second
}

// wakeAt is the next time at which Plan may say something new by time alone;
// zero when there is none.
func wakeAt(want api.HostDesired, have Observed, now time.Time) time.Time {
	var at time.Time
	soon := func(t time.Time) {
		if t.After(now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	soon(have.NetworkNotBefore)
	for id, m := range have.Memory {
		soon(m.NotBefore)
		soon(m.StartNotBefore)
		soon(m.MendNotBefore)
		grace := graceOf(want.Instances[id])
		if !m.ShutdownAt.IsZero() {
			soon(m.ShutdownAt.Add(grace))
			soon(m.PressedAt.Add(pressEvery))
		}
		if !m.RebootAt.IsZero() {
			soon(m.RebootAt.Add(grace))
		}
	}
	for _, o := range have.Orphans {
		soon(o.FirstSeen.Add(have.Grace))
	}
	for _, since := range have.UnusedSince {
		soon(since.Add(ImageGrace))
	}
	return at
}
