package controller

import (
	"container/list"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// silence is how long a host may be silent before it counts as not ready.
const silence = 30 * time.Second

// Timer makes a channel that yields once after d, and a function that stops it.
type Timer func(d time.Duration) (c <-chan time.Time, stop func())

// heartbeats knows when each host was last heard of. The hosts are in the order
// of their last beat, so one timer, for the first of them, is enough.
type heartbeats struct {
	now   func() time.Time
	timer Timer
	log   *slog.Logger
	set   func(ctx context.Context, host string, alive bool) (life int64, err error)

	mu    sync.Mutex
	order *list.List // of *beat, the longest silent first
	hosts map[string]*list.Element
	woken chan struct{} // the first beat after none
}

type beat struct {
	host string
	last time.Time
	held bool // the lease is held; false after a failure to take it
}

func newHeartbeats(now func() time.Time, timer Timer, log *slog.Logger, set func(context.Context, string, bool) (int64, error)) *heartbeats {
	return &heartbeats{now: now, timer: timer, log: log, set: set, order: list.New(), hosts: map[string]*list.Element{}, woken: make(chan struct{}, 1)}
}

// Heartbeat implements rest.Backend.
func (b *Backend) Heartbeat(ctx context.Context, host string) (life int64, err error) {
	v, err := b.store.View(ctx, 0)
	if err != nil {
		return 0, err
	}
	if v.Get(api.KindHost, host) == nil {
		return 0, api.NotFound(api.KindHost, host)
	}
	if b.store.Holds(host) { // else another one does, which would let it go
		life = v.Life(host)
	}
	return b.beats.beat(ctx, host, life)
}

// beat notes the beat, and takes the host's lease where this process does not hold
// it. shown is the life that the host is shown in under this one's lease; 0: under none, or another's.
func (h *heartbeats) beat(ctx context.Context, host string, shown int64) (life int64, err error) {
	h.mu.Lock()
	e := h.hosts[host]
	if e == nil {
		e = h.order.PushBack(&beat{host: host})
		h.hosts[host] = e
	}
	b := e.Value.(*beat)
	b.last = h.now()
	h.order.MoveToBack(e)
	take := !b.held || shown == 0
	b.held = true
	h.mu.Unlock()
	select {
	case h.woken <- struct{}{}:
	default:
	}
	if !take {
		return shown, nil
	}
	if life, err = h.set(ctx, host, true); err != nil {
		h.mu.Lock()
		b.held = false
		h.mu.Unlock()
	}
	return life, err
}

// run lets go of the leases of hosts that fell silent, until ctx ends.
func (h *heartbeats) run(ctx context.Context) {
	for {
		wait, silent := h.next()
		for _, host := range silent {
			h.log.Warn("a host fell silent", "host", host, "for", silence)
			if _, err := h.set(ctx, host, false); err != nil && ctx.Err() == nil {
				h.log.Error("mark a host as silent", "host", host, "err", err)
			}
		}
		var due <-chan time.Time
		stop := func() {}
		if wait > 0 {
			due, stop = h.timer(wait)
			select {
			case <-due:
			case <-ctx.Done():
			}
		} else {
			select {
			case <-h.woken:
			case <-ctx.Done():
			}
		}
		stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// next takes out the hosts that are silent, and says how long to wait for the
// one after them; 0: there is none.
func (h *heartbeats) next() (wait time.Duration, silent []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for e := h.order.Front(); e != nil; e = h.order.Front() {
		b := e.Value.(*beat)
		if left := b.last.Add(silence).Sub(h.now()); left > 0 {
			return left, silent
		}
		h.order.Remove(e)
		delete(h.hosts, b.host)
		silent = append(silent, b.host)
	}
	return 0, silent
}
