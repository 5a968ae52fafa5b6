package sim

import (
	"context"
	"fmt"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// watcher follows all instances through the API, as the console does.
type watcher struct {
	w    *world
	c    *client.Client
	from int64 // the revision of its last list
	last api.Cursor
	seen []touch
	// relisted is where history was lost and a list took its place.
	err error
}

func (w *world) newWatcher(token string) *watcher {
	x := &watcher{w: w, c: w.client("watcher", token)}
	w.watchers = append(w.watchers, x)
	return x
}

func (x *watcher) run(ctx context.Context) {
	k, _ := api.KindByName(api.KindInstance)
	for ctx.Err() == nil {
		_, rev, err := x.c.ListAll(ctx, k, client.ListOptions{Project: projectName})
		if err != nil {
			if sleep(ctx, restartAfter) != nil {
				return
			}
			continue
		}
		x.from, x.last, x.seen = rev, api.Cursor{Revision: rev, Index: 1 << 30}, nil
		for e, err := range x.c.Watch(ctx, k, client.WatchOptions{Project: projectName, From: client.Revision(rev)}) {
			if err != nil {
				x.w.trace.add("the watcher: %s", outcome(err))
				break
			}
			if e.Type != api.EventBookmark {
				x.take(e)
			}
		}
	}
}

func (x *watcher) take(e api.WatchEvent) {
	if e.Cursor.Revision < x.last.Revision || e.Cursor.Revision == x.last.Revision && e.Cursor.Index <= x.last.Index {
		x.err = fmt.Errorf("the event %d.%d came after %d.%d", e.Cursor.Revision, e.Cursor.Index, x.last.Revision, x.last.Index)
	}
	x.last = e.Cursor
	x.seen = append(x.seen, touch{e.Cursor.Revision, e.Object.GetMeta().ID})
}

// missed compares what it has seen, up to where it has come, with what happened.
func (x *watcher) missed(t *truth, whole bool) error {
	if x.err != nil {
		return x.err
	}
	var want []touch
	for _, c := range t.touched {
		if c.rev > x.from && (whole || c.rev < x.last.Revision) {
			want = append(want, c)
		}
	}
	seen := x.seen
	for !whole && len(seen) > 0 && seen[len(seen)-1].rev >= x.last.Revision {
		seen = seen[:len(seen)-1]
	}
	count := map[touch]int{}
	for _, c := range want {
		count[c]++
	}
	for _, c := range seen {
		if count[c]--; count[c] < 0 {
			return fmt.Errorf("it was told twice, or wrongly, of %s at revision %d", c.id, c.rev)
		}
	}
	for _, c := range want {
		if count[c] > 0 {
			return fmt.Errorf("it was not told of %s at revision %d", c.id, c.rev)
		}
	}
	return nil
}
