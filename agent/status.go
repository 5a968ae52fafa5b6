package agent

import (
	"net/netip"
	"slices"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// failuresToFail is how many failures in a row make an instance "failed". It
// is tried on all the same.
const failuresToFail = 5

// instanceStatus is what is reported of an instance. before is what was
// reported last; an unchanged matter keeps its time. ok is false when the desired state
// is older than what is there, of which nothing can be said.
func instanceStatus(want api.HostDesired, have Observed, id, host string, before api.InstanceStatus, now time.Time) (_ api.InstanceStatus, ok bool) {
	w := want.Instances[id]
	d, defined := have.Domains[id]
	if defined && w.Epoch < d.Mark.Epoch {
		return api.InstanceStatus{}, false
	}
	if defined && w.Epoch > d.Mark.Epoch {
		d, defined = Domain{}, false
	}
	s := api.InstanceStatus{Epoch: w.Epoch, Host: host}
	s.Conditions = append(s.Conditions, before.Conditions...)
	s.ObservedGeneration = w.Generation
	for _, p := range w.Ports {
		if port, ok := want.Ports[p]; ok {
			for _, a := range port.Addresses {
				s.Addresses = append(s.Addresses, a.Address.String())
			}
		}
	}
	if defined {
		s.Reboots = d.Mark.Reboots
		if !d.Mark.StartedAt.IsZero() && d.State == DomainRunning {
			at := d.Mark.StartedAt
			s.StartedAt = &at
		}
	}
	_, onDisk := have.Disks[id]
	s.State = instanceState(w, d, defined, onDisk, have.Memory[id])
	s.Migration = migration(want, have, w)
	if s.State == api.StateRunning && d.Mark.Reboots < w.Reboots {
		s.ObservedGeneration = before.ObservedGeneration // the reboot is still to be seen
	}
	for _, c := range conditions(want, have, w, d, defined) {
		c.Since = now
		s.SetCondition(c)
	}
	return s, true
}

func instanceState(w api.HostInstance, d Domain, defined, onDisk bool, m Memory) api.State {
	on := defined && (d.State == DomainRunning || d.State == DomainMoving || d.State == DomainPaused)
	if w.Outgoing != nil && !w.Deleting && m.Move.Epoch == w.Outgoing.Epoch && m.Move.State != api.OutgoingFailed {
		on = true // here, or elsewhere by now
	}
	switch {
	case w.Deleting && !defined && !onDisk:
		return api.StateGone
	case w.Deleting:
		return api.StateDeleting
	case w.Power == api.PowerOff && on:
		return api.StateStopping
	case on:
		return api.StateRunning
	case m.Failures >= failuresToFail:
		return api.StateFailed
	case w.Power == api.PowerOff && defined:
		return api.StateStopped
	case defined && halted(d) && w.Reboots <= d.Mark.Reboots:
		return api.StateStopped
	default:
		return api.StateStarting
	}
}

// conditions judges an instance. A failure shows in the condition that it breaks.
func conditions(want api.HostDesired, have Observed, w api.HostInstance, d Domain, defined bool) []api.Condition {
	m := have.Memory[w.ID]
	cs := []api.Condition{imageCondition(have, w), diskCondition(have, w), networkCondition(want, have, w), runningCondition(want, have, w, d, defined)}
	if w.Deleting {
		cs = cs[3:]
	}
	if f := m.Failure; f != nil {
		for i := range cs {
			if cs[i].Type == f.Condition {
				cs[i] = api.Condition{Type: f.Condition, Reason: f.Reason, Message: f.Message + "; it is tried again by itself"}
			}
		}
	}
	return cs
}

func imageCondition(have Observed, w api.HostInstance) api.Condition {
	if have.Images[w.Image.SHA256] {
		return api.Condition{Type: ImageReady, OK: true}
	}
	return api.Condition{Type: ImageReady, Reason: "Fetching", Message: "the image is being fetched to the host"}
}

func diskCondition(have Observed, w api.HostInstance) api.Condition {
	if d := have.Disks[w.ID]; d.Root && d.ConfigDigest != "" {
		return api.Condition{Type: DiskReady, OK: true}
	}
	return api.Condition{Type: DiskReady, Reason: "Preparing", Message: "the root disk and the config drive are being made"}
}

func networkCondition(want api.HostDesired, have Observed, w api.HostInstance) api.Condition {
	switch {
	case len(w.Ports) == 0:
		return api.Condition{Type: NetworkReady, OK: true, Reason: "NoPorts"}
	case !portsKnown(want, w):
		return api.Condition{Type: NetworkReady, Reason: "WaitingForPorts", Message: "the host has not been told of all the instance's ports yet"}
	case have.NetworkHolds:
		return api.Condition{Type: NetworkReady, OK: true}
	case have.NetworkNotBefore.IsZero():
		return api.Condition{Type: NetworkReady, Reason: "Applying", Message: "the host's network is being made"}
	default:
		return api.Condition{Type: NetworkReady, Reason: "ApplyFailed", Message: "the host's network could not be made; it is tried again by itself, and the host's log says more"}
	}
}

func runningCondition(want api.HostDesired, have Observed, w api.HostInstance, d Domain, defined bool) api.Condition {
	m := have.Memory[w.ID]
	c := api.Condition{Type: Running}
	on := defined && d.State == DomainRunning
	switch {
	case w.Deleting:
		c.Reason, c.Message = "Deleting", "the instance is being removed from its host"
	case on && w.Power == api.PowerOff:
		c.Reason, c.Message = "Stopping", "the guest was asked to stop"
	case on:
		c.OK = true
	case w.Power == api.PowerOff:
		c.OK, c.Reason = true, "Off" // as wanted
	case defined && halted(d) && w.Reboots <= d.Mark.Reboots:
		c.Reason, c.Message = "GuestShutdown", "the guest switched itself off; start the instance to run it again"
	case m.CrashSeen:
		c.Reason, c.Message = "Crashed", "the guest crashed; it is started again by itself"
	case !mayStart(want, have, w):
		c.Reason, c.Message = "WaitingForContact", "it is started when the control plane has said that it is still this host's"
	default:
		c.Reason, c.Message = "Starting", "the instance is being started"
	}
	return c
}

// floatingIPs are those that lead to ports, by port.
func floatingIPs(want api.HostDesired) map[string][]netip.Addr {
	out := map[string][]netip.Addr{}
	for _, f := range want.Floating {
		out[f.Port] = append(out[f.Port], f.Address)
	}
	for _, as := range out {
		slices.SortFunc(as, netip.Addr.Compare)
	}
	return out
}

// portStatus is what is reported of a local port, to which floating leads.
func portStatus(have Observed, p api.HostPort, floating []netip.Addr, host string) api.PortStatus {
	s := api.PortStatus{Host: host}
	s.State = api.StateDown
	s.ObservedGeneration = p.Generation
	if d, ok := have.Domains[p.Instance]; ok && d.State == DomainRunning && have.NetworkHolds {
		s.State, s.FloatingIPs, s.Bandwidth = api.StateActive, floating, p.Bandwidth
	}
	return s
}
