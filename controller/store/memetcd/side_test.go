package memetcd

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// side is one of the two that are compared, with what differs by right: the
// IDs of leases, which are called by the order in which they were granted.
type side struct {
	name   string
	client *clientv3.Client
	leases []clientv3.LeaseID
}

// unknownLease is the number of a lease that was never granted; 0 is none.
const unknownLease = -1

func (s *side) lease(n int) clientv3.LeaseID {
	switch {
	case n == 0:
		return 0
	case n == unknownLease || n > len(s.leases):
		return 1 << 50
	}
	return s.leases[n-1]
}

// called is the name of a lease that protojson has written as a string.
func (s *side) called(id any) any {
	for i, l := range s.leases {
		if fmt.Sprint(int64(l)) == id {
			return fmt.Sprintf("lease %d", i+1)
		}
	}
	return id
}

// realEtcd starts an etcd with the limits of its own.
func realEtcd(t *testing.T) (*embed.Etcd, *clientv3.Client) {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Dir, cfg.UnsafeNoFsync = t.TempDir(), true
	cfg.ListenClientUrls, cfg.ListenPeerUrls = nil, nil
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	<-e.Server.ReadyNotify()
	client := v3client.New(e.Server)
	t.Cleanup(func() {
		_ = client.Close() // says only that it was closed
		e.Close()
	})
	return e, client
}

// T is what is needed of a test and of rapid's.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
}

// both is a real etcd and one in memory in the same state.
type both struct {
	real, mem *side
	cluster   *Cluster
	clock     time.Time
}

// compared empties the real etcd, and makes one in memory at the same revision.
func compared(t T, ctx context.Context, real *clientv3.Client) *both {
	t.Helper()
	b := &both{clock: time.Unix(1_000_000, 0)}
	b.cluster = New(func() time.Time { return b.clock })
	leases, err := real.Leases(ctx)
	if err != nil {
		t.Fatalf("%v", err)
	}
	for _, l := range leases.Leases {
		if _, err := real.Revoke(ctx, l.ID); err != nil {
			t.Fatalf("%v", err)
		}
	}
	r, err := real.Delete(ctx, "", clientv3.WithPrefix())
	if err != nil {
		t.Fatalf("%v", err)
	}
	b.cluster.rev, b.cluster.logged = r.Header.Revision, r.Header.Revision+1
	b.real, b.mem = &side{name: "etcd", client: real}, &side{name: "memory", client: b.cluster.Client(ctx, nil)}
	b.same(t, "begin", func(s *side) string {
		_, err := s.client.Put(ctx, "begin", "")
		return fmt.Sprint(err)
	})
	b.same(t, "begin", func(s *side) string {
		r, err := s.client.Delete(ctx, "begin")
		if err == nil {
			_, err = s.client.Compact(ctx, r.Header.Revision)
		}
		return fmt.Sprint(err)
	})
	return b
}

// same does the same to both, and fails where they answer differently.
func (b *both) same(t T, what string, do func(s *side) string) string {
	t.Helper()
	real, mem := do(b.real), do(b.mem)
	if real != mem {
		t.Fatalf("%s\netcd answers      %s\nthat in memory    %s", what, real, mem)
	}
	return mem
}

// text is an answer without what differs by right.
func (s *side) text(m proto.Message, err error) string {
	if err != nil {
		return fmt.Sprintf("%T %v", err, err)
	}
	raw, err := protojson.Marshal(m)
	if err != nil {
		return err.Error()
	}
	var tree any
	if err := json.Unmarshal(raw, &tree); err != nil {
		return err.Error()
	}
	s.normalise(tree)
	out, err := json.Marshal(tree)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

func (s *side) normalise(tree any) {
	switch x := tree.(type) {
	case []any:
		for _, v := range x {
			s.normalise(v)
		}
	case map[string]any:
		for key, v := range x {
			switch key {
			case "clusterId", "memberId", "raftTerm", "memberID":
				x[key] = v != "0"
			case "lease", "ID":
				x[key] = s.called(v)
			default:
				s.normalise(v)
			}
		}
	}
}

// described is what an operation asks for, for failures.
func described(op clientv3.Op) string {
	if !op.IsTxn() {
		kind := "get"
		if op.IsPut() {
			kind = "put"
		} else if op.IsDelete() {
			kind = "delete"
		}
		return fmt.Sprintf("%s %q %q @%d", kind, op.KeyBytes(), op.RangeBytes(), op.Rev())
	}
	compares, then, otherwise := op.Txn()
	text := fmt.Sprint("if ", len(compares), " comparisons")
	for _, side := range [][]clientv3.Op{then, otherwise} {
		text += " {"
		for _, o := range side {
			text += " " + described(o) + ";"
		}
		text += " }"
	}
	return text
}

// op does one operation and tells its answer, through Do as Get, Put, Delete and Txn do.
func (s *side) op(ctx context.Context, op clientv3.Op) string {
	r, err := s.client.Do(ctx, op)
	switch {
	case err != nil:
		return s.text(nil, err)
	case r.Get() != nil:
		return s.text((*pb.RangeResponse)(r.Get()), nil)
	case r.Put() != nil:
		return s.text((*pb.PutResponse)(r.Put()), nil)
	case r.Del() != nil:
		return s.text((*pb.DeleteRangeResponse)(r.Del()), nil)
	}
	return s.text((*pb.TxnResponse)(r.Txn()), nil)
}

func (s *side) grant(ctx context.Context, ttl int64) string {
	r, err := s.client.Grant(ctx, ttl)
	if err != nil {
		return s.text(nil, err)
	}
	s.leases = append(s.leases, r.ID)
	return s.text(&pb.LeaseGrantResponse{Header: r.ResponseHeader, ID: int64(r.ID), TTL: r.TTL}, nil)
}

func (s *side) revoke(ctx context.Context, n int) string {
	r, err := s.client.Revoke(ctx, s.lease(n))
	return s.text((*pb.LeaseRevokeResponse)(r), err)
}

// timeToLive leaves out how much is left, which passes; keys have no order.
func (s *side) timeToLive(ctx context.Context, n int) string {
	r, err := s.client.TimeToLive(ctx, s.lease(n), clientv3.WithAttachedKeys())
	if err != nil {
		return s.text(nil, err)
	}
	slices.SortFunc(r.Keys, slices.Compare)
	return s.text(&pb.LeaseTimeToLiveResponse{Header: r.ResponseHeader, ID: int64(r.ID), TTL: min(r.TTL, 0), GrantedTTL: r.GrantedTTL, Keys: r.Keys}, nil)
}

func (s *side) keepAliveOnce(ctx context.Context, n int) string {
	r, err := s.client.KeepAliveOnce(ctx, s.lease(n))
	if err != nil {
		return s.text(nil, err)
	}
	return s.text(&pb.LeaseKeepAliveResponse{Header: r.ResponseHeader, ID: int64(r.ID), TTL: r.TTL}, nil)
}

func (s *side) listLeases(ctx context.Context) string {
	r, err := s.client.Leases(ctx)
	if err != nil {
		return s.text(nil, err)
	}
	var names []string
	for _, l := range r.Leases {
		names = append(names, fmt.Sprint(s.called(fmt.Sprint(int64(l.ID)))))
	}
	slices.Sort(names)
	return fmt.Sprint(r.Revision, names)
}

func (s *side) compact(ctx context.Context, rev int64) string {
	r, err := s.client.Compact(ctx, rev)
	return s.text((*pb.CompactionResponse)(r), err)
}

func (s *side) event(e *clientv3.Event) string {
	return s.text((*mvccpb.Event)(e), nil)
}
