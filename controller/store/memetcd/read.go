package memetcd

import (
	"bytes"
	"cmp"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// get answers a range request of one who sees the store at the revision.
func (c *Cluster) get(r *pb.RangeRequest, current int64, out *pb.RangeResponse) error {
	rev := r.Revision
	if rev > current {
		return rpctypes.ErrGRPCFutureRev
	}
	if rev <= 0 {
		rev = current
	}
	if rev < c.compacted {
		return rpctypes.ErrGRPCCompacted
	}
	out.Header = &pb.ResponseHeader{Revision: current}
	found := c.find(span{string(r.Key), string(r.RangeEnd)}, rev)
	out.Count = int64(len(found))
	if r.CountOnly {
		return nil
	}
	found = slices.DeleteFunc(found, func(kv *mvccpb.KeyValue) bool {
		return r.MaxModRevision != 0 && kv.ModRevision > r.MaxModRevision || kv.ModRevision < r.MinModRevision ||
			r.MaxCreateRevision != 0 && kv.CreateRevision > r.MaxCreateRevision || kv.CreateRevision < r.MinCreateRevision
	})
	order(found, r.SortTarget, r.SortOrder)
	if r.Limit > 0 && int64(len(found)) > r.Limit {
		found, out.More = found[:r.Limit], true
	}
	if r.KeysOnly {
		for i, kv := range found {
			found[i] = keyOnly(kv, r.SortTarget)
		}
	}
	out.Kvs = found
	return nil
}

// keyOnly leaves the value out, and the lease with it where etcd need not look at the value.
func keyOnly(kv *mvccpb.KeyValue, sorted pb.RangeRequest_SortTarget) *mvccpb.KeyValue {
	k := &mvccpb.KeyValue{Key: kv.Key, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Version: kv.Version}
	if sorted == pb.RangeRequest_VALUE {
		k.Lease = kv.Lease
	}
	return k
}

var by = map[pb.RangeRequest_SortTarget]func(a, b *mvccpb.KeyValue) int{
	pb.RangeRequest_KEY:     func(a, b *mvccpb.KeyValue) int { return bytes.Compare(a.Key, b.Key) },
	pb.RangeRequest_VERSION: func(a, b *mvccpb.KeyValue) int { return cmp.Compare(a.Version, b.Version) },
	pb.RangeRequest_CREATE:  func(a, b *mvccpb.KeyValue) int { return cmp.Compare(a.CreateRevision, b.CreateRevision) },
	pb.RangeRequest_MOD:     func(a, b *mvccpb.KeyValue) int { return cmp.Compare(a.ModRevision, b.ModRevision) },
	pb.RangeRequest_VALUE:   func(a, b *mvccpb.KeyValue) int { return bytes.Compare(a.Value, b.Value) },
}

// order sorts as etcd does, with the standard library's unstable sort, so that
// equals come out in the same order.
func order(kvs []*mvccpb.KeyValue, target pb.RangeRequest_SortTarget, o pb.RangeRequest_SortOrder) {
	compare := by[target]
	switch {
	case o == pb.RangeRequest_DESCEND:
		slices.SortFunc(kvs, func(a, b *mvccpb.KeyValue) int { return compare(b, a) })
	case target != pb.RangeRequest_KEY:
		slices.SortFunc(kvs, compare)
	}
}
