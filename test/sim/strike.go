package sim

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
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
	case Hand:
		if m := w.machine(f.A); m != nil {
			m.handle(f.N)
		}
	case Add:
		w.addHost(f.A)
	case Drain:
		w.hosts(f.A, "drain", map[string]any{"stop_after_seconds": 5}, func() bool { return w.faultOn(Drain, f.A) })
	case Lost:
		w.loseHost(f)
	default: // they are looked up
	}
}

// loseHost takes a host away. An administrator who has cut its power says so, as
// long as that is true; the mutant of one says so of what runs.
func (w *world) loseHost(f Fault) {
	m := w.machine(f.A)
	if m == nil {
		return
	}
	if f.N == powerCut {
		m.powerOff()
	}
	if f.N == powerCut || w.mutant == MutantLiar {
		w.hosts(f.A, "fence", nil, func() bool { return w.mutant == MutantLiar || w.powerless(f.A) })
	}
}

// powerless tells whether a machine's power is cut.
func (w *world) powerless(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.faults.active, func(f Fault) bool {
		return f.A == name && (f.Kind == Power || f.Kind == Lost && f.N == powerCut)
	})
}

// hosts does something to a host as an administrator, who tries until it is done or
// true is false; what was begun before on the host is ended first.
func (w *world) hosts(name, action string, body map[string]any, still func() bool) {
	k, _ := api.KindByName(api.KindHost)
	before, done := w.onHost[name], make(chan struct{})
	w.onHost[name] = done
	w.admins.Go(func() {
		defer close(done)
		if before != nil {
			<-before
		}
		for w.ctx.Err() == nil && (still == nil || still()) {
			var in any
			if body != nil {
				in = body
			}
			_, err := w.admin.Action(w.ctx, k, "", name, action, in, client.WriteOptions{})
			w.trace.add("the administrator: %s %s: %s", action, name, outcome(err))
			if err == nil || client.IsCode(err, "not_found") {
				return
			}
			_ = sleep(w.ctx, 3*time.Second) // ctx is looked at above
		}
	})
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
		if m := w.machine(f.A); m != nil && !w.powerless(f.A) {
			m.powerOn()
		}
	case Drain:
		w.hosts(f.A, "activate", nil, nil)
	case Lost:
		if m := w.machine(f.A); m != nil && f.N == powerCut && !w.powerless(f.A) {
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
	default: // there is nothing to undo
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
