package agent

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// done is what became of a target's actions.
type done struct {
	target string
	did    []Action
	failed Action // nil: all were done
	err    error
}

// last is the action that was done last, or tried.
func (d done) last() Action {
	if d.failed != nil {
		return d.failed
	}
	return d.did[len(d.did)-1]
}

// netWork is the network's part of a plan, for which starts wait.
type netWork struct {
	finished chan struct{}
	err      error
}

// errNetwork is why a start did not happen.
var errNetwork = errors.New("the host's network could not be made")

// work sets workers to the actions, one for each target that has none, and does
// the host's own itself meanwhile.
func (l *loop) work(ctx context.Context, actions []Action) {
	whole := ctx // of which a worker's is a part, that may be stopped before
	net := &netWork{finished: make(chan struct{})}
	var host []Action
	groups := map[string][]Action{}
	var order []string
	for _, a := range actions {
		t := a.Target()
		if t == "" {
			host = append(host, a)
			continue
		}
		if stop := l.busy[t]; stop != nil {
			if _, ok := a.(Abort); ok {
				l.o.Log.Info(a.String())
				stop()
			}
			continue // it is planned anew when the worker is done
		}
		if groups[t] == nil {
			order = append(order, t)
		}
		groups[t] = append(groups[t], a)
	}
	l.relieve(groups)
	for _, t := range order {
		ctx, stop := context.WithCancel(ctx)
		l.busy[t] = stop
		for _, a := range groups[t] {
			if r, ok := a.(remembered); ok {
				l.memory[t] = r.remember(l.memory[t])
			}
		}
		l.workers.Go(func() {
			defer stop()
			d := l.doGroup(ctx, t, groups[t], net)
			l.send(whole, message{done: d})
		})
	}
	net.err = l.doHost(ctx, host)
	close(net.finished)
}

// relieve forgets the failures of instances that want nothing more: what failed
// came about by itself, or is not wanted any more.
func (l *loop) relieve(planned map[string][]Action) {
	now := l.o.Now()
	for id, m := range l.memory { // each by itself
		if m.Failures > 0 && planned[id] == nil && l.busy[id] == nil && !now.Before(m.NotBefore) && now.After(l.netNot) {
			l.memory[id] = m.succeeded()
		}
	}
}

// doHost does the host's actions, and remembers what holds now.
func (l *loop) doHost(ctx context.Context, actions []Action) error {
	for _, a := range actions {
		l.o.Log.Info(a.String())
		var err error
		if n, ok := a.(ApplyNetwork); ok {
			var found []network.Difference
			found, err = l.o.Drivers.Network.Apply(ctx, n.Want)
			l.applied(n.Want, found, err)
		} else {
			err = a.Do(ctx, l.o.Drivers)
		}
		if err != nil {
			l.netFailures++
			l.netNot = l.o.Now().Add(backoff(l.netFailures, firstRetry, lastRetry, l.o.Rand()))
			if ctx.Err() == nil {
				l.o.Log.Error(a.String(), "error", err, "failures", l.netFailures)
			}
			return err
		}
		switch a := a.(type) {
		case ApplyNetwork:
			l.network, l.guests = &a.Want, "" // the services' sockets may be in what was made anew
		case ServeGuests:
			l.guests = a.Digest
		}
		l.netFailures, l.netNot = 0, time.Time{}
	}
	return nil
}

// doGroup does the actions of one target, in order, until one fails.
func (l *loop) doGroup(ctx context.Context, target string, actions []Action, net *netWork) *done {
	held := false
	release := func() {
		if held {
			<-l.slots
			held = false
		}
	}
	defer release()
	for n, a := range actions {
		if _, ok := a.(networked); ok {
			release() // who waits works not
			select {
			case <-net.finished:
			case <-ctx.Done():
				return &done{target, actions[:n], a, ctx.Err()}
			}
			if net.err != nil {
				return &done{target, actions[:n], a, errNetwork}
			}
		}
		if _, ok := a.(light); !ok && !held {
			select {
			case l.slots <- struct{}{}:
				held = true
			case <-ctx.Done():
				return &done{target, actions[:n], a, ctx.Err()}
			}
		}
		l.o.Log.Info(a.String())
		if err := a.Do(ctx, l.drivers()); err != nil {
			return &done{target, actions[:n], a, err}
		}
	}
	return &done{target: target, did: actions}
}

// finish takes a worker's result.
func (l *loop) finish(d done) {
	delete(l.busy, d.target)
	if r, ok := d.failed.(RemoveImage); ok {
		l.unused[r.SHA256] = l.o.Now() // try again when it has been unused as long again
		l.o.Log.Warn(r.String(), "error", d.err)
		return
	}
	if strings.HasPrefix(d.target, imageTarget) {
		return
	}
	for _, a := range d.did {
		l.tell(d.target, a)
	}
	m := l.memory[d.target]
	last := d.last()
	if a, ok := last.(Migrate); ok {
		known := false
		if m, known = a.ended(m, d.err); known && d.err != nil {
			l.o.Log.Warn(a.String(), "error", d.err)
			d.failed = nil // that is how it ended
		}
	}
	if d.failed == nil {
		if _, m.Started = last.(Start); !m.Started { // else it is to be seen
			m = m.succeeded()
		}
		l.memory[d.target] = m
		return
	}
	if r, ok := d.failed.(remembered); ok {
		m = r.forget(m)
	}
	if errors.Is(d.err, errNetwork) {
		// The network is tried again by itself, and the instance with it.
		l.memory[d.target] = m
		return
	}
	now := l.o.Now()
	f := Failure{Condition: Running, Reason: "Failed", Message: d.err.Error()}
	if j, ok := d.failed.(judged); ok {
		f.Condition, f.Reason = j.breaks()
	}
	m = m.failed(f, now, l.o.Rand())
	l.memory[d.target] = m
	l.o.Log.Error(d.failed.String(), "error", d.err, "failures", m.Failures, "again_in", m.NotBefore.Sub(now))
	if _, ours := l.desired.want.Instances[d.target]; ours && (m.Failures == 1 || m.Failures == failuresToFail) {
		l.event(d.target, api.EventSpec{Warning: true, Reason: f.Reason, Message: f.Message, Time: now})
	}
}

// drivers are those of the agent, with the loop's ear.
func (l *loop) drivers() Drivers {
	d := l.o.Drivers
	d.progress = func(ctx context.Context, a Migrate, copied, total int64) {
		l.send(ctx, message{progress: &progress{a, copied, total}})
	}
	return d
}
