package agent

import (
	"context"
	"sync"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// loop is the agent's one thread of decisions: everything that it knows
// belongs to it alone, and what others learn comes as messages.
type loop struct {
	*Agent
	workers sync.WaitGroup
	slots   chan struct{} // of work that is done at once

	busy        map[string]context.CancelFunc // targets that a worker is on, and what stops it
	memory      map[string]Memory
	unused      map[string]time.Time
	network     *network.Desired
	guests      string
	netFailures int
	netNot      time.Time
	reported    map[string]api.InstanceStatus
	events      map[string][]api.EventSpec
	hostSaid    bool
	hostSeen    *api.HostStatus // what the host is, without what changes on it
	hostEvents  []api.EventSpec
	tried       *network.Desired     // what the network was made last, all of it
	netDrift    []api.Drift          // what of it could not be put right
	told        map[string]time.Time // drift of the host, by field
	blind       int                  // failures in a row to see what is on the host
	blindUntil  time.Time
	passed      time.Time // when the last pass began
}

func newLoop(a *Agent) *loop {
	return &loop{
		Agent: a, slots: make(chan struct{}, a.o.Parallel),
		busy: map[string]context.CancelFunc{}, memory: map[string]Memory{}, unused: map[string]time.Time{},
		reported: map[string]api.InstanceStatus{}, told: map[string]time.Time{}, events: map[string][]api.EventSpec{},
	}
}

// run works until ctx ends and its workers have ended.
func (l *loop) run(ctx context.Context) {
	trim := time.NewTicker(trimEvery)
	defer trim.Stop()
	trims := 0
	defer l.workers.Wait()
	for {
		l.drain()
		next := l.pass(ctx)
		if l.drain() {
			continue // what came meanwhile comes before the time that passed meanwhile
		}
		timer, stop := timerAt(next, l.o.Now())
		select {
		case <-ctx.Done():
			stop()
			return
		case m := <-l.inbox:
			l.handle(m)
		case <-l.contact.changed:
		case <-timer:
		case <-trim.C:
			if trims++; trims%fullPassTrims == 0 {
				l.network, l.hostSaid = nil, false // look at it all again
			}
			if err := l.o.Drivers.Disks.TrimLogs(ctx); err != nil {
				l.o.Log.Warn("console logs were not trimmed", "error", err)
			}
		}
		stop()
	}
}

// timerAt is a timer for that time; a zero time never comes.
func timerAt(at, now time.Time) (<-chan time.Time, func()) {
	if at.IsZero() {
		return nil, func() {}
	}
	t := time.NewTimer(max(0, at.Sub(now)))
	return t.C, func() { t.Stop() }
}

// drain takes all that waits, so that many changes make one pass. It tells whether
// there was anything.
func (l *loop) drain() (some bool) {
	for {
		select {
		case m := <-l.inbox:
			l.handle(m)
		case <-l.contact.changed:
		default:
			return some
		}
		some = true
	}
}

func (l *loop) handle(m message) {
	switch {
	case m.done != nil:
		l.finish(*m.done)
	case m.progress != nil:
		mem := l.memory[m.progress.of.Instance]
		mem.Move.Copied, mem.Move.Total = m.progress.copied, m.progress.total
		l.memory[m.progress.of.Instance] = mem
	case m.still != nil:
		mem := l.memory[m.still.instance]
		mem.Still = m.still.epoch
		l.memory[m.still.instance] = mem
	case m.streamErr != nil:
		l.desired.restart()
		l.reporter.again()
		l.hostSaid = false
	case m.items != nil:
		l.take(m.items)
	case m.domain != nil:
		if m.domain.Kind == EventRebooted {
			if mem := l.memory[m.domain.Instance]; !mem.RebootAt.IsZero() {
				mem.Rebooted = true
				l.memory[m.domain.Instance] = mem
			}
		}
	case m.network != "":
		l.o.Log.Info("the network was changed by another hand; it is put right", "what", m.network)
		l.network = nil
	case m.observe:
		l.blindUntil = time.Time{}
		l.hostSaid = false
	}
}

// take makes what the stream said the desired state. What changed is tried at
// once, whatever failed before.
func (l *loop) take(items []api.DesiredItem) {
	changed, err := l.desired.apply(items)
	if err != nil {
		l.o.Log.Error("a part of the desired state is not followed", "error", err)
	}
	l.reporter.saw(l.desired.want.Revision)
	l.reporter.heard()
	for id := range changed {
		if m, ok := l.memory[id]; ok {
			m.NotBefore, m.StartNotBefore = time.Time{}, time.Time{}
			l.memory[id] = m
		}
	}
	for _, i := range items {
		if i.Op == "delete" {
			l.reporter.forget(i.Kind, i.ID)
		}
	}
	if _, err := networkDesired(l.o.Underlay, l.desired.want); err != nil {
		l.o.Log.Error("a part of the network is left out", "error", err)
	}
	l.publish()
	select {
	case l.save <- struct{}{}:
	default:
	}
}
