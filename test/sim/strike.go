package sim

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/cairn-cloud/cairn/agent"
)

// resolve finds whom a fault is about, where that is only known now.
func (w *world) resolve(f Fault) Fault {
	if f.Kind == Leader {
		f.A, f.B = w.leader(), "etcd"
	}
	return f
}

// leader is the controller that holds the election's first key.
func (w *world) leader() string {
	var key string
	for k := range w.truth.raw {
		if strings.HasPrefix(k, electionPrefix) && (key == "" || w.truth.raw[k].CreateRevision < w.truth.raw[key].CreateRevision) {
			key = k
		}
	}
	if key == "" {
		return "nobody"
	}
	return w.nameOfStore(string(w.truth.raw[key].Value))
}

// strike makes a fault happen that is an act; others are looked up while they last.
func (w *world) strike(f Fault) {
	switch f.Kind {
	case Crash:
		w.mu.Lock()
		w.faults.armed[f.A] = time.Now().Add(f.For)
		w.mu.Unlock()
	case Power:
		if m := w.machine(f.A); m != nil {
			m.powerOff()
		}
	case Expire:
		w.expire(f.A)
	case WatchCut:
		if f.N == 1 {
			// Errors here: what is compacted already.
			_, _ = w.etcd.Compact(context.Background(), w.cluster.Revision())
		}
	case Clock:
		if p := w.process(f.A); p != nil {
			p.setSkew(time.Duration(f.N) * time.Second)
		}
	case Full:
		if f.A == "etcd" {
			w.cluster.RaiseNoSpace()
		}
	case Guest:
		if m := w.machine(f.A); m != nil {
			m.meddle(f.N)
		}
	case Add:
		w.addHost(f.A)
	}
}

// heal undoes a fault whose time is over.
func (w *world) heal(f Fault) {
	switch f.Kind {
	case Crash:
		w.mu.Lock()
		delete(w.faults.armed, f.A) // it did nothing in that time
		w.mu.Unlock()
		if p := w.process(f.A); p != nil {
			p.start()
		}
	case Power:
		if m := w.machine(f.A); m != nil {
			m.powerOn()
		}
	case Clock:
		if p := w.process(f.A); p != nil {
			p.setSkew(0)
		}
	case Full:
		if f.A == "etcd" {
			_, _ = w.etcd.AlarmDisarm(context.Background(), &clientv3.AlarmMember{}) // there is nothing else that it can answer
		}
	}
}

// expire revokes the lease that a controller lives under.
func (w *world) expire(name string) {
	for _, k := range slices.Sorted(maps.Keys(w.truth.raw)) {
		if id, ok := strings.CutPrefix(k, livePrefix); ok && w.nameOfStore(id) == name {
			_, _ = w.etcd.Revoke(context.Background(), clientv3.LeaseID(w.truth.raw[k].Lease)) // it may just have ended
		}
	}
}

func (p *process) setSkew(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.skew = d
}

func (w *world) process(name string) *process {
	for _, p := range w.processes {
		if p.name == name {
			return p
		}
	}
	return nil
}

func (w *world) machine(name string) *machine {
	for _, m := range w.machines {
		if m.name == name {
			return m
		}
	}
	return nil
}

// meddle lets something happen to a guest that nobody asked for.
func (m *machine) meddle(how int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(m.domains)) {
		if m.domains[id].State == agent.DomainRunning {
			why := []agent.StopReason{agent.StopCrash, agent.StopShutdown, agent.StopDestroy}[how%3]
			m.w.trace.add("%s on %s is %s", id, m.name, why)
			if why == agent.StopShutdown {
				m.halted[id] = true
			}
			m.stop(id, why)
			return
		}
	}
}
