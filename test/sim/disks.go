package sim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/api"
)

type disks struct{ driver }

var errFull = errors.New("no space left on device")

// call fails while the disk is full.
func (k disks) write(ctx context.Context, format string, args ...any) error {
	err := k.call(ctx, format, args...)
	if err == nil && k.w.faultOn(Full, k.name) {
		err = errFull
	}
	return err
}

// FetchImage implements agent.Disks.
func (k disks) FetchImage(ctx context.Context, i api.HostImage) error {
	err := func() error {
		body, err := k.cp.ImageData(ctx, "", i.ID, 0)
		if err != nil {
			return err
		}
		defer func() { _ = body.Close() }() // it was read
		b, err := io.ReadAll(body)
		if sum := sha256.Sum256(b); err == nil && hex.EncodeToString(sum[:]) != i.SHA256 {
			err = errors.New("these are other bytes")
		}
		return err
	}()
	if err != nil {
		return err
	}
	err = k.write(ctx, "fetch %s", i.ID)
	defer k.mu.Unlock()
	if err == nil {
		k.images[i.SHA256] = true
	}
	return err
}

// NoteAway implements agent.Disks.
func (k disks) NoteAway(ctx context.Context, id string, epoch int64) error {
	err := k.write(ctx, "away %s", id)
	defer k.mu.Unlock()
	if s, ok := k.disks[id]; ok && err == nil {
		s.Away = epoch
		k.disks[id] = s
	}
	return err
}

// CreateRoot implements agent.Disks.
func (k disks) CreateRoot(ctx context.Context, i api.HostInstance) error {
	err := k.write(ctx, "root %s", i.ID)
	defer k.mu.Unlock()
	if err == nil && !k.images[i.Image.SHA256] {
		err = errors.New("no image")
	}
	if err == nil {
		s := k.disks[i.ID]
		s.Root, s.Image = true, i.Image.SHA256
		if i.Incoming != nil {
			s.Away = i.Epoch
		}
		k.disks[i.ID] = s
	}
	return err
}

// WriteConfigDrive implements agent.Disks.
func (k disks) WriteConfigDrive(ctx context.Context, id, digest string, _ map[string][]byte) error {
	err := k.write(ctx, "config %s", id)
	defer k.mu.Unlock()
	if err == nil {
		s := k.disks[id]
		s.ConfigDigest = digest
		k.disks[id] = s
	}
	return err
}

// Remove implements agent.Disks.
func (k disks) Remove(ctx context.Context, id string) error {
	err := k.call(ctx, "remove %s", id)
	defer k.mu.Unlock()
	if err == nil && k.w.mutant == MutantHoarder {
		err = errors.New("the disk does not let go")
	}
	if err == nil {
		delete(k.disks, id)
	}
	return err
}

// RemoveImage implements agent.Disks.
func (k disks) RemoveImage(ctx context.Context, sha string) error {
	err := k.call(ctx, "remove image")
	defer k.mu.Unlock()
	if err == nil {
		delete(k.images, sha)
	}
	return err
}

// Orphans implements agent.Disks.
func (k disks) Orphans(context.Context) (map[string]agent.Orphan, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.orphans), nil
}

// NoteOrphan implements agent.Disks.
func (k disks) NoteOrphan(ctx context.Context, o agent.Orphan) error {
	err := k.write(ctx, "note orphan %s", o.ID)
	defer k.mu.Unlock()
	if _, noted := k.orphans[o.ID]; err == nil && !noted {
		k.orphans[o.ID] = o
	}
	if err == nil && k.w.mutant == MutantReaper {
		delete(k.disks, o.Instance)
	}
	return err
}

// SetAside implements agent.Disks.
func (k disks) SetAside(ctx context.Context, o agent.Orphan) error {
	err := k.call(ctx, "set aside %s", o.ID)
	defer k.mu.Unlock()
	if d, there := k.disks[o.Instance]; err == nil && there {
		delete(k.orphans, o.ID)
		o.ID, o.Aside, o.Image = fmt.Sprintf("%s-%d", o.Instance, o.Epoch), true, d.Image
		k.orphans[o.ID] = o
		delete(k.disks, o.Instance)
	}
	return err
}

// ForgetOrphan implements agent.Disks.
func (k disks) ForgetOrphan(ctx context.Context, id string) error {
	err := k.call(ctx, "forget orphan %s", id)
	defer k.mu.Unlock()
	if err == nil {
		delete(k.orphans, id)
	}
	return err
}

// TrimLogs implements agent.Disks.
func (k disks) TrimLogs(context.Context) error { return nil }

// Observe implements agent.Disks.
func (k disks) Observe(ctx context.Context) (map[string]agent.DiskState, map[string]bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.disks), maps.Clone(k.images), nil
}
