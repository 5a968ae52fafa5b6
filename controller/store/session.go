package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// session is what lives as long as this process, under one lease: that it is
// there, the hosts that report to it, and its part in elections.
type session struct {
	mu      sync.Mutex
	now     *concurrency.Session // nil while there is none
	changed chan struct{}        // closed when now is replaced
	hosts   map[string]bool      // that report to this process
}

func newSession() *session {
	return &session{changed: make(chan struct{}), hosts: map[string]bool{}}
}

func (x *session) set(now *concurrency.Session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.now = now
	close(x.changed)
	x.changed = make(chan struct{})
}

// current waits for a session.
func (s *Etcd) current(ctx context.Context) (*concurrency.Session, error) {
	for {
		s.session.mu.Lock()
		now, changed := s.session.now, s.session.changed
		s.session.mu.Unlock()
		if s.leases.Err() != nil {
			return nil, ErrClosed
		}
		if now != nil {
			return now, nil
		}
		select {
		case <-changed:
		case <-s.leases.Done():
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// keepSession holds a session, and makes a new one when it is lost.
func (s *Etcd) keepSession(ctx context.Context, first *concurrency.Session) {
	now := first
	for {
		select {
		case <-ctx.Done():
			return // Close ends the last one, after all that needs it
		case <-now.Done():
		}
		if s.leases.Err() != nil {
			<-ctx.Done()
			return
		}
		s.session.set(nil)
		s.log.Warn("the lease of this process was lost; making a new one")
		for ctx.Err() == nil {
			n, err := s.begin(ctx)
			if err == nil {
				now = n
				break
			}
			s.log.Warn("no new lease", "err", err)
			pause(ctx, retryAfter)
		}
	}
}

// begin makes a session and puts under it what this process holds.
func (s *Etcd) begin(ctx context.Context) (*concurrency.Session, error) {
	// The session's own context is ended by Close; that of the caller may be short.
	grant, err := s.client.Grant(ctx, int64(s.opts.SessionTTL.Seconds()))
	if err != nil {
		return nil, fmt.Errorf("begin a session: %w", err)
	}
	n, err := concurrency.NewSession(s.client, concurrency.WithLease(grant.ID), concurrency.WithContext(s.leases)) //nolint:contextcheck // see above
	if err != nil {
		return nil, fmt.Errorf("begin a session: %w", err)
	}
	if err := s.hold(ctx, n); err != nil {
		n.Orphan()
		return nil, err
	}
	s.session.set(n)
	return n, nil
}

// hold puts under a new session that this process is there, and its hosts.
func (s *Etcd) hold(ctx context.Context, n *concurrency.Session) error {
	if err := s.register(ctx, n.Lease()); err != nil {
		return err
	}
	s.session.mu.Lock()
	hosts := slices.Sorted(maps.Keys(s.session.hosts))
	s.session.mu.Unlock()
	for _, h := range hosts {
		// Those that another controller has by now stay its: whoever took them back would
		// let them go when they do not report here.
		life, err := s.enliven(ctx, h, n.Lease(), clientv3.Compare(clientv3.CreateRevision(alivePrefix+h), "=", 0))
		if err != nil {
			return err
		}
		if life == 0 {
			s.session.mu.Lock()
			delete(s.session.hosts, h)
			s.session.mu.Unlock()
		}
	}
	return nil
}

// SetAlive implements Store. A host whose agent has connected to another
// controller is that one's: letting it go here does not touch it.
func (s *Etcd) SetAlive(ctx context.Context, host string, alive bool) (life int64, err error) {
	s.session.mu.Lock()
	if alive {
		s.session.hosts[host] = true
	} else {
		delete(s.session.hosts, host)
	}
	s.session.mu.Unlock()
	key := alivePrefix + host
	if !alive {
		_, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.Value(key), "=", s.id)).Then(clientv3.OpDelete(key)).Commit()
		if err != nil {
			return 0, fmt.Errorf("let go of the lease of host %s: %w", host, err)
		}
		return 0, nil
	}
	if v := s.mirror.view(); v.aliveBy(host) == s.id {
		return v.Life(host), nil
	}
	n, err := s.current(ctx)
	if err != nil {
		return 0, fmt.Errorf("hold the lease of host %s: %w", host, err)
	}
	return s.enliven(ctx, host, n.Lease())
}

// Holds implements Store.
func (s *Etcd) Holds(host string) bool { return s.mirror.view().aliveBy(host) == s.id }

// enliven puts a host under the lease. A new life begins, and the fence of the
// one before ends with it, in one transaction: who relies on the fence compares it.
// It returns the life, 0 where the conditions do not hold.
func (s *Etcd) enliven(ctx context.Context, host string, lease clientv3.LeaseID, when ...clientv3.Cmp) (life int64, err error) {
	r, err := s.client.Txn(ctx).If(when...).Then(
		clientv3.OpPut(alivePrefix+host, s.id, clientv3.WithLease(lease)),
		clientv3.OpPut(lifePrefix+host, s.id),
		clientv3.OpDelete(fencePrefix+host),
	).Commit()
	if err != nil {
		return 0, fmt.Errorf("hold the lease of host %s: %w", host, err)
	}
	if !r.Succeeded {
		return 0, nil
	}
	return r.Header.Revision, nil
}
