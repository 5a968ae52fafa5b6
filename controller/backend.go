package controller

import (
	"context"
	"iter"
	"log/slog"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/images"
	"github.com/cairn-cloud/cairn/controller/pki"
	"github.com/cairn-cloud/cairn/controller/store"
	"github.com/cairn-cloud/cairn/scheduler"
)

// Backend is what REST needs of the control plane. It has the methods of
// rest.Backend and is safe for concurrent use.
type Backend struct {
	store   store.Store
	now     func() time.Time
	entropy *entropy
	log     *slog.Logger
	ca      *pki.CA
	caPin   string
	place   scheduler.Placer
	images  *images.Store
	beats   *heartbeats
	feeds   *feeds
	found   *found
	// controllerCert is what agents are shown when a console is asked for.
	controllerCert *pki.Own
}

// View implements rest.Backend.
func (b *Backend) View(ctx context.Context, atLeast int64) (api.View, error) {
	v, err := b.store.View(ctx, atLeast)
	if err != nil {
		return nil, err
	}
	return shown{v}, nil
}

// Watch implements rest.Backend.
func (b *Backend) Watch(ctx context.Context, kind string, after api.Cursor) iter.Seq2[api.WatchEvent, error] {
	return func(yield func(api.WatchEvent, error) bool) {
		for e, err := range b.store.Watch(ctx, kind, after) {
			if err == nil && presented(e.Kind) {
				var v *store.View
				if v, err = b.store.View(ctx, e.Cursor.Revision); err == nil {
					e.Object = present(v, e.Object)
				}
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}
