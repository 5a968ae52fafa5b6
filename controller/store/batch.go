package store

import (
	"context"
	"errors"
	"fmt"
)

// batch is a transaction in the making, with the requests that take part.
type batch struct {
	st    *stage
	ahead *batch // the one before it, where that was under way; its stage is what this one stands on
	took  []decided
	full  bool

	// Once it was carried out:
	done     chan struct{}
	rev      int64
	err      error
	conflict bool
}

// decided is a request whose outcome depends on the transaction.
type decided struct {
	r   *request
	err error
}

func (b *batch) requests() []*request {
	rs := make([]*request, len(b.took))
	for i, d := range b.took {
		rs[i] = d.r
	}
	return rs
}

// stand puts a stage under the next requests: on the copy in memory, or on what
// a transaction that is under way makes of it. It returns false when the copy has moved
// on beyond the stage: requests are decided on all that was there when they came.
func (s *Etcd) stand(b *batch) bool {
	now := s.mirror.view()
	switch {
	case b.ahead == nil && len(b.took) == 0:
		b.st = newStage(now, s.opts.MaxTxnOps, s.detector)
	case b.st == nil:
		b.st = newStage(&View{t: b.ahead.st.t, rev: b.ahead.st.pending()}, s.opts.MaxTxnOps, s.detector)
	}
	return now.t == b.st.base.t || now.rev < b.st.base.rev
}

// asForeseen tells whether the transaction was carried out, and next after what
// it was decided on: then its stage is what etcd holds.
func (b *batch) asForeseen() bool { return b.err == nil && b.rev == b.st.pending() }

// gather takes requests in until there are some and none waits, and as long as a
// transaction is under way. It returns false when ctx has ended.
func (s *Etcd) gather(ctx context.Context, b *batch, limit int) bool {
	var landed chan struct{} // of the one under way
	if b.ahead != nil {
		landed = b.ahead.done
	}
	for !b.full && len(b.took) < limit {
		if rs := s.queue.pop(limit - len(b.took)); len(rs) > 0 {
			if !s.stand(b) {
				s.queue.back(rs)
				return true
			}
			s.add(b, rs)
			continue
		}
		if landed == nil && len(b.took) > 0 {
			return true
		}
		select {
		case <-s.queue.wake:
		case <-landed:
			return true
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// add decides requests on the batch. Those that do not fit wait again.
func (s *Etcd) add(b *batch, rs []*request) {
	for i, r := range rs {
		d, err, ok := s.decide(b.st, r)
		if !ok {
			continue
		}
		switch first := b.st.empty() && b.ahead == nil; {
		case err == nil && !b.st.fits(d):
			b.st.back(d)
			if b.st.empty() {
				r.done <- result{err: fmt.Errorf("commit: the change is too large for one transaction (%d writes, of at most %d): make it in several steps", len(d.writes), s.opts.MaxTxnOps)}
				continue
			}
			b.full = true
			s.queue.back(rs[i:])
			return
		case first && (err != nil || d.empty()):
			// Nothing that may yet fail was before it.
			r.done <- result{rev: b.st.base.rev, err: err}
		default:
			if err == nil {
				b.st.add(d)
			}
			b.took = append(b.took, decided{r, err})
		}
	}
}

// carryOut sends the batch's transaction. After a conflict those that took part
// are not answered: they wait for their turn again.
func (s *Etcd) carryOut(ctx context.Context, b *batch) {
	defer close(b.done)
	b.rev, b.err = s.transact(ctx, b.st)
	if b.conflict = errors.Is(b.err, errConflict); !b.conflict {
		b.answer(b.rev, b.err)
	}
}

func (b *batch) answer(rev int64, err error) {
	for _, d := range b.took {
		x := d.err
		if err != nil {
			x = err
		}
		d.r.done <- result{rev: rev, err: x}
	}
}
