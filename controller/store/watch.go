package store

import (
	"context"
	"iter"

	"github.com/cairn-cloud/cairn/api"
)

// watchChunk is how many changes a watcher takes from the history at once.
const watchChunk = 256

// Watch implements Store. It runs in its caller's goroutine and has none of its
// own; a watcher that is slow holds up nobody, and is told ErrTooOld when the history has
// moved on beyond it. The last value is an error, unless the context ended.
func (s *Etcd) Watch(ctx context.Context, kind string, after api.Cursor) iter.Seq2[api.WatchEvent, error] {
	if k, ok := api.KindByName(kind); ok {
		kind = k.Name
	}
	return func(yield func(api.WatchEvent, error) bool) {
		var marked api.Cursor
		for ctx.Err() == nil {
			events, at, more, err := s.history.since(kind, after, watchChunk)
			if err != nil {
				yield(api.WatchEvent{}, err)
				return
			}
			for _, e := range events {
				if ctx.Err() != nil || !yield(e, nil) {
					return
				}
			}
			after = at
			if more == nil {
				continue
			}
			if at != marked {
				marked = at
				if !yield(api.WatchEvent{Cursor: at, Type: api.EventBookmark}, nil) {
					return
				}
			}
			select {
			case <-more:
			case <-ctx.Done():
			case <-s.mirror.closed:
				yield(api.WatchEvent{}, ErrClosed)
				return
			}
		}
	}
}
