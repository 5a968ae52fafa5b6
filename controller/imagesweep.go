package controller

import (
	"context"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// sweepEvery is how often, and after what time, files are removed that a crash
// left: between an image's bytes and the transaction that names them.
const sweepEvery = 24 * time.Hour

// sweepImages runs with every controller, for each has files of its own.
func (c *Controller) sweepImages(ctx context.Context) error {
	b := c.backend
	if err := untilReleased(ctx, c.o.Store); err != nil {
		return ctxErr(ctx, err)
	}
	for ctx.Err() == nil {
		err := b.images.Sweep(b.now().Add(-sweepEvery), func(sha string) (bool, error) {
			unused, err := b.unused(ctx, sha)()
			return !unused, err
		}, func(id string) (bool, error) {
			v, err := b.store.View(ctx, 0)
			return err != nil || v.Get(api.KindImage, id) != nil, err
		})
		if err != nil && ctx.Err() == nil {
			b.log.Warn("what a crash may have left of images is not removed", "err", err)
		}
		tick, stop := c.o.Timer(sweepEvery)
		select {
		case <-tick:
		case <-ctx.Done():
		}
		stop()
	}
	return nil
}
