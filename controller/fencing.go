package controller

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
)

// Fencer switches a host off. It returns without an error only when the host is
// off for sure, and may be called again.
type Fencer interface {
	// Can tells whether there is a way to switch the host off.
	Can(h *api.Host) bool
	Fence(ctx context.Context, h *api.Host) (how string, err error)
}

// fencing follows the hosts that are silent: it says that they are lost, has them
// switched off, and waits for those that fence themselves. It runs with the leader.
// What it waits for is measured by timers that begin when this process sees the
// host silent: wall clocks jump, and a new leader waits anew rather than too short.
type fencing struct {
	store   store.Store
	fencer  Fencer
	now     func() time.Time
	timer   Timer
	entropy *entropy
	log     *slog.Logger

	mu     sync.Mutex
	silent map[string]*silentHost // by ID
	ended  sync.WaitGroup
}

type silentHost struct {
	life   int64
	cancel context.CancelFunc
}

// selfFencingMargin is added to the time after which a host has fenced itself: for
// what a controller may believe of its own lease after that has ended.
const selfFencingMargin = 15 * time.Second

func newFencing(c *Controller) *fencing {
	return &fencing{store: c.o.Store, fencer: c.o.Fencer, now: c.o.Now, timer: c.o.Timer, entropy: c.entropy, log: c.o.Log, silent: map[string]*silentHost{}}
}

// run fences until ctx ends, and returns when all it started has ended.
func (f *fencing) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer f.ended.Wait()
	defer cancel()
	return follow(ctx, f.store, f.log, func(v api.View) {
		for o := range v.List(api.KindHost, "", "") {
			f.consider(ctx, v, o.GetMeta().ID)
		}
	}, func(v api.View, e api.WatchEvent) {
		if e.Kind == api.KindHost {
			f.consider(ctx, v, e.Object.GetMeta().ID)
		}
	})
}

// consider begins or ends the care of one host.
func (f *fencing) consider(ctx context.Context, v api.View, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	life := v.Life(id)
	is := v.Get(api.KindHost, id) != nil && life != 0 && !v.Alive(id) && v.Fence(id) == nil
	was := f.silent[id]
	if was != nil && (!is || was.life != life) {
		was.cancel()
		delete(f.silent, id)
		was = nil
	}
	if !is || was != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	f.silent[id] = &silentHost{life, cancel}
	f.ended.Go(func() {
		defer cancel()
		f.attend(ctx, id, life)
	})
}

// attend looks after one silence of a host, until it is over or the host is fenced.
func (f *fencing) attend(ctx context.Context, id string, life int64) {
	v, err := f.store.View(ctx, 0)
	if err != nil {
		return
	}
	h := get[*api.Host](v, api.KindHost, id)
	if h == nil {
		return
	}
	// The errors are of ctx alone.
	_ = together(ctx,
		func(ctx context.Context) error {
			if s := h.Status.SelfFencing; s > 0 && f.wait(ctx, time.Duration(s)*time.Second+selfFencingMargin) {
				f.fence(ctx, id, life, api.FencedByItself, fmt.Sprintf("it runs nothing exclusive any more %d seconds after it was last heard of", s))
			}
			return nil
		},
		func(ctx context.Context) error {
			if ready := h.Status.Condition(conditionReady); (ready == nil || ready.OK || ready.Reason != reasonLost) && !f.wait(ctx, lostAfter(h)) {
				return nil
			}
			f.write(ctx, func(v *store.View) (store.Change, error) { return lose(v, id, life, f.now().UTC()), nil })
			f.switchOff(ctx, id, life)
			return nil
		},
	)
}

func lostAfter(h *api.Host) time.Duration {
	if s := h.Spec.LostAfterSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return 2 * time.Minute
}

// wait tells whether the time has passed; false: ctx has ended.
func (f *fencing) wait(ctx context.Context, d time.Duration) bool {
	c, stop := f.timer(d)
	defer stop()
	select {
	case <-c:
		return true
	case <-ctx.Done():
		return false
	}
}

// switchOff has the host switched off, again and again until that is sure.
func (f *fencing) switchOff(ctx context.Context, id string, life int64) {
	for failures := 0; ctx.Err() == nil; failures++ {
		v, err := f.store.View(ctx, 0)
		if err != nil {
			return
		}
		h := get[*api.Host](v, api.KindHost, id)
		switch {
		case h == nil || f.fencer == nil:
			return
		case !f.fencer.Can(h):
			f.wait(ctx, longestRetry) // until somebody says how
			continue
		}
		if many(v) {
			f.log.Warn("a host is not switched off, for too many are silent at once: the fault may be ours", "host", h.Name)
		} else {
			how, err := f.fencer.Fence(ctx, h)
			if err == nil {
				f.fence(ctx, id, life, api.FencedByHook, how)
				return
			}
			f.log.Warn("a lost host could not be switched off; it is tried again", "host", h.Name, "err", err)
			if failures == 0 {
				message := "it could not be switched off, which is tried again: " + clip(err.Error())
				f.write(ctx, func(*store.View) (store.Change, error) {
					return store.Change{Events: []*api.Event{warning(eventAbout(h, actorHosts, "FencingFailed", message))}}, nil
				})
			}
		}
		f.wait(ctx, min(time.Second<<min(failures, 10), longestRetry))
	}
}

// many tells whether so many hosts are silent that the fault is more likely to be
// the control plane's or the network's: a third of them, and more than one.
func many(v api.View) bool {
	hosts, silent := 0, 0
	for o := range v.List(api.KindHost, "", "") {
		if id := o.GetMeta().ID; v.Life(id) != 0 {
			hosts++
			if !v.Alive(id) && v.Fence(id) == nil {
				silent++
			}
		}
	}
	return silent > 1 && 3*silent > hosts
}

// lose says that a host is lost, once.
func lose(v api.View, id string, life int64, now time.Time) (c store.Change) {
	h := get[*api.Host](v, api.KindHost, id)
	if h == nil || v.Alive(id) || v.Life(id) != life {
		return c
	}
	if ready := h.Status.Condition(conditionReady); ready != nil && ready.Reason == reasonLost {
		return c
	}
	n := api.Clone(h)
	n.Status.Reserved = nil
	n.Status.SetCondition(api.Condition{Type: conditionReady, Reason: reasonLost, Message: "it has been silent for long; nothing of it starts elsewhere before it is known to be off", Since: now})
	c.Status = append(c.Status, n)
	c.Events = append(c.Events, warning(eventAbout(h, actorHosts, "HostLost", "the host "+h.Name+" is lost: switch it off, and say so with `cairn host fence "+h.Name+"`, unless that is done for you")))
	return c
}

// fence says that a host is off, unless it has come alive since that life.
func (f *fencing) fence(ctx context.Context, id string, life int64, by api.FencedBy, message string) {
	f.write(ctx, func(v *store.View) (c store.Change, err error) {
		h := get[*api.Host](v, api.KindHost, id)
		if h == nil || v.Alive(id) || v.Life(id) != life || v.Fence(id) != nil {
			return c, nil
		}
		x := fenceOf(v, h, by, message, f.now().UTC())
		c.Fences = append(c.Fences, x)
		c.Events = append(c.Events, fencedEvent(h, actorHosts, x))
		return c, nil
	})
}

func fenceOf(v api.View, h *api.Host, by api.FencedBy, message string, now time.Time) *api.Fence {
	return &api.Fence{Host: h.ID, Life: v.Life(h.ID), By: by, Message: message, At: now}
}

func fencedEvent(h *api.Host, actor string, f *api.Fence) *api.Event {
	said := map[api.FencedBy]string{
		api.FencedByAdministrator: "an administrator says that the host " + h.Name + " is off",
		api.FencedByHook:          "the host " + h.Name + " was switched off",
		api.FencedByItself:        "the host " + h.Name + " has fenced itself",
	}[f.By]
	if f.Message != "" {
		said += ": " + f.Message
	}
	return warning(eventAbout(h, actor, "HostFenced", said))
}

// write commits, again until it is done or ctx ends.
func (f *fencing) write(ctx context.Context, decide func(*store.View) (store.Change, error)) {
	for failures := 0; ctx.Err() == nil; failures++ {
		seed, err := f.entropy.seed()
		if err == nil {
			_, err = f.store.Commit(ctx, func(v *store.View) (store.Change, error) {
				c, err := decide(v)
				completeEvents(c.Events, f.now().UTC(), newDice(seed))
				return c, err
			})
		}
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			f.log.Warn("what is known of a silent host could not be written, which is tried again", "err", err)
		}
		f.wait(ctx, min(firstRetry<<min(failures, 10), longestRetry))
	}
}
