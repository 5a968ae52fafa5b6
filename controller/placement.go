package controller

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
	"github.com/cairn-cloud/cairn/scheduler"
)

// placements finds hosts for instances, many at a time. It runs with the leader,
// and is right without there being one: the commit that places an instance also
// takes its room on the host, and fails where there is none.
type placements struct {
	store   store.Store
	place   scheduler.Placer
	now     func() time.Time
	timer   Timer
	entropy *entropy
	log     *slog.Logger

	mu      sync.Mutex
	fresh   line                 // to be decided
	waiting map[string]time.Time // fitted nowhere, or wait for their image, until something changes; when they were made
	moving  map[string]bool      // hold room on two hosts
	changes int                  // how often something changed that they may have waited for
	woken   chan struct{}
}

// Bounds of one commit: how many instances are looked at, and how many written.
// An instance takes some ten operations of etcd's transaction.
const (
	requestsAtOnce = 512
	writesAtOnce   = 16
)

const actorScheduler = "controller/scheduler"

func newPlacements(c *Controller) *placements {
	return &placements{
		store: c.o.Store, place: c.o.Place, now: c.o.Now, timer: c.o.Timer, entropy: c.entropy, log: c.o.Log,
		fresh: newLine(), waiting: map[string]time.Time{}, moving: map[string]bool{}, woken: make(chan struct{}, 1),
	}
}

// run places until ctx ends.
func (p *placements) run(ctx context.Context) error {
	return together(ctx, func(ctx context.Context) error { return follow(ctx, p.store, p.log, p.reset, p.see) }, p.work)
}

func (p *placements) reset(v api.View) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fresh = newLine()
	clear(p.waiting)
	clear(p.moving)
	p.changes++
	for o := range v.List(api.KindInstance, "", "") {
		i := o.(*api.Instance)
		if homeless(v, i) {
			p.fresh.add(i.ID, i.CreatedAt)
		}
		if i.Placement.Target != nil {
			p.moving[i.ID] = true
		}
	}
	poke(p.woken)
}

func (p *placements) see(v api.View, e api.WatchEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch o := e.Object.(type) {
	case *api.Instance:
		_, waits := p.waiting[o.ID]
		switch unplaced := e.Type == api.EventPut && homeless(v, o); {
		case !unplaced:
			p.fresh.remove(o.ID)
			delete(p.waiting, o.ID)
		case !waits:
			p.fresh.add(o.ID, o.CreatedAt)
			poke(p.woken)
		}
		moves := e.Type == api.EventPut && o.Placement.Target != nil
		if e.Type == api.EventDelete && o.Placement.Host != "" || p.moving[o.ID] && !moves {
			p.retry() // room came free
		}
		if moves {
			p.moving[o.ID] = true
		} else {
			delete(p.moving, o.ID)
		}
	case *api.Host:
		if v.Fence(o.ID) != nil {
			for _, i := range instancesOf(v, o.ID) {
				if homeless(v, i) {
					p.fresh.add(i.ID, i.CreatedAt)
				}
			}
		}
		p.retry()
		poke(p.woken)
	case *api.Image:
		p.retry()
	}
}

// retry decides again about all that wait: there may be room now.
func (p *placements) retry() {
	p.changes++
	for id, made := range p.waiting {
		p.fresh.add(id, made)
	}
	clear(p.waiting)
	if p.fresh.len() > 0 {
		poke(p.woken)
	}
}

func (p *placements) work(ctx context.Context) error {
	for failures := 0; ; {
		ids := p.take()
		if len(ids) == 0 {
			select {
			case <-p.woken:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		err := p.batch(ctx, ids)
		if err == nil {
			failures = 0
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		failures++
		p.log.Warn("placing failed, and is tried again", "instances", len(ids), "err", err)
		c, stop := p.timer(min(firstRetry<<min(failures, 10), longestRetry))
		select {
		case <-c:
		case <-ctx.Done():
		}
		stop()
	}
}

func (p *placements) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fresh.oldest(requestsAtOnce)
}

// batch decides about some of the instances, in one commit.
func (p *placements) batch(ctx context.Context, ids []string) error {
	seed, err := p.entropy.seed()
	if err != nil {
		return err
	}
	p.mu.Lock()
	before := p.changes
	p.mu.Unlock()
	var b *batch
	_, err = p.store.Commit(ctx, func(v *store.View) (store.Change, error) {
		dice := newDice(seed)
		b = placeBatch(v, p.place, ids, p.now().UTC(), dice.Uint64())
		completeEvents(b.change.Events, p.now().UTC(), dice)
		return b.change, nil
	})
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range b.settled {
		p.fresh.remove(id)
	}
	if p.changes != before {
		return nil // those that do not fit were decided on what may be out of date
	}
	for id, made := range b.waiting {
		p.fresh.remove(id)
		p.waiting[id] = made
	}
	return nil
}

// batch is what was decided on one view.
type batch struct {
	change  store.Change
	settled []string // placed, or not to be placed any more
	waiting map[string]time.Time

	view      api.View
	baselines map[string]*api.CPU // by pool
}

// baseline is the CPU of a host's pool.
func (b *batch) baseline(host string) *api.CPU {
	h := get[*api.Host](b.view, api.KindHost, host)
	if h == nil {
		return nil
	}
	cpu, known := b.baselines[h.Spec.Pool]
	if !known {
		cpu = baselineOf(b.view, h.Spec.Pool)
		b.baselines[h.Spec.Pool] = cpu
	}
	return cpu
}

// placeBatch decides about the instances in turn, in portions of what one commit
// can write: most often all of the first fit, and the others are left for the
// next one. It is pure.
func placeBatch(v api.View, place scheduler.Placer, ids []string, now time.Time, seed uint64) *batch {
	b := &batch{waiting: map[string]time.Time{}, view: v, baselines: map[string]*api.CPU{}}
	var hosts scheduler.Snapshot
	for len(b.change.Place) < writesAtOnce {
		var some []*api.Instance
		if some, ids = b.undecided(v, ids, writesAtOnce-len(b.change.Place)); len(some) == 0 {
			break
		}
		if hosts.Hosts == nil {
			hosts = snapshot(v)
		}
		rs := make([]scheduler.Request, len(some))
		for i := range rs {
			rs[i] = requestAnew(v, some[i])
		}
		ds := place(hosts, rs, seed)
		for i, d := range ds {
			b.decide(some[i], d, now)
		}
		reserve(hosts, rs, ds)
	}
	return b
}

// undecided returns the first n that a host is to be found for, and the IDs behind them.
func (b *batch) undecided(v api.View, ids []string, n int) (some []*api.Instance, rest []string) {
	for at, id := range ids {
		if len(some) == n {
			return some, ids[at:]
		}
		switch i := get[*api.Instance](v, api.KindInstance, id); {
		case i == nil || !homeless(v, i):
			b.settled = append(b.settled, id)
		case !imageCondition(i, get[*api.Image](v, api.KindImage, i.Spec.Image)).OK:
			b.waiting[id] = i.CreatedAt
		default:
			some = append(some, i)
		}
	}
	return some, nil
}

func (b *batch) decide(i *api.Instance, d scheduler.Decision, now time.Time) {
	n := api.Clone(i)
	if d.Host != "" || i.Placement.Host == "" {
		n.Status.State = api.StatePending
	}
	if d.Host == "" {
		b.waiting[i.ID] = i.CreatedAt
		if !news(i.Placement, d) {
			return
		}
		n.Placement.Reason, n.Placement.Rejected = d.Reason, d.Rejected
		first := i.Status.Condition(conditionScheduled) == nil
		n.Status.SetCondition(api.Condition{Type: conditionScheduled, Reason: "NoHostFits", Message: explain(d), Since: now})
		if first {
			b.change.Events = append(b.change.Events, warning(eventAbout(i, actorScheduler, "NotScheduled", explain(d))))
		}
	} else {
		b.settled = append(b.settled, i.ID)
		n.Placement = api.Placement{Host: d.Host, HostName: d.HostName, Epoch: i.Placement.NextEpoch(), Reason: d.Reason, CPU: b.baseline(d.Host), From: i.Placement.Host}
		n.Status.Migration = nil
		n.Status.Host, n.Status.Epoch, n.Status.Addresses = d.HostName, n.Placement.Epoch, addressesOf(i)
		if n.Status.Condition(conditionImage) != nil { // the last word before the status is the agent's
			n.Status.SetCondition(api.Condition{Type: conditionImage, OK: true, Reason: "Ready", Since: now})
		}
		n.Status.SetCondition(api.Condition{Type: conditionScheduled, OK: true, Reason: "Placed", Message: "it runs on " + d.HostName + ": " + d.Reason, Since: now})
		b.change.Events = append(b.change.Events, placedEvent(i, d))
		b.change.Fenced = append(b.change.Fenced, hostsOf(i)...)
	}
	b.change.Place = append(b.change.Place, n)
	b.change.Status = append(b.change.Status, n)
}

// news tells whether a refusal says something else than the one before: other
// filters, or other numbers of hosts. That the nearest host lacks a little more or less is
// none, for it would be written for all that wait whenever anything is placed.
func news(old api.Placement, d scheduler.Decision) bool {
	return old.Reason == "" || !slices.EqualFunc(old.Rejected, d.Rejected, func(a, b api.Rejected) bool { return a.Filter == b.Filter && a.Hosts == b.Hosts })
}

func explain(d scheduler.Decision) string {
	s := d.Reason
	for _, r := range d.Rejected {
		s += fmt.Sprintf("; %s: %s", r.Filter, r.Detail)
	}
	return s
}
