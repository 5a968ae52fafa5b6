package store

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/cairn-cloud/cairn/api"
)

func lead(t *testing.T, s *Etcd, ctx context.Context) context.Context {
	t.Helper()
	l, err := s.Lead(ctx, "boss")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLead_oneAtATimeAndTheNextWhenItResigns(t *testing.T) {
	a := opened(t, func(*Options) {})
	b := opened(t, func(o *Options) { o.Beside = a })
	ctx, resign := context.WithCancel(t.Context())
	first := lead(t, a, ctx)
	second := make(chan context.Context, 1)
	go func() {
		l, err := b.Lead(t.Context(), "boss")
		if err != nil {
			t.Error(err)
		}
		second <- l
	}()
	if _, err := a.Commit(first, creating(projectNamed("a"))); err != nil {
		t.Errorf("the leader cannot write: %v", err)
	}
	select {
	case <-second:
		t.Fatal("two lead")
	default:
	}
	resign()
	l := <-second
	if l == nil {
		t.FailNow()
	}
	if _, err := b.Commit(l, creating(projectNamed("b"))); err != nil {
		t.Errorf("the second leader cannot write: %v", err)
	}
	if _, err := a.Commit(first, creating(projectNamed("c"))); err == nil {
		t.Error("one that resigned writes")
	}
}

func TestLead_aDeposedLeaderIsRefusedEvenIfItDoesNotKnow(t *testing.T) {
	s := opened(t, func(*Options) {})
	l := lead(t, s, t.Context())
	x := l.Value(leadershipKey{}).(*leadership)
	decisions := 0
	_, err := s.Commit(l, func(*View) (Change, error) {
		decisions++
		// It is deposed between its decision and its transaction.
		if _, err := s.client.Delete(t.Context(), x.key); err != nil {
			t.Error(err)
		}
		return Change{Create: []api.Object{projectNamed("a")}}, nil
	})
	if !errors.Is(err, ErrNotLeader) || decisions != 1 {
		t.Errorf("got %v after %d decisions", err, decisions)
	}
	if s.mirror.view().Get(api.KindProject, "prj_a") != nil {
		t.Error("it has written")
	}
	if <-l.Done(); !errors.Is(context.Cause(l), ErrNotLeader) {
		t.Errorf("the context ended because of %v", context.Cause(l))
	}
	if _, err := s.Commit(t.Context(), creating(projectNamed("b"))); err != nil {
		t.Errorf("a commit that needs no leadership: %v", err)
	}
}

func TestSession_aLostLeaseIsMadeAgainWithWhatItHeld(t *testing.T) {
	s := opened(t, func(*Options) {})
	if _, err := s.SetAlive(t.Context(), "hst_a", true); err != nil {
		t.Fatal(err)
	}
	l := lead(t, s, t.Context())
	sees(t, s, "the host alive", func(v *View) bool { return v.Alive("hst_a") })
	now, err := s.current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Revoke(t.Context(), now.Lease()); err != nil {
		t.Fatal(err)
	}
	<-l.Done()
	sees(t, s, "the host alive again, under another lease", func(v *View) bool {
		r, err := s.client.Get(t.Context(), alivePrefix+"hst_a")
		return err == nil && v.Alive("hst_a") && len(r.Kvs) == 1 && clientv3.LeaseID(r.Kvs[0].Lease) != now.Lease()
	})
	ctx, cancel := patiently(t)
	defer cancel()
	again := lead(t, s, ctx)
	if _, err := s.Commit(again, creating(projectNamed("a"))); err != nil {
		t.Error(err)
	}
}

func TestSetAlive_aHostThatMovedIsNotLetGoByItsOldController(t *testing.T) {
	a := opened(t, func(*Options) {})
	b := opened(t, func(o *Options) { o.Beside = a })
	for _, s := range []*Etcd{a, b} {
		if _, err := s.SetAlive(t.Context(), "hst_a", true); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.SetAlive(t.Context(), "hst_a", false); err != nil {
		t.Fatal(err)
	}
	rev := mustCommit(t, a, creating(projectNamed("a")))
	if v, err := a.View(t.Context(), rev); err != nil || !v.Alive("hst_a") {
		t.Errorf("%v: the host that reports to b is not alive", err)
	}
	if _, err := b.SetAlive(t.Context(), "hst_a", false); err != nil {
		t.Fatal(err)
	}
	sees(t, a, "the host gone", func(v *View) bool { return !v.Alive("hst_a") })
}

func TestSetAlive_watchersOfHostsAreTold(t *testing.T) {
	s := opened(t, func(*Options) {})
	h := &api.Host{}
	h.ID, h.Name = "hst_a", "h"
	rev := mustCommit(t, s, creating(h))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := s.SetAlive(ctx, "hst_a", true); err != nil {
		t.Fatal(err)
	}
	for e, err := range s.Watch(ctx, api.KindHost, api.Cursor{Revision: rev, Index: wholeRevision}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == api.EventPut {
			return
		}
	}
	t.Error("nobody was told")
}

// TestSession_isRenewedWithoutTakingHostsBack: a controller whose lease ended finds
// its hosts with another one, and they stay there.
func TestSession_isRenewedWithoutTakingHostsBack(t *testing.T) {
	a := opened(t, func(*Options) {})
	b := opened(t, func(o *Options) { o.Beside = a })
	if _, err := a.SetAlive(t.Context(), "hst_a", true); err != nil {
		t.Fatal(err)
	}
	now, err := a.current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.SetAlive(t.Context(), "hst_a", true); err != nil {
		t.Fatal(err)
	}
	life := b.mirror.view().Life("hst_a")
	if _, err := a.client.Revoke(t.Context(), now.Lease()); err != nil {
		t.Fatal(err)
	}
	<-now.Done()
	for again := now; again == now; {
		if again, err = a.current(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	sees(t, b, "the host with b", func(v *View) bool { return v.aliveBy("hst_a") == b.id })
	if _, err := a.SetAlive(t.Context(), "hst_a", false); err != nil {
		t.Fatal(err)
	}
	rev := mustCommit(t, a, creating(projectNamed("a")))
	if v, err := b.View(t.Context(), rev); err != nil || v.aliveBy("hst_a") != b.id || v.Life("hst_a") < life {
		t.Errorf("%v: the host is %q's", err, v.aliveBy("hst_a"))
	}
}

func TestHolds_aHostThatCameBackIsTakenFromTheOneBetween(t *testing.T) {
	a := opened(t, func(*Options) {})
	b := opened(t, func(o *Options) { o.Beside = a })
	for _, s := range []*Etcd{a, b} {
		if _, err := s.SetAlive(t.Context(), "hst_a", true); err != nil {
			t.Fatal(err)
		}
	}
	sees(t, a, "that b has it", func(v *View) bool { return v.aliveBy("hst_a") == b.id })
	if a.Holds("hst_a") {
		t.Error("a holds what is b's")
	}
}
