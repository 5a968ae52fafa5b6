package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/images"
	"github.com/cairn-cloud/cairn/controller/store"
)

// imageKeeper does for images what is in files: it imports, and removes the
// bytes of deleted ones. It runs with the leader. It is no Reconcile because it
// touches the world; what it writes goes through the same admission.
type imageKeeper struct {
	b     *Backend
	fetch *images.Fetcher
	timer Timer

	mu    sync.Mutex
	slots map[string]chan struct{} // of each project
	tasks map[string]*imageTask
	wg    sync.WaitGroup
}

// imageTask is the goroutine of one image.
type imageTask struct {
	again  bool // something changed: look once more before ending
	cancel context.CancelFunc
}

func newImageKeeper(b *Backend, f *images.Fetcher, t Timer) *imageKeeper {
	return &imageKeeper{b: b, fetch: f, timer: t, slots: map[string]chan struct{}{}, tasks: map[string]*imageTask{}}
}

// importsAtOnce is how many images of a project are imported at a time. It is by
// project, so that one tenant's slow servers keep nobody else waiting.
const importsAtOnce = 2

// slot waits for the project's turn.
func (k *imageKeeper) slot(ctx context.Context, project string) (release func(), err error) {
	k.mu.Lock()
	slots := k.slots[project]
	if slots == nil {
		slots = make(chan struct{}, importsAtOnce)
		k.slots[project] = slots
	}
	k.mu.Unlock()
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// run works until ctx ends, and returns when all it started has ended.
func (k *imageKeeper) run(ctx context.Context) error {
	defer k.wg.Wait()
	return follow(ctx, k.b.store, k.b.log, func(v api.View) {
		for o := range v.List(api.KindImage, "", "") {
			k.consider(ctx, o.(*api.Image))
		}
	}, func(_ api.View, e api.WatchEvent) {
		if img, ok := e.Object.(*api.Image); ok && e.Type == api.EventPut {
			k.consider(ctx, img)
		}
	})
}

// imports tells whether the image is to be fetched from its URL.
func imports(img *api.Image) bool {
	return img.Spec.SourceURL != "" && img.Status.SHA256 == "" && img.Status.State != api.StateFailed && !img.Deleting()
}

func (k *imageKeeper) consider(ctx context.Context, img *api.Image) {
	if !imports(img) && !img.Deleting() {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if t := k.tasks[img.ID]; t != nil {
		t.again = true
		if img.Deleting() {
			t.cancel()
		}
		return
	}
	k.tasks[img.ID] = &imageTask{again: true, cancel: func() {}}
	k.wg.Go(func() { k.work(ctx, img.ID) })
}

// work does what is to be done about one image until there is nothing more.
func (k *imageKeeper) work(ctx context.Context, id string) {
	for failures := 0; ; {
		sub, ok := k.turn(ctx, id)
		if !ok {
			return
		}
		err := k.do(sub, id)
		if err == nil || sub.Err() != nil {
			failures = 0
			continue
		}
		failures++
		k.b.log.Warn("work on an image failed, and is tried again", "image", id, "err", err)
		c, stop := k.timer(time.Second << min(failures, 6))
		select {
		case <-c:
		case <-sub.Done():
		}
		stop()
		k.mu.Lock()
		k.tasks[id].again = true
		k.mu.Unlock()
	}
}

// turn begins another turn of the image's task, or ends the task.
func (k *imageKeeper) turn(ctx context.Context, id string) (context.Context, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.tasks[id]
	t.cancel()
	if !t.again || ctx.Err() != nil {
		delete(k.tasks, id)
		return nil, false
	}
	t.again = false
	var sub context.Context
	sub, t.cancel = context.WithCancel(ctx)
	return sub, true
}

func (k *imageKeeper) do(ctx context.Context, id string) error {
	v, err := k.b.store.View(ctx, 0)
	if err != nil {
		return err
	}
	switch img := get[*api.Image](v, api.KindImage, id); {
	case img == nil:
		return nil
	case img.Deleting():
		return k.remove(ctx, img)
	case imports(img):
		release, err := k.slot(ctx, img.Project)
		if err != nil {
			return err
		}
		defer release()
		return k.importImage(ctx, img)
	}
	return nil
}

// remove deletes the bytes, if no other image has them, and then the image.
func (k *imageKeeper) remove(ctx context.Context, img *api.Image) error {
	if err := k.b.images.Discard(img.ID); err != nil {
		return fmt.Errorf("remove the upload of %s: %w", img.ID, err)
	}
	if sha := img.Status.SHA256; sha != "" {
		if err := k.b.images.RemoveBlob(sha, k.b.unused(ctx, sha)); err != nil {
			return fmt.Errorf("remove the bytes of %s: %w", img.ID, err)
		}
	}
	seed, err := k.b.entropy.seed()
	if err != nil {
		return err
	}
	_, err = k.b.store.Commit(ctx, func(v *store.View) (c store.Change, err error) {
		now := get[*api.Image](v, api.KindImage, img.ID)
		if now == nil {
			return c, nil
		}
		c.Delete = []api.Object{now}
		c.Events = []*api.Event{eventAbout(now, actorImages, reasonDeleted, "image "+now.Name+" is gone")}
		completeEvents(c.Events, k.b.now().UTC(), newDice(seed))
		return c, nil
	})
	return err
}

const importAttempts = 8

// importImage fetches the image. A connection that breaks is taken up where it
// broke; after some attempts without a byte the image fails.
func (k *imageKeeper) importImage(ctx context.Context, img *api.Image) error {
	if img.Status.State != api.StateImporting {
		if err := k.b.setImage(ctx, img.ID, api.StateImporting, api.Condition{Reason: "Importing", Message: "it is being fetched from its URL"}); err != nil {
			return err
		}
	}
	limit, err := k.b.room(ctx, img)
	if err != nil {
		return err
	}
	t := k.fetch.Transfer(img.Spec.SourceURL)
	for attempt := 1; ; attempt++ {
		before, err := k.b.images.Received(img.ID)
		if err != nil {
			return err
		}
		err = k.fetchOnce(ctx, t, img, before, limit)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if after, e := k.b.images.Received(img.ID); e == nil && after > before {
			attempt = 0
		}
		if permanent(err) || attempt >= importAttempts {
			return k.fail(ctx, img, limit, err)
		}
		k.b.log.Info("an import was interrupted, and goes on", "image", img.ID, "err", err)
		c, stop := k.timer(time.Second << min(attempt, 5))
		select {
		case <-c:
		case <-ctx.Done():
		}
		stop()
	}
	err = k.b.finishImage(ctx, img)
	var refused *images.Refusal
	var p *api.Problem
	if errors.As(err, &refused) || errors.As(err, &p) {
		return nil // its state says so
	}
	return err
}

func (k *imageKeeper) fetchOnce(ctx context.Context, t *images.Transfer, img *api.Image, offset, limit int64) error {
	return t.Fetch(ctx, offset, limit, func(at int64, r io.Reader) error {
		if at != offset {
			if err := k.b.images.Discard(img.ID); err != nil {
				return err
			}
		}
		_, err := k.b.images.Append(img.ID, at, limit, k.b.arriving(ctx, img, at, r))
		return err
	})
}

// permanent tells whether another attempt could not help.
func permanent(err error) bool {
	var refused *images.Refusal
	var status *images.StatusError
	return errors.As(err, &refused) || errors.Is(err, images.ErrTooLarge) ||
		errors.As(err, &status) && status.Status >= 400 && status.Status < 500 && status.Status != 408 && status.Status != 429
}

func (k *imageKeeper) fail(ctx context.Context, img *api.Image, limit int64, err error) error {
	c := api.Condition{Reason: "ImportFailed", Message: "it could not be fetched: " + err.Error()}
	var refused *images.Refusal
	switch {
	case errors.As(err, &refused):
		c.Reason, c.Message = refused.Reason, refused.Message+"; "+refused.Hint
	case errors.Is(err, images.ErrTooLarge):
		c.Reason, c.Message = "TooLarge", fmt.Sprintf("it is larger than the %d bytes that were announced, or that the project's quota leaves", limit)
	}
	return errors.Join(k.b.setImage(ctx, img.ID, api.StateFailed, c), k.b.images.Discard(img.ID))
}
