package agent

import (
	"maps"

	"github.com/cairn-cloud/cairn/api"
)

// incoming plans an instance that runs on another host and is to come here: all
// is made ready for it, and nothing is started. What an earlier attempt left on its
// disk must not be taken for its own.
func (p *planner) incoming(w api.HostInstance, defined bool) {
	if d := p.have.Domains[w.ID]; d.State == DomainRunning && p.cutOff(w) {
		p.do(Destroy{target{w.ID}, cutOffWhy})
		return
	}
	disk := p.adopt(w)
	if !defined && !p.have.Shared && disk.Root && disk.Away != w.Epoch {
		p.do(RemoveDisks{target{w.ID}})
		disk = DiskState{}
	}
	if portsKnown(p.want, w) {
		p.prepare(w, disk)
	}
}

// outgoing plans an instance that is to be sent to another host. It tells whether
// that is all there is to do: until it is known how that ended, nothing else is done. What is moved
// cold stands off until the control plane has decided where it is, whatever was said of it.
func (p *planner) outgoing(w api.HostInstance) bool {
	if w.Outgoing.Cold {
		return false
	}
	m := p.have.Memory[w.ID].Move
	if m.Epoch == w.Outgoing.Epoch {
		switch m.State {
		case api.OutgoingFailed:
			return false
		case api.OutgoingHandedOver:
			return true
		case api.OutgoingCopying:
		}
	}
	to := *w.Outgoing
	if to.Cancelled = to.Cancelled || p.cutOff(w); to.Cancelled {
		p.do(Abort{target{w.ID}})
	}
	// An attempt that broke off is not followed by another one, also where it was
	// another agent's, before this one: only what became of it is found out.
	d, defined := p.have.Domains[w.ID]
	begun := m.Epoch == to.Epoch || defined && d.Mark.Sent == to.Epoch
	if to.Cancelled = to.Cancelled || begun; !to.Cancelled && defined {
		mark := d.Mark
		mark.Sent = to.Epoch
		p.do(SetMark{target{w.ID}, mark, "it begins to be sent"})
	}
	p.do(Migrate{target{w.ID}, to})
	return true
}

// moved tells whether what the desired state does not have any more has left for
// another host, or was to come here and did not. Nothing of it is worth keeping.
func (p *planner) moved(id string) bool {
	d, defined := p.have.Domains[id]
	away := p.have.Disks[id].Away
	ran := d.State != DomainStopped && (d.Mark.Epoch != away || d.State != DomainMoving && d.State != DomainPaused)
	return away != 0 && (!defined || !ran)
}

// situate says where ports are in fact while their instances move: the port of
// one that has come, or is about to, is here, and that of one that has left, or is about to, is
// there. So frames wait for the guest where it goes on, before the control plane has heard of it.
func situate(want api.HostDesired, have Observed) api.HostDesired {
	var ports map[string]api.HostPort
	for id, p := range want.Ports {
		w, ok := want.Instances[p.Instance]
		d, defined := have.Domains[p.Instance]
		switch {
		case !ok:
			continue
		case w.Incoming != nil && p.Incoming && defined && d.Mark.Epoch == w.Epoch && comes(d, have.Memory[w.ID]):
			p.Local, p.Incoming, p.Also = true, false, p.Underlay // from where frames are still sent on
		case w.Outgoing != nil && p.Local && goes(d, defined, have.Memory[w.ID].Move, w.Outgoing.Epoch):
			p.Local, p.Incoming, p.Underlay = false, true, w.Outgoing.Underlay
		default:
			continue
		}
		if ports == nil {
			ports = maps.Clone(want.Ports)
		}
		ports[id] = p
	}
	if ports != nil {
		want.Ports = ports
	}
	return want
}

// comes tells whether a domain that is being received is whole, or its guest
// stands still on the host that it comes from.
func comes(d Domain, m Memory) bool {
	switch d.State {
	case DomainRunning, DomainPaused:
		return true
	case DomainMoving:
		return m.Still == d.Mark.Epoch
	default:
		return false
	}
}

// goes tells whether a domain that is being sent has left, or its guest stands still to.
func goes(d Domain, defined bool, m Move, epoch int64) bool {
	if defined && d.State == DomainStopped { // its definition goes a little after it
		return m.Epoch == epoch && m.State != api.OutgoingFailed
	}
	return !defined || d.State == DomainMoving
}

// migration is what is reported of a move.
func migration(want api.HostDesired, have Observed, w api.HostInstance) *api.Migration {
	m := have.Memory[w.ID]
	switch {
	case w.Incoming != nil:
		r := &api.Migration{Epoch: w.Epoch, Incoming: api.IncomingPreparing}
		d, defined := have.Domains[w.ID]
		disk := have.Disks[w.ID]
		switch {
		case defined && d.Mark.Epoch == w.Epoch && d.State == DomainRunning:
			r.Incoming = api.IncomingArrived
		case defined:
			r.Incoming = api.IncomingReady
		case m.Failures >= failuresToFail:
			r.Incoming = api.IncomingFailed
			if m.Failure != nil {
				r.Message = m.Failure.Message
			}
		case disk.Root && (have.Shared || disk.Away == w.Epoch) && disk.ConfigDigest == configDigest(want, w) &&
			have.Images[w.Image.SHA256] && portsKnown(want, w) && have.NetworkHolds:
			r.Incoming = api.IncomingReady
		}
		return r
	case w.Outgoing != nil && w.Outgoing.Cold:
		r := &api.Migration{Epoch: w.Outgoing.Epoch, Outgoing: api.OutgoingCopying}
		d, defined := have.Domains[w.ID]
		switch {
		case w.Outgoing.Cancelled:
			r.Outgoing = api.OutgoingFailed
		case !defined || d.State == DomainStopped:
			r.Outgoing = api.OutgoingHandedOver
		}
		return r
	case w.Outgoing != nil:
		r := &api.Migration{Epoch: w.Outgoing.Epoch}
		if m.Move.Epoch == w.Outgoing.Epoch {
			r.Outgoing, r.Message, r.CopiedBytes, r.TotalBytes = m.Move.State, m.Move.Message, m.Move.Copied, m.Move.Total
			if m.Move.Total > 0 {
				r.Percent = int(m.Move.Copied * 100 / m.Move.Total)
			}
		}
		return r
	default:
		return nil
	}
}
