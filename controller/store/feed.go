package store

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// retryAfter is how long to wait before asking an etcd again that did not answer.
const retryAfter = 200 * time.Millisecond

// feed keeps the copy up to date until the context ends. While etcd does not
// answer, readers see the last picture.
func (s *Etcd) feed(ctx context.Context) {
	defer close(s.mirror.closed)
	for ctx.Err() == nil {
		err := s.follow(ctx)
		if errors.Is(err, rpctypes.ErrCompacted) {
			// What was missed is not to be had one by one. A new listing has no
			// object that was deleted meanwhile; watchers are told to list again.
			s.log.Warn("the store's history was compacted behind this process; listing again", "revision", s.mirror.view().rev)
			err = s.load(ctx, 0)
		} else if err != nil && ctx.Err() == nil {
			s.log.Warn("the watch of the store broke off; trying again", "err", err)
		}
		if err != nil {
			pause(ctx, retryAfter)
		}
	}
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

// follow watches from the picture's revision on.
func (s *Etcd) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	for r := range s.client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(s.mirror.view().rev+1)) {
		if err := r.Err(); err != nil {
			return err
		}
		s.take(r.Events)
	}
	return errors.New("the watch ended")
}

// take applies the events, which are whole transactions in order, and
// publishes what came of them.
func (s *Etcd) take(events []*clientv3.Event) {
	if len(events) == 0 {
		return
	}
	t, own := s.mirror.view().t, false // own: not yet seen by anybody
	var moments []moment
	rev := int64(0)
	for len(events) > 0 {
		n := 1
		rev = events[0].Kv.ModRevision
		for n < len(events) && events[n].Kv.ModRevision == rev {
			n++
		}
		var m moment
		if ready := s.adopt(t, rev, events[:n]); ready != nil {
			m = t.moment(rev, ready, events[:n])
			t, own = ready, false
		} else {
			if !own {
				t, own = t.copy(), true
			}
			m = s.moment(t, rev, events[:n])
		}
		if len(m.changes) > 0 {
			moments = append(moments, m)
		}
		events = events[n:]
	}
	s.mirror.publish(t, rev)
	s.history.add(rev, moments)
}

// moment applies one transaction and makes of it one change an object, in the
// order of their first keys: every process comes to the same one.
func (s *Etcd) moment(t *tables, rev int64, events []*clientv3.Event) moment {
	m := moment{rev: rev}
	var order []touched
	before := map[touched]*entry{}
	for _, e := range events {
		on, _ := subject(string(e.Kv.Key))
		was := t.get(on.kind, on.id)
		if _, known := before[on]; s.apply(t, e) && !known {
			before[on] = was
			order = append(order, on)
		}
	}
	for _, on := range order {
		m.add(before[on], t.get(on.kind, on.id))
	}
	return m
}

// moment is the same of a transaction that was applied already.
func (t *tables) moment(rev int64, after *tables, events []*clientv3.Event) moment {
	m := moment{rev: rev}
	seen := make(map[touched]bool, len(events))
	for _, e := range events {
		if on, _ := subject(string(e.Kv.Key)); on.id != "" && !seen[on] {
			seen[on] = true
			m.add(t.get(on.kind, on.id), after.get(on.kind, on.id))
		}
	}
	return m
}

// add adds what became of one object.
func (m *moment) add(was, now *entry) {
	switch {
	case now != nil:
		m.changes = append(m.changes, news{now, false})
	case was != nil:
		m.changes = append(m.changes, news{was, true})
	}
}
