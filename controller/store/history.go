package store

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/cairn-cloud/cairn/api"
)

const (
	// wholeRevision is an index behind every change of a transaction.
	wholeRevision = math.MaxInt32
	// wakeAll is after how many revisions also watchers of quiet kinds are woken,
	// so that their place does not grow too old.
	wakeAll = 1000
	// changesPerRevision bounds the history's memory: large transactions shorten it.
	changesPerRevision = 2
)

// moment is what one revision changed.
type moment struct {
	rev     int64
	changes []news
}

// news is an object as it is after a change or, when it is gone, as it was last.
type news struct {
	*entry
	gone bool
}

func (m *moment) event(i int) api.WatchEvent {
	c := m.changes[i]
	e := api.WatchEvent{Cursor: api.Cursor{Revision: m.rev, Index: i + 1}, Type: api.EventPut, Kind: c.kind.name(), Object: c.object()}
	if c.gone {
		e.Type = api.EventDelete
	}
	return e
}

// history holds the changes of the last revisions. Watchers read it at their own
// pace: each waits on a channel that is shared by all watchers of a kind.
type history struct {
	mu      sync.Mutex
	max     int64 // revisions
	floor   int64 // what happened up to here is not known
	rev     int64 // all up to here is known
	woken   int64 // when all watchers were woken last
	moments []moment
	changes int
	wake    map[string]chan struct{} // by kind; "" is every kind but events
}

func newHistory(max int64) *history {
	return &history{max: max, wake: map[string]chan struct{}{}}
}

// reset begins the history anew after the revision.
func (h *history) reset(rev int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.moments, h.changes, h.floor, h.rev = nil, 0, rev, rev
	if rev <= 1 { // etcd's first revision is that of an empty store
		h.floor = 0
	}
	h.wakeUp(nil)
}

func (h *history) add(rev int64, moments []moment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rev = rev
	h.moments = append(h.moments, moments...)
	kinds := map[string]bool{}
	for _, m := range moments {
		h.changes += len(m.changes)
		for _, c := range m.changes {
			kinds[c.kind.name()] = true
			if c.kind != eventNo {
				kinds[""] = true
			}
		}
	}
	drop := 0
	for drop < len(h.moments) && (h.moments[drop].rev <= rev-h.max || int64(h.changes) > h.max*changesPerRevision) {
		h.floor = h.moments[drop].rev
		h.changes -= len(h.moments[drop].changes)
		h.moments[drop] = moment{} // let go of the objects
		drop++
	}
	h.moments = h.moments[drop:]
	if rev-h.woken >= wakeAll {
		h.wakeUp(nil)
	} else if len(kinds) > 0 {
		h.wakeUp(kinds)
	}
}

// wakeUp wakes the watchers of those kinds; nil: all.
func (h *history) wakeUp(kinds map[string]bool) {
	for _, k := range slices.Sorted(maps.Keys(h.wake)) {
		if kinds == nil || kinds[k] {
			close(h.wake[k])
			delete(h.wake, k)
		}
	}
	if kinds == nil {
		h.woken = h.rev
	}
}

// since returns at most n changes of the kind after the cursor, in order, and
// the place that they lead to. Where there are none left, the channel is closed when
// there may be more.
func (h *history) since(kind string, after api.Cursor, n int) (events []api.WatchEvent, at api.Cursor, more <-chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if after.Revision < h.floor || after.Revision == h.floor && h.floor > 0 && after.Index < wholeRevision {
		return nil, after, nil, tooOld(after, h.floor)
	}
	first, _ := slices.BinarySearchFunc(h.moments, after.Revision, func(m moment, rev int64) int { return int(m.rev - rev) })
	only := kindNoOf(kind)
	for _, m := range h.moments[first:] {
		for i, c := range m.changes {
			if m.rev == after.Revision && i+1 <= after.Index || kind != "" && c.kind != only || kind == "" && c.kind == eventNo {
				continue
			}
			if len(events) == n {
				return events, events[n-1].Cursor, nil, nil
			}
			events = append(events, m.event(i))
		}
	}
	if h.wake[kind] == nil {
		h.wake[kind] = make(chan struct{})
	}
	at = api.Cursor{Revision: h.rev, Index: wholeRevision}
	if after.Revision > h.rev {
		at = after // from the future: another cluster's, or before a restore
	}
	return events, at, h.wake[kind], nil
}

func tooOld(at api.Cursor, floor int64) error {
	p := api.NewProblem(410, "history_compacted", "", "list again, and watch from the revision of the list",
		"the history goes back to revision %d, and %d.%d is older", floor, at.Revision, at.Index)
	return fmt.Errorf("%w: %w", ErrTooOld, p)
}
