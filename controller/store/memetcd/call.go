package memetcd

import (
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// Call describes what a client asks. The same request has the same description in
// every run.
type Call struct {
	// Method is etcd's name of it. A watch has three: WatchCreate, then WatchNext
	// before each delivery, and WatchProgress when there is none to make.
	Method string
	Key    string // the first; of a transaction, the first that it writes, or else reads or compares
	End    string // of the range, as etcd writes it
	Rev    int64  // of a read, a compaction or a watch: from where on
	Lease  int64
	Ops    int // of a transaction: those if all comparisons hold
	Writes bool
}

// String is short: `Txn /a 3 ops`.
func (c Call) String() string {
	var b strings.Builder
	b.WriteString(c.Method)
	if c.Key != "" {
		fmt.Fprintf(&b, " %s", c.Key)
	}
	if c.End != "" {
		fmt.Fprintf(&b, "..%q", c.End)
	}
	if c.Rev != 0 {
		fmt.Fprintf(&b, " @%d", c.Rev)
	}
	if c.Lease != 0 {
		fmt.Fprintf(&b, " lease %x", c.Lease)
	}
	if c.Ops != 0 {
		fmt.Fprintf(&b, " %d ops", c.Ops)
	}
	return b.String()
}

func describe(in any) (Call, bool) {
	switch r := in.(type) {
	case *pb.RangeRequest:
		return Call{Method: "Range", Key: string(r.Key), End: string(r.RangeEnd), Rev: r.Revision}, true
	case *pb.PutRequest:
		return Call{Method: "Put", Key: string(r.Key), Lease: r.Lease, Writes: true}, true
	case *pb.DeleteRangeRequest:
		return Call{Method: "DeleteRange", Key: string(r.Key), End: string(r.RangeEnd), Writes: true}, true
	case *pb.TxnRequest:
		return Call{Method: "Txn", Key: firstKey(r), Ops: len(r.Success), Writes: !readOnly(r)}, true
	case *pb.CompactionRequest:
		return Call{Method: "Compact", Rev: r.Revision, Writes: true}, true
	case *pb.LeaseGrantRequest:
		return Call{Method: "LeaseGrant", Lease: r.ID, Writes: true}, true
	case *pb.LeaseRevokeRequest:
		return Call{Method: "LeaseRevoke", Lease: r.ID, Writes: true}, true
	case *pb.LeaseTimeToLiveRequest:
		return Call{Method: "LeaseTimeToLive", Lease: r.ID}, true
	case *pb.LeaseLeasesRequest:
		return Call{Method: "LeaseLeases"}, true
	case *pb.AlarmRequest:
		return Call{Method: "Alarm", Writes: r.Action != pb.AlarmRequest_GET}, true
	}
	return Call{}, false
}

func firstKey(r *pb.TxnRequest) string {
	for _, ops := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range ops {
			switch x := op.Request.(type) {
			case *pb.RequestOp_RequestPut:
				return string(x.RequestPut.Key)
			case *pb.RequestOp_RequestDeleteRange:
				return string(x.RequestDeleteRange.Key)
			case *pb.RequestOp_RequestRange:
				return string(x.RequestRange.Key)
			case *pb.RequestOp_RequestTxn:
				return firstKey(x.RequestTxn)
			}
		}
	}
	for _, c := range r.Compare {
		return string(c.Key)
	}
	return ""
}
