package sim

import (
	"fmt"
	"maps"
	"slices"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// What another hand does on a host.
const (
	handSuspends  = iota // a guest
	handUndefines        // a guest, which runs on
	handEdits            // a guest's definition
	handFlushes          // the whole network
	handLeaves           // a domain that runs, with a disk, that nobody owns
	hands
)

// handle does it; what is to be done to a guest is done to the first that runs.
func (m *machine) handle(what int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch what {
	case handFlushes:
		m.flush()
		return
	case handLeaves:
		m.leave()
		return
	}
	for _, id := range slices.Sorted(maps.Keys(m.domains)) {
		d, s := m.domains[id], m.specs[id]
		if d.State != agent.DomainRunning || m.left[id] {
			continue
		}
		switch what {
		case handSuspends:
			d.State = agent.DomainPaused
		case handUndefines:
			d.Transient = true
		default:
			s.MemoryMiB *= 2
		}
		m.domains[id], m.specs[id] = d, s
		m.w.trace.add("another hand on %s: %d on %s", m.name, what, id)
		m.tell(id, agent.EventChanged)
		return
	}
}

func (m *machine) flush() {
	if m.network == nil {
		return
	}
	m.network = nil
	for id, d := range m.domains {
		if d.State != agent.DomainStopped {
			d.Unplugged = nil
			for _, n := range m.specs[id].NICs {
				d.Unplugged = append(d.Unplugged, n.Tap)
			}
			m.domains[id] = d
		}
	}
	select {
	case m.links <- "all of it went":
	default: // an agent that does not listen
	}
}

func (m *machine) leave() {
	if !m.on {
		return
	}
	id := fmt.Sprintf("ins_left%dby%d", len(m.left), m.number)
	m.left[id] = true
	m.domains[id] = agent.Domain{Mark: agent.Mark{Instance: id, Epoch: 1, Power: agent.MarkOn}, State: agent.DomainRunning}
	m.specs[id] = agent.DomainSpec{Title: "nobody/" + id, MemoryMiB: 64}
	m.disks[id] = agent.DiskState{Root: true, Image: "none"}
	m.w.trace.add("another hand leaves %s on %s", id, m.name)
	m.tell(id, agent.EventStarted)
}

// orphansAreKept: their time is longer than any run.
func orphansAreKept(w *world) (string, error) {
	for _, m := range w.machines {
		m.mu.Lock()
		ids := slices.Sorted(maps.Keys(m.left))
		for _, id := range ids {
			_, defined := m.domains[id]
			if disk := m.disks[id]; !defined || !disk.Root {
				m.mu.Unlock()
				return id, fmt.Errorf("%s was left on %s, and its domain or its disk is gone", id, m.name)
			}
		}
		m.mu.Unlock()
	}
	return "", nil
}

// orphansAreShown tells what is not seen yet of what was left on hosts.
func orphansAreShown(w *world) (string, error) {
	for _, h := range all[*api.Host](w.truth) {
		m := w.machine(h.Name)
		if m == nil {
			continue
		}
		m.mu.Lock()
		for _, id := range slices.Sorted(maps.Keys(m.left)) {
			listed := slices.ContainsFunc(h.Status.Orphans, func(o api.Orphan) bool { return o.Instance == id })
			if state := m.domains[id].State; !listed || state == agent.DomainRunning {
				m.mu.Unlock()
				return id, fmt.Errorf("%s was left on %s, is %s, and whether that is shown: %t", id, m.name, state, listed)
			}
		}
		m.mu.Unlock()
	}
	return "", nil
}

// drifted tells what of an instance's domain is not as it was made. The machine's
// lock is held.
func (m *machine) drifted(i *api.Instance) error {
	d, there := m.domains[i.ID]
	switch s := m.specs[i.ID]; {
	case !there:
	case d.Transient || s.MemoryMiB != i.Spec.Size.MemoryMiB:
		return fmt.Errorf("the definition of %s on %s is not mended", i.Name, m.name)
	case len(d.Unplugged) > 0:
		return fmt.Errorf("%s on %s is not plugged in again", i.Name, m.name)
	case d.State == agent.DomainRunning && slices.ContainsFunc(s.NICs, func(n agent.DomainNIC) bool { return !m.hasTap(n.Tap) }):
		return fmt.Errorf("%s on %s runs and lacks a tap, such as %s", i.Name, m.name, network.Tap(i.Spec.NICs[0].Port))
	}
	return nil
}
