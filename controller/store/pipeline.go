package store

import (
	"context"
	"errors"
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
// one is under way the next requests gather, so the busier it is the more they share.
func (s *Etcd) pipeline(ctx context.Context) {
	limit := maxBatch
	for {
		batch := s.queue.pop(limit)
		if len(batch) == 0 {
			select {
			case <-s.queue.wake:
				continue
			case <-ctx.Done():
			}
			for _, r := range s.queue.close() {
				r.done <- result{err: ErrClosed}
			}
			return
		}
		switch ok, n := s.runBatch(ctx, batch); {
		case ok:
			limit = min(maxBatch, 2*limit)
		default:
			// Another process writes the same. Fewer at once have a better chance.
			limit = max(1, n/2)
		}
	}
}

// decided is a request whose outcome depends on the stage's transaction.
type decided struct {
	r   *request
	err error
}

// runBatch decides the requests on one stage and carries it out. It returns
// false, and how many requests took part, after a conflict; all that took part then wait again.
func (s *Etcd) runBatch(ctx context.Context, batch []*request) (bool, int) {
	st := newStage(s.mirror.view(), s.opts.MaxTxnOps, s.detector)
	took := make([]decided, 0, len(batch))
	for i, r := range batch {
		d, err, ok := s.decide(st, r)
		if !ok {
			continue
		}
		switch {
		case err == nil && !st.fits(d):
			st.back(d)
			if st.empty() {
				r.done <- result{err: fmt.Errorf("commit: the change is too large for one transaction (%d writes, of at most %d): make it in several steps", len(d.writes), s.opts.MaxTxnOps)}
				continue
			}
			s.queue.back(batch[i:])
		case st.empty() && (err != nil || d.empty()):
			// Nothing that may yet fail was before it.
			r.done <- result{rev: st.base.rev, err: err}
			continue
		default:
			if err == nil {
				st.add(d)
			}
			took = append(took, decided{r, err})
			continue
		}
		break
	}
	if len(took) == 0 {
		return true, 0
	}
	rev, err := s.transact(ctx, st)
	if errors.Is(err, errConflict) {
		again := make([]*request, len(took))
		for i, d := range took {
			again[i] = d.r
		}
		s.queue.back(again)
		return false, len(took)
	}
	for _, d := range took {
		d.r.done <- result{rev: rev, err: firstError(err, d.err)}
	}
	return true, len(took)
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
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
	d, err := st.prepare(c)
	if err != nil {
		return nil, err, true
	}
	if !d.empty() {
		d.lead = r.lead
	}
	return d, nil, true
}
