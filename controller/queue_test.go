package controller

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestQueue_givesAKeyToOneWorkerAtATime(t *testing.T) {
	q := newQueue(time.Now, realTimer)
	a, b := key{"instance", "a"}, key{"instance", "b"}
	for range 3 {
		q.add(a)
	}
	q.add(b)
	take := func() key {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		k, ok := q.take(ctx)
		if !ok {
			t.Fatal("nothing to take")
		}
		return k
	}
	if take() != a {
		t.Fatal("not in order")
	}
	q.add(a) // while it is worked on
	if take() != b {
		t.Fatal("a was given out twice at a time")
	}
	if _, ok := q.first(); ok {
		t.Fatal("a was given out twice at a time")
	}
	q.done(a)
	if take() != a {
		t.Fatal("what was added meanwhile is lost")
	}
	q.done(a)
	q.done(b)
	if k, ok := q.first(); ok {
		t.Fatalf("%v is still there", k)
	}
}

func TestQueue_keysComeWhenTheirTimeHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(time.Now, realTimer)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { q.runAlarms(ctx) })
		defer wg.Wait()
		defer cancel()
		start := time.Now()
		q.addAfter(key{"k", "late"}, time.Minute)
		q.addAfter(key{"k", "soon"}, time.Second)
		for _, want := range []struct {
			id string
			at time.Duration
		}{{"soon", time.Second}, {"late", time.Minute}} {
			k, ok := q.take(ctx)
			if !ok || k.id != want.id || time.Since(start) != want.at {
				t.Fatalf("%v came after %v, want %s after %v", k, time.Since(start), want.id, want.at)
			}
			q.done(k)
		}
	})
}
