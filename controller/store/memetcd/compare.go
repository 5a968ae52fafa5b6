package memetcd

import (
	"bytes"
	"cmp"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// holds tells whether all comparisons do.
func (c *Cluster) holds(all []*pb.Compare) bool {
	for _, x := range all {
		if !c.compare(x) {
			return false
		}
	}
	return true
}

// compare holds when it does for every key in the range. Where there is none, it
// is one whose numbers are 0, and that has no value.
func (c *Cluster) compare(x *pb.Compare) bool {
	found := c.find(span{string(x.Key), string(x.RangeEnd)}, c.rev)
	if len(found) == 0 {
		return x.Target != pb.Compare_VALUE && compareOne(x, &mvccpb.KeyValue{})
	}
	for _, kv := range found {
		if !compareOne(x, kv) {
			return false
		}
	}
	return true
}

func compareOne(x *pb.Compare, kv *mvccpb.KeyValue) bool {
	var n int
	switch x.Target {
	case pb.Compare_VALUE:
		n = bytes.Compare(kv.Value, x.GetValue())
	case pb.Compare_CREATE:
		n = cmp.Compare(kv.CreateRevision, x.GetCreateRevision())
	case pb.Compare_MOD:
		n = cmp.Compare(kv.ModRevision, x.GetModRevision())
	case pb.Compare_VERSION:
		n = cmp.Compare(kv.Version, x.GetVersion())
	case pb.Compare_LEASE:
		n = cmp.Compare(kv.Lease, x.GetLease())
	}
	switch x.Result {
	case pb.Compare_EQUAL:
		return n == 0
	case pb.Compare_NOT_EQUAL:
		return n != 0
	case pb.Compare_GREATER:
		return n > 0
	case pb.Compare_LESS:
		return n < 0
	}
	return true
}
