package disk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/cairn-cloud/cairn/api"
)

// spare is what must stay free beside an image, in bytes.
const spare = 64 << 20

// FetchImage implements agent.Disks. Bytes arrive in a file beside the cache
// that outlives a failure and the agent, so a fetch goes on where it broke off.
func (s *Store) FetchImage(ctx context.Context, i api.HostImage) error {
	if !isSHA256(i.SHA256) || (i.Format != "qcow2" && i.Format != "raw") {
		return fmt.Errorf("image %s: SHA-256 %q and format %q are not those of an image", i.ID, i.SHA256, i.Format)
	}
	unlock, err := s.lock(ctx, i.SHA256)
	if err != nil {
		return err
	}
	defer unlock()
	if exists(s.layout.Image(i)) {
		return nil
	}
	if err := s.receive(ctx, i); err != nil {
		return fmt.Errorf("fetch image %s: %w", i.ID, err)
	}
	return nil
}

// lock lets one fetch of an image run at a time; the others wait, and find it there.
func (s *Store) lock(ctx context.Context, sha string) (unlock func(), err error) {
	s.mu.Lock()
	l, ok := s.locks[sha]
	if !ok {
		l = make(chan struct{}, 1)
		s.locks[sha] = l
	}
	s.mu.Unlock()
	select {
	case l <- struct{}{}:
		return func() { <-l }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Store) receive(ctx context.Context, i api.HostImage) error {
	part := filepath.Join(s.layout.Images(), i.SHA256+"."+i.Format+".part")
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	hash := sha256.New()
	have, err := io.Copy(hash, f)
	if err != nil {
		return fmt.Errorf("read what has arrived: %w", err)
	}
	if have < i.SizeBytes || have == 0 {
		if err := room(s.layout.Images(), i.SizeBytes-have+spare); err != nil {
			return err
		}
		n, err := s.rest(ctx, io.MultiWriter(f, hash), i, have)
		have += n
		if err != nil {
			return fmt.Errorf("after %d of %d bytes: %w", have, i.SizeBytes, err)
		}
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != i.SHA256 || have != i.SizeBytes {
		// The bytes are wrong, so going on from them is too.
		return errors.Join(fmt.Errorf("its %d bytes have the SHA-256 %s, not %d bytes with %s", have, got, i.SizeBytes, i.SHA256), os.Remove(part))
	}
	if err := errors.Join(f.Chmod(0o444), f.Sync()); err != nil {
		return err
	}
	if err := os.Rename(part, s.layout.Image(i)); err != nil {
		return err
	}
	return syncDir(s.layout.Images())
}

func (s *Store) rest(ctx context.Context, to io.Writer, i api.HostImage, from int64) (int64, error) {
	r, err := s.fetch(ctx, i.ID, from)
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	// One byte more than there should be is enough to know that it is wrong.
	return io.Copy(to, io.LimitReader(r, i.SizeBytes-from+1))
}

// RemoveImage implements agent.Disks.
func (s *Store) RemoveImage(ctx context.Context, sha string) error {
	unlock, err := s.lock(ctx, sha)
	if err != nil {
		return err
	}
	defer unlock()
	files, err := os.ReadDir(s.layout.Images())
	if err != nil {
		return fmt.Errorf("remove image %s: %w", sha, err)
	}
	for _, f := range files {
		if name, _, _ := strings.Cut(f.Name(), "."); name == sha {
			if err := os.Remove(filepath.Join(s.layout.Images(), f.Name())); err != nil {
				return fmt.Errorf("remove image %s: %w", sha, err)
			}
		}
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
