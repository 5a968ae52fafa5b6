package store

import (
	"strconv"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// flight is a transaction that this process has sent, with the tables as they
// are once it is carried out. When the feed brings it as the very next thing that
// happened, these tables are the new copy, and nothing has to be read again out of what
// was just written.
type flight struct {
	base, t *tables
	rev     int64 // that its records have in t
	mark    mark
	ops     int
}

// mark is what a transaction writes under its writer's key.
type mark struct {
	key string
	n   int64
}

// adopt returns the tables of the transaction in flight if these events are it,
// and nothing else happened since it was decided.
func (s *Etcd) adopt(t *tables, rev int64, events []*clientv3.Event) *tables {
	f := s.flight.Load()
	if f == nil || f.base != t || f.rev != rev || f.ops != len(events) {
		return nil
	}
	last := events[len(events)-1]
	if last.Type != mvccpb.Event_PUT || string(last.Kv.Key) != f.mark.key || string(last.Kv.Value) != strconv.FormatInt(f.mark.n, 10) {
		return nil
	}
	s.adopted.Add(1)
	return f.t
}
