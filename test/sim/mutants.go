package sim

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
	"github.com/cairn-cloud/cairn/scheduler"
)

// Mutant is a fault that is put into Cairn itself, at one of its seams, to show
// that the simulation finds its like.
type Mutant string

// The mutants, one at least for each invariant.
const (
	MutantTwin     Mutant = "twin"     // an instance that starts on one host starts on another too
	MutantRash     Mutant = "rash"     // what was sent goes on there before it is gone here
	MutantForget   Mutant = "forget"   // some changes are acknowledged and not written
	MutantShare    Mutant = "share"    // the store forgets who has an address
	MutantOverfill Mutant = "overfill" // the scheduler does not look at what is free
	MutantHoarder  Mutant = "hoarder"  // a host never removes a disk
	MutantStutter  Mutant = "stutter"  // a watch says some of it twice
	MutantStale    Mutant = "stale"    // reports under another epoch are taken
	MutantSleeper  Mutant = "sleeper"  // a host says that it has started what it has not
	MutantChatter  Mutant = "chatter"  // something writes all the time
	MutantSecret   Mutant = "secret"   // placements tell nobody
	MutantReaper   Mutant = "reaper"   // a host removes the disks of what nobody owns
	MutantLiar     Mutant = "liar"     // an administrator says that a host is off which is only cut off
)

// Mutants are all of them, and which invariant each breaks.
var Mutants = map[Mutant]string{
	MutantTwin: "RunsOnOneHost", MutantRash: "RunsOnOneHost", MutantForget: "NoPromiseBroken", MutantShare: "GivenOnce", MutantOverfill: "NoHostOverfilled",
	MutantHoarder: "DeletionsEnd", MutantStutter: "WatchersSeeAllOnce", MutantStale: "StaleEpochChangesNothing",
	MutantSleeper: "Converges", MutantChatter: "SilentAtRest", MutantSecret: "EventsExplainHistory",
	MutantLiar: "RunsOnOneHost", MutantReaper: "OrphansAreKept",
}

// mutate puts a mutant between a controller and its store.
func (w *world) mutate(s store.Store) store.Store {
	switch w.mutant {
	case MutantForget, MutantStale, MutantSecret:
		return &mutantStore{Store: s, w: w}
	default: // it is elsewhere
		return s
	}
}

type mutantStore struct {
	store.Store
	w  *world
	mu sync.Mutex
	n  int
}

// Commit implements store.Store, wrongly.
func (m *mutantStore) Commit(ctx context.Context, decide func(*store.View) (store.Change, error)) (int64, error) {
	m.mu.Lock()
	m.n++
	n := m.n
	m.mu.Unlock()
	return m.Store.Commit(ctx, func(v *store.View) (store.Change, error) {
		c, err := decide(v)
		if err != nil {
			return c, err
		}
		switch m.w.mutant {
		case MutantForget:
			if len(c.Update) == 1 && c.Idempotency != nil && n%3 == 0 {
				return store.Change{}, nil
			}
		case MutantStale:
			for k, o := range c.Status {
				if i, ok := o.(*api.Instance); ok && i.Status.Epoch > 0 && n%5 == 0 {
					x := api.Clone(i)
					x.Status.Epoch++
					c.Status[k] = x
				}
			}
		case MutantSecret:
			if len(c.Place) > 0 {
				c.Events = nil
			}
		default: // it is elsewhere
		}
		return c, nil
	})
}

// lose deletes a claim behind the store's back, as a store would that forgets some.
func (w *world) lose(r *revision) {
	for _, e := range r.events {
		if key := string(e.Kv.Key); w.mutant == MutantShare && e.IsCreate() && strings.HasPrefix(key, claimPrefix+"ip/") {
			w.after(0, "a claim is lost", func() { _, _ = w.etcd.Delete(context.Background(), key) }) // it is there
		}
	}
}

// chatter writes all the time.
func (w *world) chatter() {
	if w.mutant == MutantChatter {
		_, _ = w.etcd.Put(context.Background(), root+"chatter", "") // what fails is silent
		w.after(10*time.Second, "chatter", w.chatter)
	}
}

// placer is the scheduler, or a mutant of it.
func (w *world) placer() scheduler.Placer {
	if w.mutant != MutantOverfill {
		return nil
	}
	return func(s scheduler.Snapshot, rs []scheduler.Request, seed uint64) []scheduler.Decision {
		for i := range s.Hosts {
			s.Hosts[i].Used = api.Size{}
		}
		return scheduler.Place(s, rs, seed)
	}
}

// twin starts the domain on another machine too.
func (w *world) twin(on *machine, d agent.Domain) {
	if w.mutant != MutantTwin {
		return
	}
	for _, m := range w.machines {
		if m != on {
			w.after(0, "a twin", func() {
				m.mu.Lock()
				defer m.mu.Unlock()
				m.domains[d.Mark.Instance] = d
			})
			return
		}
	}
}
