package store

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/cairn-cloud/cairn/api"
)

func asProblem(err error) (p *api.Problem, ok bool) { ok = errors.As(err, &p); return p, ok }

type sending = func(context.Context) (*clientv3.TxnResponse, error)

// faulty opens a store whose n-th transaction goes through fault.
func faulty(t *testing.T, n int64, fault func(context.Context, sending) (*clientv3.TxnResponse, error)) *Etcd {
	var count atomic.Int64
	return opened(t, func(o *Options) {
		o.intercept = func(ctx context.Context, send func(context.Context) (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
			if count.Add(1) == n {
				return fault(ctx, send)
			}
			return send(ctx)
		}
	})
}

func TestCommit_anAnswerThatWasLostIsFoundOut(t *testing.T) {
	for _, n := range []int64{1, 2} { // with and without a mark from before
		decided := 0
		s := faulty(t, n, func(ctx context.Context, send sending) (*clientv3.TxnResponse, error) {
			if _, err := send(ctx); err != nil {
				t.Error(err)
			}
			return nil, rpctypes.ErrTimeout
		})
		if n == 2 {
			mustCommit(t, s, creating(projectNamed("before")))
		}
		rev := mustCommit(t, s, func(*View) (Change, error) {
			decided++
			return Change{Create: []api.Object{projectNamed("a")}}, nil
		})
		v, err := s.View(t.Context(), rev)
		if err != nil {
			t.Fatal(err)
		}
		if p := v.Get(api.KindProject, "prj_a"); p == nil || p.GetMeta().Revision != rev || decided != 1 {
			t.Errorf("it was written at %v, not at %d, after %d decisions", p, rev, decided)
		}
		mustCommit(t, s, creating(projectNamed("after")))
	}
}

func TestCommit_whatWasNeverSentIsSentAgain(t *testing.T) {
	s := faulty(t, 2, func(context.Context, sending) (*clientv3.TxnResponse, error) { return nil, rpctypes.ErrLeaderChanged })
	mustCommit(t, s, creating(projectNamed("before")))
	mustCommit(t, s, creating(projectNamed("a")))
	if s.mirror.view().Get(api.KindProject, "prj_a") == nil {
		t.Error("it is not there")
	}
}

func TestCommit_aTransactionThatArrivesLateWritesNothing(t *testing.T) {
	var late sending
	s := faulty(t, 2, func(_ context.Context, send sending) (*clientv3.TxnResponse, error) {
		late = send
		return nil, context.DeadlineExceeded
	})
	mustCommit(t, s, creating(projectNamed("before")))
	tries := 0
	mustCommit(t, s, func(*View) (Change, error) {
		if tries++; tries > 1 {
			return Change{}, nil // the second time there is nothing to do
		}
		return Change{Create: []api.Object{projectNamed("a")}}, nil
	})
	r, err := late(t.Context())
	if err != nil || r.Succeeded {
		t.Errorf("the late transaction: succeeded %v, %v", r.Succeeded, err)
	}
	mustCommit(t, s, creating(projectNamed("after")))
	if s.mirror.view().Get(api.KindProject, "prj_a") != nil {
		t.Error("it was written although its caller was told otherwise")
	}
}

func TestCommit_survivesTheEndOfItsLeaseAndOfItsMark(t *testing.T) {
	s := opened(t, func(*Options) {})
	mustCommit(t, s, creating(projectNamed("a")))
	leases, err := s.client.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leases.Leases {
		if _, err := s.client.Revoke(t.Context(), l.ID); err != nil {
			t.Fatal(err)
		}
	}
	mustCommit(t, s, creating(projectNamed("b")))
	mustCommit(t, s, creating(projectNamed("c")))
}

func TestCommit_saysWhichKeyWasWrittenAroundTheStore(t *testing.T) {
	s := opened(t, func(*Options) {})
	mustCommit(t, s, creating(projectNamed("a")))
	foreign := []string{claimKey("name/project//b"), refsKey(api.KindProject, "prj_a") + "network/net_z"}
	for _, key := range foreign {
		if _, err := s.client.Put(t.Context(), key, "x"); err != nil {
			t.Fatal(err)
		}
	}
	mustCommit(t, s, creating(projectNamed("c")))
	for i, decide := range []func(*View) (Change, error){
		creating(projectNamed("b")),
		func(*View) (Change, error) { return Change{Delete: []api.Object{projectNamed("a")}}, nil },
	} {
		_, err := s.Commit(t.Context(), decide)
		if err == nil || !strings.Contains(err.Error(), foreign[i]) {
			t.Errorf("%s: got %v", foreign[i], err)
		}
	}
}
