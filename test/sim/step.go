package sim

import (
	"context"
	"errors"
	"fmt"
	"testing/synctest"
	"time"
)

// step is something that is about to happen between two parts: a call, an
// answer, a delivery. It waits for its turn, which the world gives to one at a
// time, in the order of virtual time.
type step struct {
	due  time.Time
	by   *life  // dies with it; nil: nobody's
	a, b string // the ends of the line that it goes over; b may be empty
	what string
	n    int // the n-th of its kind
	turn chan struct{}
	gone bool   // given its turn, or given up
	do   func() // instead of giving the turn to somebody
}

// maxSteps is how many a run may have: ten times what one takes.
const maxSteps = 100_000

// errDead is what a process gets of the world once it has crashed.
var errDead = errors.New("this process is dead")

// pass waits for the turn of a step of the process over the line from a to b. It
// returns how often the like has happened before: the occasion, by which
// what comes of it is drawn.
func (w *world) pass(ctx context.Context, by *life, a, b, what string) (occasion int, err error) {
	if by.dead() {
		return 0, errDead
	}
	s := &step{by: by, a: a, b: b, what: what, turn: make(chan struct{})}
	w.enter(s)
	select {
	case <-s.turn:
	case <-ctx.Done():
	}
	w.mu.Lock()
	given := s.gone
	s.gone = true
	w.mu.Unlock()
	switch {
	case by.dead():
		return s.n, errDead
	case !given:
		return s.n, context.Cause(ctx)
	}
	return s.n, nil
}

// enter makes the step one of those that wait.
func (w *world) enter(s *step) {
	w.mu.Lock()
	defer w.mu.Unlock()
	line := s.a + ">" + s.b + " " + s.what
	s.n = w.occasions[line]
	w.occasions[line]++
	d := latency(w.seed, line, s.n)
	if w.faults.slow(s.a) || w.faults.slow(s.b) {
		d *= 60
	}
	s.due = time.Now().Add(d)
	w.steps = append(w.steps, s)
	select {
	case w.arrived <- struct{}{}:
	default:
	}
}

// next is the step whose turn comes first of those that nothing holds up.
func (w *world) next() *step {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := w.steps[:0] // what is gone is dropped on the way
	var first *step
	for _, s := range w.steps {
		if s.gone {
			continue
		}
		kept = append(kept, s)
		if w.faults.holds(s) {
			continue
		}
		if first == nil || s.before(first) {
			first = s
		}
	}
	clear(w.steps[len(kept):])
	w.steps = kept
	return first
}

func (s *step) before(o *step) bool {
	if !s.due.Equal(o.due) {
		return s.due.Before(o.due)
	}
	if s.a != o.a {
		return s.a < o.a
	}
	if s.what != o.what {
		return s.what < o.what
	}
	return s.n < o.n
}

// run gives turns until the time is over, or something is found to be wrong.
func (w *world) run(until time.Time) {
	for w.violation == nil {
		synctest.Wait()
		w.look()
		now := time.Now()
		if !now.Before(until) {
			return
		}
		w.faults.begin(now)
		s := w.next()
		wake := until
		if at := w.faults.nextChange(now); at.Before(wake) {
			wake = at
		}
		if s != nil && !s.due.After(now) {
			w.give(s)
			continue
		}
		if s != nil && s.due.Before(wake) {
			wake = s.due
		}
		w.idle(wake.Sub(now))
	}
}

// give gives a step its turn, unless its process crashes instead.
func (w *world) give(s *step) {
	w.mu.Lock()
	s.gone = true
	w.mu.Unlock()
	w.trace.step(s)
	if w.count++; w.count > maxSteps {
		w.fail("Converges", "", fmt.Errorf("%d steps, and no end to be seen", w.count))
	}
	if s.by != nil && w.faults.crashes(s) {
		s.by.crash()
	}
	close(s.turn)
	if s.do != nil {
		s.do()
	}
}

// idle lets time pass, until a step comes or d is over.
func (w *world) idle(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.arrived:
	}
}

// release ends the waiting of all steps of a life that is over.
func (w *world) release(l *life) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.steps {
		if s.by == l && !s.gone {
			s.gone = true
			close(s.turn)
		}
	}
}

// after does f when d has passed, between two steps.
func (w *world) after(d time.Duration, what string, f func()) {
	s := &step{a: "world", what: what, turn: make(chan struct{}), do: f}
	w.enter(s)
	w.mu.Lock()
	s.due = s.due.Add(d)
	w.mu.Unlock()
}
