package controller

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// leases records what heartbeats did to the hosts' leases.
type leases struct {
	mu   sync.Mutex
	done []string
	fail error
}

func (l *leases) set(_ context.Context, host string, alive bool) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return 0, l.fail
	}
	l.done = append(l.done, map[bool]string{true: "+", false: "-"}[alive]+host)
	return int64(len(l.done)), nil
}

func (l *leases) seen() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.done)
}

// lifeShown is a life that a view shows, or none.
func lifeShown(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

func realTimer(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

// The time in these tests is the bubble's: it goes on when all wait.
func TestHeartbeats_aSilentHostLosesItsLeaseOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &leases{}
		h := newHeartbeats(time.Now, realTimer, slog.New(slog.DiscardHandler), l.set)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { h.run(ctx) })
		defer wg.Wait()
		defer cancel()
		beat := func(host string, shown bool) {
			if _, err := h.beat(ctx, host, lifeShown(shown)); err != nil {
				t.Error(err)
			}
		}
		pass := func(d time.Duration) {
			<-time.After(d)
			synctest.Wait()
		}
		expect := func(want ...string) {
			t.Helper()
			if got := l.seen(); !slices.Equal(got, want) {
				t.Fatalf("leases: %v, want %v", got, want)
			}
		}
		beat("a", false)
		pass(10 * time.Second)
		beat("b", false)
		beat("a", true)
		expect("+a", "+b")
		pass(20 * time.Second)
		beat("a", true)
		pass(9 * time.Second) // b has been silent for 29 s
		expect("+a", "+b")
		pass(2 * time.Second)
		expect("+a", "+b", "-b")
		pass(20 * time.Second) // a for 31 s
		expect("+a", "+b", "-b", "-a")
		pass(time.Hour)
		expect("+a", "+b", "-b", "-a")
		beat("b", false)
		expect("+a", "+b", "-b", "-a", "+b")
	})
}

func TestHeartbeats_takeTheLeaseAgainWhereItIsNotShown(t *testing.T) {
	l := &leases{}
	h := newHeartbeats(time.Now, realTimer, slog.New(slog.DiscardHandler), l.set)
	for _, shown := range []bool{false, true, true, false} { // the last: another process let it go
		if _, err := h.beat(t.Context(), "a", lifeShown(shown)); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.seen(); !slices.Equal(got, []string{"+a", "+a"}) {
		t.Errorf("leases: %v", got)
	}
	l.fail = errors.New("no quorum")
	if _, err := h.beat(t.Context(), "b", 0); err == nil {
		t.Error("a beat that could not be noted was accepted")
	}
	l.fail = nil
	if _, err := h.beat(t.Context(), "b", 1); err != nil || len(l.seen()) != 3 {
		t.Errorf("after a failure the lease is not taken: %v, %v", l.seen(), err)
	}
}
