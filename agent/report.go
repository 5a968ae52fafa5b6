package agent

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// reporter tells the control plane what changed: all that waits in one call,
// each object as it is last, and again what a broken call may have lost.
type reporter struct {
	cp     ControlPlane
	host   string
	log    *slog.Logger
	spread func() float64

	seen    atomic.Int64 // the newest revision of the control plane that it heard of
	mu      sync.Mutex
	sent    map[string]string // digest of what was said last, by kind/ID
	pending map[string]api.Report
	order   []string // of pending
	ready   chan struct{}
	back    chan struct{} // of one: the control plane was heard of, so that it need not be waited for
}

// eventsMax bounds what is kept of one object while the control plane is away.
const eventsMax = 20

func newReporter(cp ControlPlane, host string, log *slog.Logger, spread func() float64) *reporter {
	return &reporter{
		cp: cp, host: host, log: log, spread: spread,
		sent: map[string]string{}, pending: map[string]api.Report{}, ready: make(chan struct{}, 1), back: make(chan struct{}, 1),
	}
}

func reportKey(r api.Report) string { return r.Kind + "/" + r.ID }

// say hands in what is so now; what was said already is dropped.
func (r *reporter) say(x api.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := reportKey(x)
	bare := x
	bare.Events = nil
	d := digest(bare)
	old, waits := r.pending[key]
	if !waits && r.sent[key] == d && len(x.Events) == 0 {
		return
	}
	if waits {
		x.Events = append(old.Events, x.Events...)
	} else {
		r.order = append(r.order, key)
	}
	x.Events = x.Events[max(0, len(x.Events)-eventsMax):]
	r.pending[key] = x
	r.sent[key] = d
	r.wake()
}

// forget drops what is known of an object that is no longer here.
func (r *reporter) forget(kind, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sent, kind+"/"+id)
}

// again makes the next say of every object be sent, whatever was said before:
// the control plane may be another one, or have lost it.
func (r *reporter) again() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.sent)
}

func (r *reporter) wake() {
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

func (r *reporter) take() []api.Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []api.Report
	for _, k := range r.order {
		out = append(out, r.pending[k])
	}
	r.order = nil
	clear(r.pending)
	return out
}

// giveBack puts reports that were not taken in front of what came since.
func (r *reporter) giveBack(reports []api.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var order []string
	for _, x := range reports {
		key := reportKey(x)
		if newer, ok := r.pending[key]; ok {
			newer.Events = append(x.Events, newer.Events...)
			newer.Events = newer.Events[max(0, len(newer.Events)-eventsMax):]
			r.pending[key] = newer
			continue
		}
		r.pending[key] = x
		order = append(order, key)
	}
	r.order = append(order, r.order...)
}

// saw notes a revision of the control plane that was heard of.
func (r *reporter) saw(revision int64) {
	for {
		before := r.seen.Load()
		if revision <= before || r.seen.CompareAndSwap(before, revision) {
			return
		}
	}
}

// run sends until ctx ends.
func (r *reporter) run(ctx context.Context) {
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.ready:
		}
		reports := r.take()
		if len(reports) == 0 {
			continue
		}
		rev, err := r.cp.Report(ctx, r.host, r.seen.Load(), reports)
		if err == nil {
			r.saw(rev)
			failures = 0
			continue
		}
		r.giveBack(reports)
		failures++
		if failures == 1 && ctx.Err() == nil {
			r.log.Warn("a report did not arrive; it is sent again", "error", err)
		}
		if !r.pause(ctx, backoff(failures, firstRetry, lastRetry, r.spread())) {
			return
		}
		r.wake()
	}
}

// heard says that the control plane was heard of.
func (r *reporter) heard() {
	select {
	case r.back <- struct{}{}:
	default:
	}
}

// pause waits, until the control plane is heard of; false when ctx ended before.
func (r *reporter) pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-r.back: // before the failure
	default:
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.back:
	case <-ctx.Done():
		return false
	}
	return true
}

// pause waits; false when ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
