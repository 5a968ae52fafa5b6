package memetcd

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/pkg/v3/adt"
)

// What is refused here is refused whatever the state.

func checkRange(r *pb.RangeRequest) error {
	if len(r.Key) == 0 {
		return rpctypes.ErrGRPCEmptyKey
	}
	if pb.RangeRequest_SortOrder_name[int32(r.SortOrder)] == "" || pb.RangeRequest_SortTarget_name[int32(r.SortTarget)] == "" {
		return rpctypes.ErrGRPCInvalidSortOption
	}
	return nil
}

func checkPut(r *pb.PutRequest) error {
	switch {
	case len(r.Key) == 0:
		return rpctypes.ErrGRPCEmptyKey
	case r.IgnoreValue && len(r.Value) != 0:
		return rpctypes.ErrGRPCValueProvided
	case r.IgnoreLease && r.Lease != 0:
		return rpctypes.ErrGRPCLeaseProvided
	}
	return nil
}

func checkDelete(r *pb.DeleteRangeRequest) error {
	if len(r.Key) == 0 {
		return rpctypes.ErrGRPCEmptyKey
	}
	return nil
}

// checkTxn allows so many comparisons, and operations on each side; transactions
// inside have what is left.
func checkTxn(r *pb.TxnRequest, limit int) error {
	n := max(len(r.Compare), len(r.Success), len(r.Failure))
	if n > limit {
		return rpctypes.ErrGRPCTooManyOps
	}
	for _, c := range r.Compare {
		if len(c.Key) == 0 {
			return rpctypes.ErrGRPCEmptyKey
		}
	}
	for _, ops := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range ops {
			if err := checkOp(op, limit-n); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkOp(op *pb.RequestOp, limit int) error {
	switch r := op.Request.(type) {
	case *pb.RequestOp_RequestRange:
		return checkRange(r.RequestRange)
	case *pb.RequestOp_RequestPut:
		return checkPut(r.RequestPut)
	case *pb.RequestOp_RequestDeleteRange:
		return checkDelete(r.RequestDeleteRange)
	case *pb.RequestOp_RequestTxn:
		return checkTxn(r.RequestTxn, limit)
	}
	return rpctypes.ErrGRPCKeyNotFound
}

// writes are what the operations may put and delete. Ranges are in etcd's own
// tree, for it does not find those whose end is not behind their beginning, such as
// that of a deletion from a key on, or finds them by chance.
type writes struct {
	puts map[string]bool
	dels adt.IntervalTree
}

// checkWrites refuses to write a key twice. The two sides of a transaction inside
// may write the same, since only one of them is carried out.
func checkWrites(ops []*pb.RequestOp) (*writes, error) {
	w := &writes{puts: map[string]bool{}, dels: adt.NewIntervalTree()}
	for _, op := range ops {
		if r := op.GetRequestDeleteRange(); r != nil {
			in := adt.NewStringAffinePoint(string(r.Key))
			if len(r.RangeEnd) > 0 {
				in = adt.NewStringAffineInterval(string(r.Key), string(r.RangeEnd))
			}
			w.dels.Insert(in, nil)
		}
	}
	for _, op := range ops {
		if r := op.GetRequestTxn(); r != nil {
			if err := w.addTxn(r); err != nil {
				return nil, err
			}
		}
	}
	for _, op := range ops {
		if r := op.GetRequestPut(); r != nil {
			if err := w.add(string(r.Key), nil); err != nil {
				return nil, err
			}
		}
	}
	return w, nil
}

func (w *writes) addTxn(r *pb.TxnRequest) error {
	success, err := checkWrites(r.Success)
	if err != nil {
		return err
	}
	failure, err := checkWrites(r.Failure)
	if err != nil {
		return err
	}
	for key := range success.puts {
		if err := w.add(key, nil); err != nil {
			return err
		}
	}
	for key := range failure.puts {
		if err := w.add(key, success.puts); err != nil {
			return err
		}
	}
	all := adt.NewStringAffineInterval("\x00", "")
	w.dels.Union(success.dels, all)
	w.dels.Union(failure.dels, all)
	return nil
}

func (w *writes) add(key string, allowed map[string]bool) error {
	if w.puts[key] && !allowed[key] || w.dels.Intersects(adt.NewStringAffinePoint(key)) {
		return rpctypes.ErrGRPCDuplicateKey
	}
	w.puts[key] = true
	return nil
}
