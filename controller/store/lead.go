package store

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.etcd.io/etcd/client/v3/concurrency"
)

// leadership is a won election: the key that holds it, and the revision at
// which it was made. Commits compare both, so that a leader that does not know yet
// that it was deposed can write nothing.
type leadership struct {
	key string
	rev int64
	end context.CancelCauseFunc
}

type leadershipKey struct{}

// leaders are the leaderships of this process by key.
type leaders struct {
	mu   sync.Mutex
	held map[string][]*leadership
}

func (l *leaders) add(x *leadership) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = map[string][]*leadership{}
	}
	l.held[x.key] = append(l.held[x.key], x)
}

// lost ends the leaderships of a key that is gone.
func (l *leaders) lost(key string) {
	l.mu.Lock()
	held := l.held[key]
	delete(l.held, key)
	l.mu.Unlock()
	for _, x := range held {
		x.end(ErrNotLeader)
	}
}

// Lead implements Store.
func (s *Etcd) Lead(ctx context.Context, name string) (context.Context, error) {
	for {
		n, err := s.current(ctx)
		if err != nil {
			return nil, fmt.Errorf("lead %s: %w", name, err)
		}
		lead, err := s.campaign(ctx, n, name)
		switch {
		case err == nil:
			return lead, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("lead %s: %w", name, context.Cause(ctx))
		case s.leases.Err() != nil:
			return nil, fmt.Errorf("lead %s: %w", name, ErrClosed)
		}
		s.log.Warn("the election broke off; trying again", "election", name, "err", err)
		pause(ctx, retryAfter)
	}
}

// campaign stands for election under one session.
func (s *Etcd) campaign(ctx context.Context, n *concurrency.Session, name string) (context.Context, error) {
	run, stop := context.WithCancel(ctx)
	defer stop()
	unwatch := context.AfterFunc(n.Ctx(), stop)
	defer unwatch()
	e := concurrency.NewElection(n, electionPrefix+name)
	if err := e.Campaign(run, s.id); err != nil {
		return nil, err
	}
	if run.Err() != nil {
		return nil, errors.New("the lease was lost")
	}
	if !s.start() {
		return nil, ErrClosed
	}
	lead, end := context.WithCancelCause(ctx)
	x := &leadership{key: e.Key(), rev: e.Rev(), end: end}
	s.leaders.add(x)
	lead = context.WithValue(lead, leadershipKey{}, x)
	go func() {
		defer s.leading.Done()
		s.reign(ctx, lead, n, e, x)
	}()
	return lead, nil
}

// reign waits for the end of a leadership: by its holder, by the loss of the
// session or of the key, or by Close.
func (s *Etcd) reign(ctx, lead context.Context, n *concurrency.Session, e *concurrency.Election, x *leadership) {
	tended := make(chan struct{})
	go func() {
		defer close(tended)
		s.tendSchema(lead)
	}()
	select {
	case <-lead.Done():
	case <-n.Done():
	case <-s.leases.Done():
	}
	x.end(ErrNotLeader)
	<-tended
	if ctx.Err() != nil && s.leases.Err() == nil {
		// Others need not wait for the lease to end.
		if err := e.Resign(s.leases); err != nil { //nolint:contextcheck // ctx has ended, which is why it resigns
			s.log.Warn("resigning failed; the lease's end will do it", "election", x.key, "err", err)
		}
	}
}
