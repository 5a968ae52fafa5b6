package store

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// request is a commit that waits for its turn.
type request struct {
	ctx    context.Context
	decide func(*View) (Change, error)
	lead   *leadership
	done   chan result // of one
	// deciding is held while decide runs, so that it is not running any more when
	// its caller has given up.
	deciding  sync.Mutex
	abandoned bool
}

type result struct {
	rev int64
	err error
}

// queue holds the requests in the order in which they came.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	closed  bool
	wake    chan struct{} // of one
}

func (q *queue) push(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.waiting = append(q.waiting, r)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// pop takes at most n.
func (q *queue) pop(n int) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = min(n, len(q.waiting))
	out := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	return out
}

// back puts requests that were popped back to the front.
func (q *queue) back(rs []*request) {
	if len(rs) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(rs[:len(rs):len(rs)], q.waiting...)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// close refuses new requests and returns those that wait.
func (q *queue) close() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	rest := q.waiting
	q.waiting = nil
	return rest
}

// Commit implements Store.
func (s *Etcd) Commit(ctx context.Context, decide func(*View) (Change, error)) (int64, error) {
	lead, _ := ctx.Value(leadershipKey{}).(*leadership)
	r := &request{ctx: ctx, decide: decide, lead: lead, done: make(chan result, 1)}
	if !s.queue.push(r) {
		return 0, ErrClosed
	}
	select {
	case d := <-r.done:
		return d.rev, d.err
	case <-ctx.Done():
	}
	r.deciding.Lock()
	r.abandoned = true
	r.deciding.Unlock()
	select {
	case d := <-r.done: // it was just in time
		return d.rev, d.err
	default:
		return 0, fmt.Errorf("commit: %w (it may have been written: read before repeating it)", context.Cause(ctx))
	}
}

const (
	// maxBatch is how many changes share a transaction at most.
	maxBatch = 512
	// newsWait is how long to wait for what made a transaction fail, before asking
	// etcd about it.
	newsWait = time.Second
)

// pipeline writes for the whole process, one transaction after the other. While
// one is under way the next is decided, on what the first is going to make of the copy,
// so the busier it is the more changes share one.
func (s *Etcd) pipeline(ctx context.Context) {
	limit := maxBatch
	var ahead *batch // under way
	for {
		b := &batch{ahead: ahead, done: make(chan struct{})}
		open := s.gather(ctx, b, limit)
		if ahead != nil {
			<-ahead.done
			if n := len(ahead.took); ahead.conflict {
				// Another process writes the same. Fewer at once have a better chance.
				limit = max(1, n/2)
			} else {
				limit = min(maxBatch, 2*limit)
			}
			if !ahead.asForeseen() {
				// What was decided on it is void.
				s.queue.back(b.requests())
				if ahead.conflict {
					s.queue.back(ahead.requests())
				}
				b.took = nil
			}
			ahead, b.ahead = nil, nil
		}
		switch {
		case len(b.took) > 0 && b.st.empty():
			b.answer(b.st.base.rev, nil)
		case len(b.took) > 0:
			ahead = b
			go s.carryOut(ctx, b)
		case !open:
			for _, r := range s.queue.close() {
				r.done <- result{err: ErrClosed}
			}
			return
		}
	}
}

// decide asks a request what to do on the stage. It returns false when nobody
// waits for the answer any more, or has it.
func (s *Etcd) decide(st *stage, r *request) (*delta, error, bool) {
	r.deciding.Lock()
	defer r.deciding.Unlock()
	if r.abandoned {
		return nil, nil, false
	}
	if r.ctx.Err() != nil {
		r.done <- result{err: fmt.Errorf("commit: %w", context.Cause(r.ctx))}
		return nil, nil, false
	}
	v, closeView := st.view()
	c, err := r.decide(v)
	closeView()
	if err != nil {
		return nil, err, true
	}
	if st.base.t.held != nil && !c.WhileHeld {
		return nil, ErrHeld, true
	}
	d, err := st.prepare(c)
	if err != nil {
		return nil, err, true
	}
	if !d.empty() {
		d.lead = r.lead
	}
	return d, nil, true
}
