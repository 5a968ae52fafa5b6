package memetcd

import (
	"context"
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Hook decides what becomes of a call: it may wait, and calls effect, or does
// not, or does so after it has returned. Its error is what the client is told, as
// etcd or the connection would say it (rpctypes.ErrGRPC…, a status, or the context's
// error); the answer reaches the client only if effect was called and there is none.
// So an error without the effect is a request that was lost, an error after it is an
// answer that was lost, and an effect after the error is a request that came late.
// What the effect returns is etcd's own refusal and is to be passed on.
//
// For a watch, the error breaks its stream: one that says "unavailable" lets the
// client resume where it was, others end the watch.
type Hook func(ctx context.Context, call Call, effect func() error) error

// Client returns etcd's client with a connection to the cluster. All its calls pass
// the hook, if there is one. It works until the context ends or it is closed.
func (c *Cluster) Client(ctx context.Context, hook Hook) *clientv3.Client {
	client := clientv3.NewCtxClient(ctx)
	if hook == nil {
		hook = func(_ context.Context, _ Call, effect func() error) error { return effect() }
	}
	w := &conn{cluster: c, ctx: client.Ctx(), hook: hook}
	client.KV = clientv3.NewKVFromKVClient(pb.NewKVClient(w), client)
	client.Lease = &leases{Lease: clientv3.NewLeaseFromLeaseClient(pb.NewLeaseClient(w), client, 0), conn: w}
	client.Watcher = &watcher{conn: w}
	client.Maintenance = clientv3.NewMaintenanceFromMaintenanceClient(pb.NewMaintenanceClient(w), client)
	client.Cluster = clientv3.NewClusterFromClusterClient(pb.NewClusterClient(w), client)
	client.Auth = clientv3.NewAuthFromAuthClient(pb.NewAuthClient(w), client)
	return client
}

// conn is what is between one process and the cluster, in place of gRPC.
type conn struct {
	cluster *Cluster
	ctx     context.Context // of the client
	hook    Hook
}

var _ grpc.ClientConnInterface = (*conn)(nil)

// during returns a context that ends with the client's too.
func (w *conn) during(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(w.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// call passes the hook.
func (w *conn) call(ctx context.Context, c Call, effect func() error) error {
	if w.ctx.Err() != nil {
		return status.Error(codes.Canceled, "the client is closed")
	}
	ctx, done := w.during(ctx)
	defer done()
	err := ctx.Err()
	if err == nil {
		var carriedOut atomic.Bool
		err = w.hook(ctx, c, func() error {
			defer carriedOut.Store(true)
			return effect()
		})
		if err == nil && !carriedOut.Load() {
			err = status.Errorf(codes.Internal, "%s: its hook answered for the cluster", c)
		}
	}
	if s := status.FromContextError(err); s.Code() == codes.Canceled || s.Code() == codes.DeadlineExceeded {
		return s.Err()
	}
	return err
}

// Invoke implements grpc.ClientConnInterface.
func (w *conn) Invoke(ctx context.Context, method string, in, out any, _ ...grpc.CallOption) error {
	c, ok := describe(in)
	if !ok {
		return unimplemented(method)
	}
	return w.call(ctx, c, func() error {
		w.cluster.mu.Lock()
		defer w.cluster.mu.Unlock()
		return w.cluster.handle(in, out)
	})
}

// NewStream implements grpc.ClientConnInterface. What etcd streams and is needed,
// watcher and leases do without.
func (w *conn) NewStream(_ context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, unimplemented(method)
}

func unimplemented(method string) error {
	return status.Errorf(codes.Unimplemented, "the etcd in memory has no %s", method)
}

// handle carries out one request.
func (c *Cluster) handle(in, out any) error {
	w := writing{c: c}
	defer w.end()
	switch r := in.(type) {
	case *pb.RangeRequest:
		return c.handleRange(r, out.(*pb.RangeResponse))
	case *pb.PutRequest:
		return w.handlePut(r, out.(*pb.PutResponse))
	case *pb.DeleteRangeRequest:
		return w.handleDelete(r, out.(*pb.DeleteRangeResponse))
	case *pb.TxnRequest:
		return w.handleTxn(r, out.(*pb.TxnResponse))
	case *pb.CompactionRequest:
		out.(*pb.CompactionResponse).Header = header(c.rev)
		return c.compact(r.Revision)
	case *pb.LeaseGrantRequest:
		return c.grant(r, out.(*pb.LeaseGrantResponse))
	case *pb.LeaseRevokeRequest:
		return c.revokeRequest(r, out.(*pb.LeaseRevokeResponse))
	case *pb.LeaseTimeToLiveRequest:
		c.timeToLive(r, out.(*pb.LeaseTimeToLiveResponse))
	case *pb.LeaseLeasesRequest:
		o := out.(*pb.LeaseLeasesResponse)
		o.Header = header(c.rev)
		for _, l := range c.byExpiry() {
			o.Leases = append(o.Leases, &pb.LeaseStatus{ID: l.id})
		}
	case *pb.AlarmRequest:
		c.alarm(r, out.(*pb.AlarmResponse))
	}
	return nil
}

func (c *Cluster) handleRange(r *pb.RangeRequest, out *pb.RangeResponse) error {
	if err := checkRange(r); err != nil {
		return err
	}
	if err := c.get(r, c.rev, out); err != nil {
		return err
	}
	out.Header = header(out.Header.Revision)
	return nil
}

func (w *writing) handlePut(r *pb.PutRequest, out *pb.PutResponse) error {
	if err := checkPut(r); err != nil {
		return err
	}
	if err := w.c.checkSize(&pb.InternalRaftRequest{Put: r}); err != nil {
		return err
	}
	if w.c.noSpace {
		return rpctypes.ErrGRPCNoSpace
	}
	if err := w.checkPut(r); err != nil {
		return err
	}
	w.putRequest(r, out)
	out.Header = header(w.rev())
	return nil
}

func (w *writing) handleDelete(r *pb.DeleteRangeRequest, out *pb.DeleteRangeResponse) error {
	if err := checkDelete(r); err != nil {
		return err
	}
	if err := w.c.checkSize(&pb.InternalRaftRequest{DeleteRange: r}); err != nil {
		return err
	}
	w.deleteRequest(r, out)
	out.Header = header(w.rev())
	return nil
}

func (w *writing) handleTxn(r *pb.TxnRequest, out *pb.TxnResponse) error {
	if err := checkTxn(r, w.c.MaxTxnOps); err != nil {
		return err
	}
	for _, ops := range [][]*pb.RequestOp{r.Success, r.Failure} {
		if _, err := checkWrites(ops); err != nil {
			return err
		}
	}
	if !readOnly(r) {
		if err := w.c.checkSize(&pb.InternalRaftRequest{Txn: r}); err != nil {
			return err
		}
		if w.c.noSpace && puts(r) {
			return rpctypes.ErrGRPCNoSpace
		}
	}
	b := w.c.choose(r)
	if err := w.check(b); err != nil {
		return err
	}
	if err := w.run(b, out); err != nil {
		return err
	}
	out.Header = header(w.rev())
	return nil
}

// raftHeader is as large as the one that etcd puts before what it agrees on.
var raftHeader = &pb.RequestHeader{ID: 1 << 63}

func (c *Cluster) checkSize(r *pb.InternalRaftRequest) error {
	r.Header = raftHeader
	if proto.Size(r) > c.MaxRequestBytes {
		return rpctypes.ErrGRPCRequestTooLarge
	}
	return nil
}

// readOnly tells whether neither side has anything but reads.
func readOnly(r *pb.TxnRequest) bool {
	for _, ops := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range ops {
			if op.GetRequestRange() == nil {
				return false
			}
		}
	}
	return true
}

// puts tells whether the transaction could take space.
func puts(r *pb.TxnRequest) bool {
	for _, ops := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range ops {
			if t := op.GetRequestTxn(); op.GetRequestPut() != nil || t != nil && puts(t) {
				return true
			}
		}
	}
	return false
}
