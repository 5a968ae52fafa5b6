package main

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// watching counts the hosts whose desired state is whole and followed. Whenever
// that becomes all of them, the process of the hosts says so.
type watching struct {
	all int

	mu sync.Mutex
	by map[int]bool
}

func (w *watching) set(host int, whole bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by[host] == whole {
		return
	}
	if !whole {
		delete(w.by, host)
		return
	}
	if w.by[host] = true; len(w.by) == w.all {
		fmt.Println(wordWatched)
	}
}

// wordWatched is what the process of the hosts says.
const wordWatched = "watched"

// watched is a host's control plane that notes how its stream does.
type watched struct {
	*client.Client
	host int
	all  *watching
}

// Desired implements agent.ControlPlane.
func (w watched) Desired(ctx context.Context, host string, seen func() int64) iter.Seq2[[]api.DesiredItem, error] {
	return func(yield func([]api.DesiredItem, error) bool) {
		for items, err := range w.Client.Desired(ctx, host, seen) {
			switch {
			case err != nil:
				w.all.set(w.host, false)
			case len(items) > 0 && items[len(items)-1].Op == "synced":
				w.all.set(w.host, true)
			}
			if !yield(items, err) {
				return
			}
		}
	}
}
