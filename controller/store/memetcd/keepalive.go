package memetcd

import (
	"context"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// leases is the client's Lease, but for keeping alive. etcd's own looks twice a
// second whether any is due, in no order; a simulation wants a timer each.
type leases struct {
	clientv3.Lease
	conn *conn

	mu     sync.Mutex
	closed bool
	alive  sync.WaitGroup
}

const (
	// firstTimeout is how long etcd's client waits for the first answer.
	firstTimeout = 5 * time.Second
	// retryAfter is how long it waits before it asks again.
	retryAfter = 500 * time.Millisecond
)

// KeepAlive implements clientv3.Lease: it renews the lease when a third of its
// time is over, and closes the channel when the lease is gone, or may be since no answer
// came for all its time.
func (l *leases) KeepAlive(ctx context.Context, id clientv3.LeaseID) (<-chan *clientv3.LeaseKeepAliveResponse, error) {
	answers := make(chan *clientv3.LeaseKeepAliveResponse, clientv3.LeaseResponseChSize)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.conn.ctx.Err() != nil {
		close(answers)
		return answers, clientv3.ErrKeepAliveHalted{Reason: context.Canceled}
	}
	l.alive.Go(func() {
		defer close(answers)
		l.keep(ctx, id, answers)
	})
	return answers, nil
}

func (l *leases) keep(ctx context.Context, id clientv3.LeaseID, answers chan<- *clientv3.LeaseKeepAliveResponse) {
	ctx, done := l.conn.during(ctx)
	defer done()
	life, end := context.WithTimeout(ctx, firstTimeout)
	for life.Err() == nil {
		wait := retryAfter
		if r, err := l.renew(life, id); err == nil {
			if r.TTL <= 0 {
				break
			}
			ttl := time.Duration(r.TTL) * time.Second
			end()
			life, end = context.WithTimeout(ctx, ttl)
			wait = ttl / 3
			select {
			case answers <- r:
			default: // nobody listens
			}
		}
		pause(life, wait)
	}
	end()
}

// pause waits, or until the context ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (l *leases) renew(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseKeepAliveResponse, error) {
	r := &pb.LeaseKeepAliveResponse{}
	err := l.conn.call(ctx, Call{Method: "LeaseKeepAlive", Lease: int64(id), Writes: true}, func() error {
		l.conn.cluster.keepAlive(int64(id), r)
		return nil
	})
	if err != nil {
		return nil, clientv3.ContextError(ctx, err)
	}
	return &clientv3.LeaseKeepAliveResponse{ResponseHeader: r.Header, ID: id, TTL: r.TTL}, nil
}

// KeepAliveOnce implements clientv3.Lease. It does not ask again when it fails.
func (l *leases) KeepAliveOnce(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseKeepAliveResponse, error) {
	r, err := l.renew(ctx, id)
	if err == nil && r.TTL <= 0 {
		err = rpctypes.ErrLeaseNotFound
	}
	return r, err
}

// Close implements clientv3.Lease.
func (l *leases) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	err := l.Lease.Close()
	l.alive.Wait()
	return err
}
