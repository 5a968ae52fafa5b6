package store

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/cairn-cloud/cairn/api"
)

// latestTimeout is how long etcd may take to say at which revision it is. An
// election among its members is over before that; a controller that is cut off from
// the others says so after it.
const latestTimeout = 5 * time.Second

// questions are the readers who want to know at which revision etcd is. All who
// ask while it is being asked share the next question, so that a thousand readers
// cost as much as one.
type questions struct {
	mu   sync.Mutex
	next *question
	wake chan struct{} // of one
}

type question struct {
	answered chan struct{}
	rev      int64
	err      error
}

func (q *questions) join() *question {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.next == nil {
		q.next = &question{answered: make(chan struct{})}
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	return q.next
}

func (q *questions) take() *question {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.next
	q.next = nil
	return now
}

// latest is a revision that no write which was acknowledged before the call is
// beyond, whichever controller it went through.
func (s *Etcd) latest(ctx context.Context) (int64, error) {
	if s.onlyWriter() {
		return 0, nil // what this process has acknowledged, its copy has
	}
	q := s.questions.join()
	select {
	case <-q.answered:
		return q.rev, q.err
	case <-s.mirror.closed:
		return 0, ErrClosed
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// onlyWriter tells whether no other controller can write: the etcd is in this
// process, has no other members, and no second store is beside this one.
func (s *Etcd) onlyWriter() bool {
	return s.server != nil && s.server.alone() && s.mirror.view().t.live.Len() <= 1
}

// ask asks etcd for those who want to know, until ctx ends.
func (s *Etcd) ask(ctx context.Context) {
	for {
		select {
		case <-s.questions.wake:
		case <-ctx.Done():
			return
		}
		q := s.questions.take()
		if q == nil {
			continue
		}
		q.rev, q.err = s.askOnce(ctx)
		close(q.answered)
	}
}

func (s *Etcd) askOnce(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, latestTimeout)
	defer cancel()
	r, err := s.client.Get(ctx, schemaKey, clientv3.WithKeysOnly())
	if err != nil {
		return 0, api.NewProblem(503, "unavailable", "", "ask another controller, or try again", "this controller does not reach most of the others: %s", err)
	}
	return r.Header.Revision, nil
}
