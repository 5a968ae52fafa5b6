package rest

import (
	"sync"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// How long and how many views are kept for callers in the middle of a list.
const (
	viewsKept   = 256
	viewKeptFor = 2 * time.Minute
)

// viewCache keeps recently used views by revision, so that the pages of a list
// show one revision. Views are immutable and share what did not change, so one
// costs what changed since.
type viewCache struct {
	now func() time.Time

	mu    sync.Mutex
	views map[int64]keptView
}

type keptView struct {
	view api.View
	used time.Time
}

func newViewCache(now func() time.Time) *viewCache {
	return &viewCache{now: now, views: map[int64]keptView{}}
}

// keep remembers a view; the one that was unused for longest makes room.
func (c *viewCache) keep(v api.View) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	c.views[v.Revision()] = keptView{v, c.now()}
	if len(c.views) <= viewsKept {
		return
	}
	oldest := v.Revision()
	for r, k := range c.views {
		if k.used.Before(c.views[oldest].used) {
			oldest = r
		}
	}
	delete(c.views, oldest)
}

// get returns the view of that revision, or nil.
func (c *viewCache) get(revision int64) api.View {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	k, ok := c.views[revision]
	if !ok {
		return nil
	}
	c.views[revision] = keptView{k.view, c.now()}
	return k.view
}

func (c *viewCache) expire() {
	for r, k := range c.views {
		if c.now().Sub(k.used) > viewKeptFor {
			delete(c.views, r)
		}
	}
}
