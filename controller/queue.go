package controller

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// key names one object to be reconciled.
type key struct{ kind, id string }

// queue holds the keys that are to be looked at. A key is in it once, however
// often it is added, and is never given out twice at a time: what is added while it
// is worked on comes again afterwards.
type queue struct {
	now   func() time.Time
	timer Timer

	mu     sync.Mutex
	order  []key
	queued map[key]bool
	active map[key]bool
	later  alarms
	signal chan struct{} // one token: there may be work
	alarm  chan struct{} // the first alarm changed
}

// alarms is a heap of keys by the time when they are due.
type alarms []alarm

type alarm struct {
	at  time.Time
	key key
}

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a alarms) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *alarms) Push(x any)        { *a = append(*a, x.(alarm)) }
func (a *alarms) Pop() any {
	x := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return x
}

func newQueue(now func() time.Time, timer Timer) *queue {
	return &queue{now: now, timer: timer, queued: map[key]bool{}, active: map[key]bool{}, signal: make(chan struct{}, 1), alarm: make(chan struct{}, 1)}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (q *queue) add(k key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.queued[k] {
		q.queued[k] = true
		if !q.active[k] {
			q.order = append(q.order, k)
			poke(q.signal)
		}
	}
}

func (q *queue) addAfter(k key, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	heap.Push(&q.later, alarm{q.now().Add(d), k})
	poke(q.alarm)
}

// take waits for a key; false when ctx ended.
func (q *queue) take(ctx context.Context) (key, bool) {
	for {
		if k, ok := q.first(); ok {
			return k, true
		}
		select {
		case <-q.signal:
		case <-ctx.Done():
			return key{}, false
		}
	}
}

func (q *queue) first() (key, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.order) == 0 {
		return key{}, false
	}
	k := q.order[0]
	q.order = q.order[1:]
	delete(q.queued, k)
	q.active[k] = true
	if len(q.order) > 0 {
		poke(q.signal) // for the next worker
	}
	return k, true
}

// done ends the work on a key; it comes again if it was added meanwhile.
func (q *queue) done(k key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.active, k)
	if q.queued[k] {
		q.order = append(q.order, k)
		poke(q.signal)
	}
}

// runAlarms adds the keys whose time has come, until ctx ends.
func (q *queue) runAlarms(ctx context.Context) {
	for ctx.Err() == nil {
		var due <-chan time.Time
		stop := func() {}
		if wait, ok := q.ring(); ok {
			due, stop = q.timer(wait)
		}
		select {
		case <-due:
		case <-q.alarm:
		case <-ctx.Done():
		}
		stop()
	}
}

// ring adds what is due and says how long to wait for the next.
func (q *queue) ring() (time.Duration, bool) {
	for {
		q.mu.Lock()
		if len(q.later) == 0 {
			q.mu.Unlock()
			return 0, false
		}
		wait := q.later[0].at.Sub(q.now())
		if wait > 0 {
			q.mu.Unlock()
			return wait, true
		}
		a := heap.Pop(&q.later).(alarm)
		q.mu.Unlock()
		q.add(a.key)
	}
}
