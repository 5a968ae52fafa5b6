package controller

import (
	"context"
	"iter"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
)

// feeds tells the hosts' streams what changed. One goroutine follows the store
// and finds, for each change, which hosts it may concern; each stream then looks at
// those things alone, and sends what differs from what it sent before. A change
// that concerns no connected host costs one look-up.
type feeds struct {
	store store.Store
	log   *slog.Logger

	mu      sync.Mutex
	byHost  map[string]map[*feed]bool
	byNet   map[string]map[*feed]bool
	byGroup map[string]map[*feed]bool
	stamps  map[string]stamp  // instances and ports as last seen, to tell a status from a change
	address map[string]string // of hosts
	lives   map[string]int64  // of hosts
}

// stamp is what of an instance or port matters to hosts.
type stamp struct {
	revision int64
	host     string
	epoch    int64
	// Of a move: who is to receive it, under which epoch, whether its host is to
	// send it, and whether it is given up.
	target             string
	targetEpoch        int64
	sending, cancelled bool
	held               bool
}

func stampOf(i *api.Instance) stamp {
	s := stamp{revision: i.Revision, host: i.Placement.Host, epoch: i.Placement.Epoch, held: i.Placement.Held}
	if t := i.Placement.Target; t != nil {
		s.target, s.targetEpoch, s.sending, s.cancelled = t.Host, t.Epoch, sending(i), t.Cancelled
	}
	return s
}

// feed is one host's stream.
type feed struct {
	host  string
	woken chan struct{}
	// under feeds.mu:
	dirty map[item]bool
	all   bool // everything may have changed
	tell  bool // also that nothing has

	around surroundings // that it hears of
}

func newFeeds(s store.Store, log *slog.Logger) *feeds {
	return &feeds{store: s, log: log, byHost: map[string]map[*feed]bool{}, byNet: map[string]map[*feed]bool{}, byGroup: map[string]map[*feed]bool{}, stamps: map[string]stamp{}, address: map[string]string{}, lives: map[string]int64{}}
}

// run follows the store until ctx ends.
func (f *feeds) run(ctx context.Context) error {
	return follow(ctx, f.store, f.log, f.reset, func(v api.View, e api.WatchEvent) { f.see(v, e) })
}

// reset forgets what was seen: history was lost, so everything may have changed.
func (f *feeds) reset(v api.View) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.stamps)
	clear(f.address)
	clear(f.lives)
	for o := range v.List(api.KindHost, "", "") {
		f.address[o.GetMeta().ID] = o.(*api.Host).Status.Address
		f.lives[o.GetMeta().ID] = v.Life(o.GetMeta().ID)
	}
	for o := range v.List(api.KindFloatingIP, "", "") { // where they are is not to be seen once they have left
		f.stamps[o.GetMeta().ID] = stampOfFloating(v, o.(*api.FloatingIP))
	}
	for _, streams := range f.byHost {
		for s := range streams {
			s.all, s.tell = true, true
			s.wake()
		}
	}
}

// see finds the streams that a change concerns.
func (f *feeds) see(v api.View, e api.WatchEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gone := e.Type == api.EventDelete
	switch o := e.Object.(type) {
	case *api.Instance:
		f.seeInstance(v, o, gone)
	case *api.Port:
		if !f.stamped(o.ID, stamp{revision: o.Revision}, gone) {
			f.dirtyNet(o.Spec.Network, item{api.KindPort, o.ID})
			f.dirtyPlaceOf(v, o.Spec.Instance)
		}
	case *api.FloatingIP:
		f.seeFloating(v, o, gone)
	case *api.Network:
		f.dirtyNet(o.ID, item{api.KindNetwork, o.ID})
	case *api.Subnet:
		f.dirtyNet(o.Spec.Network, item{api.KindNetwork, o.Spec.Network})
	case *api.SecurityGroup:
		markDirty(f.byGroup[o.ID], item{api.KindSecurityGroup, o.ID})
	case *api.Image:
		f.dirtyUsers(v, api.KindImage, o.ID)
	case *api.SSHKey:
		f.dirtyUsers(v, api.KindSSHKey, o.ID)
	case *api.Host:
		f.seeHost(v, o, gone)
	}
}

// stamped remembers the stamp and tells whether it is the one seen before.
func (f *feeds) stamped(id string, s stamp, gone bool) bool {
	same := f.stamps[id] == s && !gone
	if gone {
		delete(f.stamps, id)
	} else {
		f.stamps[id] = s
	}
	return same
}

func (f *feeds) seeInstance(v api.View, i *api.Instance, gone bool) {
	before := f.stamps[i.ID]
	if f.stamped(i.ID, stampOf(i), gone) {
		return
	}
	at := item{api.KindInstance, i.ID}
	f.dirtyHost(before.host, at)
	f.dirtyHost(before.target, at)
	f.dirtyHosts(i, at)
	for _, n := range i.Spec.NICs { // also the ports that went with it
		f.dirtyNet(n.Network, item{api.KindPort, n.Port})
	}
	for _, x := range floatingIPsAt(v, i.ID) {
		f.seeFloating(v, x, false)
	}
}

// seeFloating names a floating IP to the hosts where it was and where it is now.
func (f *feeds) seeFloating(v api.View, x *api.FloatingIP, gone bool) {
	before, now := f.stamps[x.ID], stampOfFloating(v, x)
	if f.stamped(x.ID, now, gone) {
		return
	}
	for _, host := range []string{before.host, before.target, now.host, now.target} {
		f.dirtyHost(host, item{api.KindFloatingIP, x.ID})
	}
}

func stampOfFloating(v api.View, x *api.FloatingIP) stamp {
	s := stamp{revision: x.Revision}
	s.host, s.target = floatingHosts(v, x)
	return s
}

func (f *feeds) seeHost(v api.View, h *api.Host, gone bool) {
	f.dirtyHost(h.ID, item{api.KindHost, h.ID})
	if life := v.Life(h.ID); life != f.lives[h.ID] { // it waits for a state as new as its life
		f.lives[h.ID] = life
		for s := range f.byHost[h.ID] {
			s.tell = true
		}
	}
	if gone {
		delete(f.lives, h.ID)
	}
	before := f.address[h.ID]
	if before == h.Status.Address && !gone {
		return
	}
	if f.address[h.ID] = h.Status.Address; gone {
		delete(f.address, h.ID)
	}
	for o := range v.Referrers(api.KindInstance, api.KindHost, h.ID) {
		for p := range v.Referrers(api.KindPort, api.KindInstance, o.GetMeta().ID) {
			f.dirtyNet(p.(*api.Port).Spec.Network, item{api.KindPort, p.GetMeta().ID})
		}
	}
}

func (f *feeds) dirtyPlaceOf(v api.View, instance string) {
	if i := get[*api.Instance](v, api.KindInstance, instance); i != nil {
		f.dirtyHosts(i, item{api.KindInstance, i.ID})
	}
}

// dirtyHosts names something of an instance to the host that has it, and to the one that gets it.
func (f *feeds) dirtyHosts(i *api.Instance, at item) {
	f.dirtyHost(i.Placement.Host, at)
	if t := i.Placement.Target; t != nil {
		f.dirtyHost(t.Host, at)
	}
}

func (f *feeds) dirtyUsers(v api.View, kind, id string) {
	for o := range v.Referrers(api.KindInstance, kind, id) {
		f.dirtyHosts(o.(*api.Instance), item{api.KindInstance, o.GetMeta().ID})
	}
}

func (f *feeds) dirtyHost(host string, at item)   { markDirty(f.byHost[host], at) }
func (f *feeds) dirtyNet(network string, at item) { markDirty(f.byNet[network], at) }

func markDirty(streams map[*feed]bool, at item) {
	for s := range streams {
		s.dirty[at] = true
		s.wake()
	}
}

func (s *feed) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// follow calls reset with a view, then see for every change after it, for as
// long as ctx lives; where history was lost it begins again.
func follow(ctx context.Context, s store.Store, log *slog.Logger, reset func(api.View), see func(api.View, api.WatchEvent)) error {
	for ctx.Err() == nil {
		v, err := s.View(ctx, 0)
		if err != nil {
			return ctxErr(ctx, err)
		}
		reset(v)
		from := api.Cursor{Revision: v.Revision(), Index: wholeRevision}
		for e, err := range s.Watch(ctx, "", from) {
			if err != nil {
				if ctx.Err() == nil {
					log.Warn("lost track of changes, and list again", "err", err)
				}
				break
			}
			if e.Type == api.EventBookmark {
				continue
			}
			now, err := s.View(ctx, e.Cursor.Revision)
			if err != nil {
				return ctxErr(ctx, err)
			}
			see(now, e)
		}
	}
	return nil
}

// ctxErr is nil where the error is only that ctx ended.
func ctxErr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Desired implements rest.Backend.
func (b *Backend) Desired(ctx context.Context, host string, seen int64, tick <-chan time.Time) iter.Seq2[[]api.DesiredItem, error] {
	return func(yield func([]api.DesiredItem, error) bool) {
		if err := b.reached(ctx, seen); err != nil {
			yield(nil, err)
			return
		}
		s := b.feeds.open(host)
		defer b.feeds.closeFeed(s)
		sent := newTold()
		for first := true; ; first = false {
			items, err := b.feeds.next(ctx, s, sent, first)
			if err != nil {
				if ctx.Err() == nil {
					yield(nil, err)
				}
				return
			}
			for len(items) > 0 {
				n := min(len(items), itemsAtOnce)
				if !yield(items[:n], nil) {
					return
				}
				items = items[n:]
			}
			if !s.wait(ctx, tick, func() bool { return yield(nil, nil) }) {
				return
			}
		}
	}
}

// wait returns true when there may be news, and calls ticked at each tick until
// then. It returns false when that does, or ctx has ended.
func (s *feed) wait(ctx context.Context, tick <-chan time.Time, ticked func() bool) bool {
	for {
		select {
		case <-s.woken:
			return true
		case <-tick:
			if !ticked() {
				return false
			}
		case <-ctx.Done():
			return false
		}
	}
}

// itemsAtOnce keeps one message of the stream small.
const itemsAtOnce = 500

// wholeRevision is an index behind every change of a transaction.
const wholeRevision = math.MaxInt32
