package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/images"
	"github.com/cairn-cloud/cairn/controller/store"
)

const actorImages = "controller/image"

// Upload implements rest.Backend.
func (b *Backend) Upload(ctx context.Context, image *api.Image, offset int64, complete bool, r io.Reader) (int64, error) {
	img, err := b.uploadable(ctx, image)
	if err != nil {
		return 0, err
	}
	limit, err := b.room(ctx, img)
	if err != nil {
		return 0, err
	}
	if img.Status.State != api.StateUploading {
		if err := b.setImage(ctx, img.ID, api.StateUploading, api.Condition{Reason: "Uploading", Message: "its bytes are being uploaded"}); err != nil {
			return 0, err
		}
	}
	received, err := b.images.Append(img.ID, offset, limit, b.arriving(ctx, img, offset, r))
	if err != nil {
		return received, uploadProblem(img, limit, err)
	}
	if !complete {
		return received, nil
	}
	if err := b.finishImage(ctx, img); err != nil {
		return received, refusedProblem(img, err)
	}
	return received, nil
}

// uploadable finds the image as it is now, if bytes of it may come.
func (b *Backend) uploadable(ctx context.Context, image *api.Image) (*api.Image, error) {
	v, err := b.store.View(ctx, 0)
	if err != nil {
		return nil, err
	}
	img := get[*api.Image](v, api.KindImage, image.ID)
	switch {
	case img == nil:
		return nil, api.NotFound(api.KindImage, image.Name)
	case img.Deleting():
		return nil, api.NewProblem(409, "being_deleted", "", "make a new image", "the image %s is being deleted", img.Name)
	case img.Spec.SourceURL != "":
		return nil, api.NewProblem(409, "image_is_imported", "spec.source_url", "make an image without source_url to upload one", "the image %s is imported from a URL", img.Name)
	case img.Status.SHA256 != "":
		return nil, api.NewProblem(409, "image_complete", "status.state", "make another image", "the image %s has its bytes, and they never change", img.Name)
	}
	return img, nil
}

// recheck is after how many bytes it is asked again whether there is room.
const recheck = 16 << 20

// arriving reads the bytes of an image on their way. It ends when the image is to
// be deleted, which must not wait for whoever sends, and when others have used the room
// that its project had.
func (b *Backend) arriving(ctx context.Context, img *api.Image, at int64, r io.Reader) io.Reader {
	asked := at - recheck
	return readerFunc(func(p []byte) (int, error) {
		v, err := b.store.View(ctx, 0)
		if err != nil {
			return 0, err
		}
		if now := get[*api.Image](v, api.KindImage, img.ID); now == nil || now.Deleting() {
			return 0, api.NewProblem(409, "being_deleted", "", "make a new image", "the image %s is being deleted", img.Name)
		}
		if at-asked >= recheck {
			asked = at
			if limit, err := b.room(ctx, img); err != nil || at > limit {
				return 0, cmp.Or(err, images.ErrTooLarge)
			}
			if err := b.images.Spacious(); err != nil {
				return 0, err
			}
		}
		n, err := r.Read(p)
		at += int64(n)
		return n, err
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// room is how many bytes the image may have: what was announced and counted
// already, or else what its project's quota leaves, less what others that were not
// announced either have on the disk.
func (b *Backend) room(ctx context.Context, img *api.Image) (int64, error) {
	if img.Spec.SizeBytes > 0 {
		return img.Spec.SizeBytes, nil
	}
	v, err := b.store.View(ctx, 0)
	if err != nil {
		return 0, err
	}
	p := get[*api.Project](v, api.KindProject, img.Project)
	if p == nil {
		return 0, api.NotFound(api.KindProject, img.Project)
	}
	left := min(p.Spec.Quota.ImageGiB-v.Used(api.QuotaKey(p.ID))["image_gib"], images.MaxVirtualSize>>30) << 30
	for o := range v.List(api.KindImage, img.Project, "") {
		if other := o.(*api.Image); other.ID != img.ID && other.Spec.SizeBytes == 0 {
			n, err := b.images.Received(other.ID)
			if err != nil {
				return 0, err
			}
			left -= n
		}
	}
	return max(0, left), nil
}

func uploadProblem(img *api.Image, limit int64, err error) error {
	var at *images.OffsetError
	switch {
	case errors.As(err, &at):
		return api.NewProblem(409, "upload_offset_mismatch", "Upload-Offset", fmt.Sprintf("continue at %d", at.At), "%s", at)
	case errors.Is(err, images.ErrBusy):
		return api.NewProblem(409, "upload_busy", "", "wait until it has ended, then ask by HEAD how much has arrived", "another upload of the image %s is under way", img.Name)
	case errors.Is(err, images.ErrTooLarge) && img.Spec.SizeBytes > 0:
		return api.NewProblem(422, "image_refused", "spec.size_bytes", "make the image again with the right size", "more than the %d bytes came that were announced for the image %s", limit, img.Name)
	case errors.Is(err, images.ErrTooLarge):
		return api.NewProblem(409, "quota_exceeded", "spec.size_bytes", "delete images, or ask a cloud administrator to raise the quota", "the project's quota leaves %d bytes for the image %s, and more came", limit, img.Name)
	}
	if errors.Is(err, images.ErrNoSpace) {
		return api.NewProblem(503, "unavailable", "", "a cloud administrator has to make room on the controller's disk; then go on", "the disk of this controller is full")
	}
	var p *api.Problem
	if errors.As(err, &p) {
		return p
	}
	return fmt.Errorf("upload of the image %s: %w", img.ID, err)
}

// refusedProblem turns the refusal of an image's bytes into a problem.
func refusedProblem(img *api.Image, err error) error {
	var r *images.Refusal
	if !errors.As(err, &r) {
		return err
	}
	field := map[string]string{"WrongSize": "spec.size_bytes", "WrongChecksum": "spec.sha256"}[r.Reason]
	return api.NewProblem(422, "image_refused", field, r.Hint, "the image %s is refused (%s): %s", img.Name, r.Reason, r.Message)
}

// finishImage judges the bytes that came and makes the image ready, or failed.
func (b *Backend) finishImage(ctx context.Context, img *api.Image) error {
	info, err := b.images.Finish(ctx, img.ID, images.Expected{SHA256: img.Spec.SHA256, SizeBytes: img.Spec.SizeBytes}, func(info images.Info) error {
		return b.imageReady(ctx, img.ID, info)
	})
	if err == nil {
		return nil
	}
	if info.SHA256 != "" { // stored, and then refused by the quota or deleted meanwhile
		err = errors.Join(err, b.images.RemoveBlob(info.SHA256, b.unused(ctx, info.SHA256)))
	}
	var r *images.Refusal
	var p *api.Problem
	switch {
	case errors.As(err, &r):
		return errors.Join(err, b.setImage(ctx, img.ID, api.StateFailed, api.Condition{Reason: r.Reason, Message: r.Message + "; " + r.Hint}))
	case errors.As(err, &p) && p.Code == "quota_exceeded":
		return errors.Join(err, b.setImage(ctx, img.ID, api.StateFailed, api.Condition{Reason: "QuotaExceeded", Message: p.Detail}))
	}
	return err
}

// imageReady writes what the bytes are, and counts their size.
func (b *Backend) imageReady(ctx context.Context, id string, info images.Info) error {
	return b.commitImage(ctx, id, func(a *admission, img *api.Image) error {
		n := imageStatus(img, api.StateReady, api.Condition{OK: true, Reason: "Ready", Since: a.now})
		n.Status.Format, n.Status.SHA256, n.Status.SizeBytes, n.Status.VirtualSizeBytes = info.Format, info.SHA256, info.SizeBytes, info.VirtualSizeBytes
		n.Status.ReceivedBytes = info.SizeBytes
		if n.Spec.SizeBytes != info.SizeBytes {
			n.Spec.SizeBytes = info.SizeBytes
			a.update(img, n)
			n.Status.ObservedGeneration = n.Generation
		}
		a.change.Status = append(a.change.Status, n)
		a.event(n, "Ready", "the image %s is ready: %s, a disk of %d bytes", n.Name, info.Format, info.VirtualSizeBytes)
		return nil
	})
}

// setImage writes the state of an image whose bytes are not there.
func (b *Backend) setImage(ctx context.Context, id string, state api.State, c api.Condition) error {
	return b.commitImage(ctx, id, func(a *admission, img *api.Image) error {
		c.Since = a.now
		n := imageStatus(img, state, c)
		a.change.Status = append(a.change.Status, n)
		if state == api.StateFailed {
			a.change.Events = append(a.change.Events, warning(eventAbout(n, actorImages, "Failed", c.Message)))
		}
		return nil
	})
}

func (b *Backend) commitImage(ctx context.Context, id string, decide func(*admission, *api.Image) error) error {
	seed, err := b.entropy.seed()
	if err != nil {
		return err
	}
	_, err = b.store.Commit(ctx, func(v *store.View) (store.Change, error) {
		a := &admission{view: v, now: b.now().UTC(), dice: newDice(seed), who: api.Principal{Actor: actorImages}}
		img := get[*api.Image](v, api.KindImage, id)
		if img == nil || img.Deleting() {
			return store.Change{}, api.NotFound(api.KindImage, id)
		}
		if err := decide(a, img); err != nil {
			return store.Change{}, err
		}
		if err := a.judge(); err != nil {
			return store.Change{}, err
		}
		completeEvents(a.change.Events, a.now, a.dice)
		return a.change, nil
	})
	return err
}

// unused tells whether no image that stays has these bytes.
func (b *Backend) unused(ctx context.Context, sha string) func() (bool, error) {
	return func() (bool, error) {
		v, err := b.store.View(ctx, 0)
		if err != nil {
			return false, err
		}
		for o := range v.List(api.KindImage, "", "") {
			if img := o.(*api.Image); img.Status.SHA256 == sha && !img.Deleting() {
				return false, nil
			}
		}
		return true, nil
	}
}

// Received implements rest.Backend.
func (b *Backend) Received(_ context.Context, image *api.Image) (int64, error) {
	return b.images.Received(image.ID)
}

// Blob implements rest.Backend.
func (b *Backend) Blob(_ context.Context, image *api.Image) (io.ReadSeekCloser, error) {
	f, err := b.images.Blob(image.Status.SHA256)
	if errors.Is(err, images.ErrNoBlob) {
		return nil, api.NewProblem(503, "image_bytes_missing", "", "ask another controller, or restore its data directory", "the bytes of the image %s are not on this controller", image.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("open the bytes of the image %s: %w", image.ID, err)
	}
	return f, nil
}
