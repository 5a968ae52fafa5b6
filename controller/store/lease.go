package store

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// dayLease is how long events and idempotency keys are kept: a day, and the
	// hour in which a lease is shared.
	dayLease   = 25 * time.Hour
	leaseShare = time.Hour
)

// day is the lease for what is kept for a day. All that is written within an
// hour shares one, so that etcd has 25 of them and not one an event. Only the pipeline uses it.
type day struct {
	id   clientv3.LeaseID
	made time.Time
}

// dayLease returns the lease of this hour.
func (s *Etcd) dayLease(ctx context.Context) (clientv3.LeaseID, error) {
	now := s.opts.Now()
	if s.day.id != 0 && now.Sub(s.day.made) < leaseShare {
		return s.day.id, nil
	}
	ctx, cancel := context.WithTimeout(ctx, txnTimeout)
	defer cancel()
	g, err := s.client.Grant(ctx, int64(dayLease.Seconds()))
	if err != nil {
		return 0, fmt.Errorf("get a lease for events: %w", err)
	}
	s.day = day{id: g.ID, made: now}
	return g.ID, nil
}
