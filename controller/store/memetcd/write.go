package memetcd

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// previous returns what the key of a put is now, where the put wants to know.
func (w *writing) previous(r *pb.PutRequest) *mvccpb.KeyValue {
	if r.PrevKv || r.IgnoreValue || r.IgnoreLease {
		return w.current(string(r.Key))
	}
	return nil
}

// checkPut refuses what depends on the state.
func (w *writing) checkPut(r *pb.PutRequest) error {
	if r.Lease != 0 && w.c.leases[r.Lease] == nil {
		return rpctypes.ErrGRPCLeaseNotFound
	}
	if (r.IgnoreValue || r.IgnoreLease) && w.previous(r) == nil {
		return rpctypes.ErrGRPCKeyNotFound
	}
	return nil
}

func (w *writing) putRequest(r *pb.PutRequest, out *pb.PutResponse) {
	// It may have been deleted in the same transaction, where etcd would crash.
	old := w.previous(r)
	value, lease := r.Value, r.Lease
	if r.IgnoreValue {
		value = old.GetValue()
	}
	if r.IgnoreLease {
		lease = old.GetLease()
	}
	if r.PrevKv {
		out.PrevKv = old
	}
	w.put(string(r.Key), value, lease)
	out.Header = &pb.ResponseHeader{Revision: w.rev()}
}

func (w *writing) deleteRequest(r *pb.DeleteRangeRequest, out *pb.DeleteRangeResponse) {
	in := span{string(r.Key), string(r.RangeEnd)}
	if r.PrevKv {
		out.PrevKvs = w.c.find(in, w.rev())
	}
	out.Deleted = w.delete(in)
	out.Header = &pb.ResponseHeader{Revision: w.rev()}
}

// branch is the side of a transaction that is carried out, with those of the
// transactions in it. All compare before anything is written.
type branch struct {
	succeeded bool
	ops       []*pb.RequestOp
	inner     map[*pb.TxnRequest]branch
}

func (c *Cluster) choose(r *pb.TxnRequest) branch {
	b := branch{succeeded: c.holds(r.Compare), ops: r.Failure, inner: map[*pb.TxnRequest]branch{}}
	if b.succeeded {
		b.ops = r.Success
	}
	for _, op := range b.ops {
		if t := op.GetRequestTxn(); t != nil {
			b.inner[t] = c.choose(t)
		}
	}
	return b
}

// check refuses the whole transaction before anything is written.
func (w *writing) check(b branch) error {
	for _, op := range b.ops {
		var err error
		switch r := op.Request.(type) {
		case *pb.RequestOp_RequestRange:
			switch rev := r.RequestRange.Revision; {
			case rev > w.c.rev:
				err = rpctypes.ErrGRPCFutureRev
			case rev != 0 && rev < w.c.compacted:
				err = rpctypes.ErrGRPCCompacted
			}
		case *pb.RequestOp_RequestPut:
			err = w.checkPut(r.RequestPut)
		case *pb.RequestOp_RequestTxn:
			err = w.check(b.inner[r.RequestTxn])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// run carries the branch out. Only the outermost answer gets a header.
func (w *writing) run(b branch, out *pb.TxnResponse) error {
	out.Header, out.Succeeded = &pb.ResponseHeader{}, b.succeeded
	for _, op := range b.ops {
		done := &pb.ResponseOp{}
		switch r := op.Request.(type) {
		case *pb.RequestOp_RequestRange:
			got := &pb.RangeResponse{}
			if err := w.c.get(r.RequestRange, w.rev(), got); err != nil {
				return err
			}
			done.Response = &pb.ResponseOp_ResponseRange{ResponseRange: got}
		case *pb.RequestOp_RequestPut:
			put := &pb.PutResponse{}
			w.putRequest(r.RequestPut, put)
			done.Response = &pb.ResponseOp_ResponsePut{ResponsePut: put}
		case *pb.RequestOp_RequestDeleteRange:
			deleted := &pb.DeleteRangeResponse{}
			w.deleteRequest(r.RequestDeleteRange, deleted)
			done.Response = &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: deleted}
		case *pb.RequestOp_RequestTxn:
			inner := &pb.TxnResponse{}
			if err := w.run(b.inner[r.RequestTxn], inner); err != nil {
				return err
			}
			done.Response = &pb.ResponseOp_ResponseTxn{ResponseTxn: inner}
		}
		out.Responses = append(out.Responses, done)
	}
	return nil
}
