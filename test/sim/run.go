package sim

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// Result of a run.
type Result struct {
	Seed      uint64
	Violation *Violation // nil: none
	Faults    []Fault    // the schedule
	Steps     int
	Revisions int64
	Virtual   time.Duration
	Trace     string   // a digest of all that happened
	Lines     []string // what happened to the resource concerned, where Verbose
	All       []string // all that happened, where Verbose
}

// How long a run may take to come to rest, and has to stay there.
const (
	settleIn  = 15 * time.Minute
	restFor   = 3 * time.Minute
	lookEvery = 5 * time.Second
)

// Run simulates a seed. The error says that the simulation itself failed.
func Run(t *testing.T, o Options) (r Result, err error) {
	if o.Hosts == 0 {
		o.Hosts = 3
	}
	if o.Instances == 0 {
		o.Instances = 6
	}
	if !o.Given {
		o.Faults = draw(dice(o.Seed, "faults"), o.Kinds, controllerCount, o.Hosts)
	}
	bubble(t, func() {
		w := newWorld(o)
		defer func() {
			r = Result{
				Seed: o.Seed, Violation: w.violation, Faults: o.Faults, Steps: w.count, Revisions: w.cluster.Revision(), Virtual: time.Since(w.trace.began),
				Trace: fmt.Sprintf("%016x", w.trace.sum.Sum64()),
			}
			if o.Verbose {
				r.All = w.trace.lines
				if w.violation != nil {
					r.Lines = w.trace.about(w.violation.About, "fault:", "over:", "violation:")
				}
			}
			w.end()
		}()
		if err = w.begin(); err == nil && w.violation == nil {
			w.live()
		}
	})
	runtime.GC()
	return r, err
}

// live is troubles, calm, rest, and the end of all things.
func (w *world) live() {
	watcher := w.newWatcher(w.adminToken)
	ctx, stop := context.WithCancel(context.Background())
	var acting, watching sync.WaitGroup
	watch, unwatch := context.WithCancel(context.Background())
	watching.Go(func() { watcher.run(watch) })
	for n := range userCount {
		u := w.newUser(n, w.adminToken)
		acting.Go(func() { u.run(ctx, w.Instances) })
	}
	defer func() {
		stop()
		unwatch()
		for w.drain(); !ended(&acting, &watching); {
			w.drain()
		}
	}()
	w.faults.since, w.faults.planned = time.Now(), w.Faults
	w.run(time.Now().Add(over(w.Faults)))
	w.calmDown()
	stop()
	w.rest("Converges", converged)
	w.judgeRest("NoPromiseBroken", "WatchersSeeAllOnce")
	if w.violation != nil {
		return
	}
	end, over := context.WithCancel(context.Background())
	defer over()
	acting.Go(func() { w.users[0].deleteAll(end) })
	w.rest("DeletionsEnd", func(w *world) (string, error) {
		if n := len(w.truth.instances()); n > 0 {
			return w.truth.instances()[0].ID, fmt.Errorf("%d instances are left", n)
		}
		return deletionsEnd(w)
	})
	w.judgeRest("DeletionsEnd", "WatchersSeeAllOnce")
}

// ended tells whether all have returned.
func ended(groups ...*sync.WaitGroup) bool {
	done := make(chan struct{})
	go func() {
		for _, g := range groups {
			g.Wait()
		}
		close(done)
	}()
	synctest.Wait()
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// calmDown ends all faults, and starts what is down.
func (w *world) calmDown() {
	w.mu.Lock()
	active := w.faults.active
	w.faults.active, w.faults.planned = nil, nil
	clear(w.faults.armed)
	w.mu.Unlock()
	for _, f := range active {
		w.heal(f)
	}
	w.faults.since = time.Time{}
	for _, m := range w.machines {
		m.powerOn()
	}
	for _, p := range w.processes {
		p.start()
	}
	w.calm = true
	w.trace.add("calm")
}

// rest waits until it is so, and then sees whether it stays so in silence.
func (w *world) rest(name string, so func(*world) (string, error)) {
	end := time.Now().Add(settleIn)
	for w.violation == nil {
		w.run(time.Now().Add(lookEvery))
		about, err := so(w)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			if i, ok := one[*api.Instance](w.truth, about); ok && i.Deleting() {
				name = "DeletionsEnd"
			}
			w.fail(name, about, fmt.Errorf("after %s of calm: %w", settleIn, err))
			return
		}
	}
	w.run(time.Now().Add(restFor / 2)) // what is said last, and who was slow
	w.quiet = w.cluster.Revision()
	w.run(time.Now().Add(restFor))
	w.quiet = 0
	if w.violation == nil {
		about, err := so(w)
		w.fail(name, about, err)
	}
}

// judgeRest judges what can be judged only now.
func (w *world) judgeRest(names ...string) {
	for _, i := range Invariants {
		for _, n := range names {
			if i.Name == n && i.rest != nil && w.violation == nil {
				about, err := i.rest(w)
				w.fail(i.Name, about, err)
			}
		}
	}
}
