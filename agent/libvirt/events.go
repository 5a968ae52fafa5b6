package libvirt

import (
	"context"
	"errors"
	"iter"
	"sync"

	lv "libvirt.org/go/libvirt"

	"github.com/cairn-cloud/cairn/agent"
)

// errLost is what Events yields when the connection is lost.
var errLost = errors.New("the connection to libvirt was lost; it is being made again")

// Events implements agent.Hypervisor. Each caller gets every event from its
// call on, until ctx ends. An error says that events may have been missed
// until then: observe everything. A nil error with an empty event says that the
// connection is there again.
func (h *Hypervisor) Events(ctx context.Context) iter.Seq2[agent.DomainEvent, error] {
	q := h.bus.subscribe()
	return func(yield func(agent.DomainEvent, error) bool) {
		defer h.bus.unsubscribe(q)
		for {
			for _, n := range q.take() {
				if !yield(n.event, n.err) {
					return
				}
			}
			select {
			case <-q.ready:
			case <-ctx.Done():
				return
			}
		}
	}
}

// register makes libvirt call the bus. The callbacks run on the event loop's
// thread, which they must not hold up.
func (h *Hypervisor) register(c *lv.Connect) error {
	_, err := c.DomainEventLifecycleRegister(nil, func(_ *lv.Connect, d *lv.Domain, e *lv.DomainEventLifecycle) {
		h.publish(d, lifecycleKind(e))
	})
	if err != nil {
		return err
	}
	_, err = c.DomainEventRebootRegister(nil, func(_ *lv.Connect, d *lv.Domain) {
		h.publish(d, agent.EventRebooted)
	})
	if err != nil {
		return err
	}
	return h.registerChanges(c)
}

func (h *Hypervisor) publish(d *lv.Domain, k agent.EventKind) {
	name, err := d.GetName() // from memory: asks nobody
	if err != nil {
		return
	}
	h.stale(name)
	h.bus.send(notice{event: agent.DomainEvent{Instance: name, Kind: k}})
}

func lifecycleKind(e *lv.DomainEventLifecycle) agent.EventKind {
	switch e.Event {
	case lv.DOMAIN_EVENT_STARTED:
		return agent.EventStarted
	case lv.DOMAIN_EVENT_CRASHED:
		return agent.EventCrashed
	case lv.DOMAIN_EVENT_STOPPED:
		switch lv.DomainEventStoppedDetailType(e.Detail) {
		case lv.DOMAIN_EVENT_STOPPED_CRASHED, lv.DOMAIN_EVENT_STOPPED_FAILED:
			return agent.EventCrashed
		default:
			return agent.EventStopped
		}
	default:
		return agent.EventChanged
	}
}

// notice is an event or the loss of the connection.
type notice struct {
	event agent.DomainEvent
	err   error
}

// bus gives every notice to every subscriber. A queue has no bound: its sender
// is libvirt's event loop, which must never wait, and its reader is one loop
// that drains it whole.
type bus struct {
	mu     sync.Mutex
	queues map[*queue]bool
}

type queue struct {
	mu    sync.Mutex
	items []notice
	ready chan struct{}
}

func (b *bus) subscribe() *queue {
	q := &queue{ready: make(chan struct{}, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.queues == nil {
		b.queues = map[*queue]bool{}
	}
	b.queues[q] = true
	return q
}

func (b *bus) unsubscribe(q *queue) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.queues, q)
}

func (b *bus) send(n notice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for q := range b.queues {
		q.put(n)
	}
}

func (q *queue) put(n notice) {
	q.mu.Lock()
	q.items = append(q.items, n)
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *queue) take() []notice {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := q.items
	q.items = nil
	return out
}
