package controller

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
	"github.com/cairn-cloud/cairn/scheduler"
)

// reconcilers runs the Reconcile of every kind: the loop, written once. A change
// of an object wakes it, and those that Watches names; a failure is tried again
// later and later.
type reconcilers struct {
	store   store.Store
	kinds   []Kind
	place   scheduler.Placer
	now     func() time.Time
	timer   Timer
	entropy *entropy
	log     *slog.Logger

	mu       sync.Mutex
	failures map[key]int
}

// Workers, and how long the first and the longest wait after a failure is.
const (
	reconcileWorkers = 4
	firstRetry       = 100 * time.Millisecond
	longestRetry     = time.Minute
)

// run works until ctx ends, and returns when all it started has ended.
func (r *reconcilers) run(ctx context.Context) error {
	q := newQueue(r.now, r.timer)
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { q.runAlarms(ctx) })
	for range reconcileWorkers {
		wg.Go(func() { r.work(ctx, q) })
	}
	return follow(ctx, r.store, r.log, func(v api.View) {
		for _, k := range r.kinds {
			if k.Reconcile == nil {
				continue
			}
			for o := range v.List(k.Name, "", "") {
				q.add(key{k.Name, o.GetMeta().ID})
			}
		}
	}, func(v api.View, e api.WatchEvent) { r.wake(q, v, e) })
}

func (r *reconcilers) wake(q *queue, v api.View, e api.WatchEvent) {
	for _, k := range r.kinds {
		if k.Reconcile == nil {
			continue
		}
		if k.Name == e.Kind {
			q.add(key{k.Name, e.Object.GetMeta().ID})
		}
		if concerns := k.Watches[e.Kind]; concerns != nil {
			for _, id := range concerns(v, e.Object) {
				q.add(key{k.Name, id})
			}
		}
	}
}

func (r *reconcilers) work(ctx context.Context, q *queue) {
	for {
		k, ok := q.take(ctx)
		if !ok {
			return
		}
		again, err := r.one(ctx, k)
		switch {
		case err == nil:
			r.forget(k)
			if again > 0 {
				q.addAfter(k, again)
			}
		case ctx.Err() == nil:
			wait := r.backoff(k)
			r.log.Warn("reconcile failed, and is tried again", "kind", k.kind, "id", k.id, "in", wait, "err", err)
			q.addAfter(k, wait)
		}
		q.done(k)
	}
}

// one reconciles one object. It looks first without a commit, because most often
// there is nothing to write.
func (r *reconcilers) one(ctx context.Context, k key) (again time.Duration, err error) {
	reconcile := kindOf(k.kind).Reconcile
	v, err := r.store.View(ctx, 0)
	if err != nil {
		return 0, err
	}
	c, again, err := reconcile(reconciling{v, r.now().UTC(), r.place}, k.id)
	if err != nil || empty(c) {
		return again, err
	}
	seed, err := r.entropy.seed()
	if err != nil {
		return 0, err
	}
	_, err = r.store.Commit(ctx, func(v *store.View) (c store.Change, err error) {
		now := r.now().UTC()
		if c, again, err = reconcile(reconciling{v, now, r.place}, k.id); err == nil {
			completeEvents(c.Events, now, newDice(seed))
		}
		return c, err
	})
	return again, err
}

func empty(c store.Change) bool {
	return len(c.Create)+len(c.Update)+len(c.Status)+len(c.Place)+len(c.Delete)+len(c.Events)+len(c.Fences) == 0 && c.Idempotency == nil
}

func (r *reconcilers) forget(k key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.failures, k)
}

// backoff doubles with every failure in a row, and is spread so that what failed
// together does not come back together.
func (r *reconcilers) backoff(k key) time.Duration {
	r.mu.Lock()
	r.failures[k]++
	n := r.failures[k]
	r.mu.Unlock()
	d := min(firstRetry<<min(n-1, 16), longestRetry)
	if seed, err := r.entropy.seed(); err == nil {
		d = d/2 + time.Duration(newDice(seed).Int64N(int64(d)))
	}
	return d
}

// lead runs what only the leader does, whenever this process leads, until ctx ends.
func lead(ctx context.Context, s store.Store, log *slog.Logger, work ...func(context.Context) error) error {
	for ctx.Err() == nil {
		led, err := s.Lead(ctx, store.ControllerElection)
		if err != nil {
			return ctxErr(ctx, err)
		}
		log.Info("this controller leads")
		if err = untilReleased(led, s); err == nil {
			err = together(led, work...)
		}
		if ctx.Err() == nil {
			log.Warn("this controller does not lead any more", "err", err)
		}
		if err != nil && led.Err() == nil {
			return err
		}
	}
	return nil
}

// together runs all until ctx ends or one fails, and waits for all.
func together(ctx context.Context, work ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(work))
	var wg sync.WaitGroup
	for i, w := range work {
		wg.Go(func() {
			if errs[i] = w(ctx); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
