package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cairn-cloud/cairn/api"
)

// CreateRoot implements agent.Disks. A disk that exists is never touched: it
// holds a guest's data.
func (s *Store) CreateRoot(ctx context.Context, i api.HostInstance) error {
	if err := s.makeDir(i.ID); err != nil {
		return err
	}
	disk := s.layout.Root(i.ID, i.Image)
	if exists(disk.Path) {
		return nil
	}
	size := i.Size.DiskGiB << 30
	if i.Image.VirtualSizeBytes > size {
		return fmt.Errorf("root disk of %s: its image needs %d bytes and the instance type gives %d GiB; choose a larger instance type", i.ID, i.Image.VirtualSizeBytes, i.Size.DiskGiB)
	}
	if !exists(disk.Backing.Path) {
		return fmt.Errorf("root disk of %s: image %s is not in the cache yet", i.ID, i.Image.ID)
	}
	if err := room(s.layout.Instances(), spare); err != nil {
		return fmt.Errorf("root disk of %s: %w", i.ID, err)
	}
	// What the disk stands on is noted before it exists, so that its image is never collected.
	if err := writeWhole(filepath.Join(s.layout.Instance(i.ID), imageNote), 0o600, []byte(i.Image.SHA256+"\n")); err != nil {
		return fmt.Errorf("root disk of %s: %w", i.ID, err)
	}
	if i.Incoming != nil {
		if err := s.NoteAway(ctx, i.ID, i.Epoch); err != nil {
			return err
		}
	}
	part := disk.Path + ".part"
	cmd := exec.CommandContext(ctx, "qemu-img", "create", "-q", "-f", disk.Format,
		"-b", disk.Backing.Path, "-F", disk.Backing.Format, part, strconv.FormatInt(size, 10))
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return errors.Join(fmt.Errorf("root disk of %s: qemu-img: %w: %s", i.ID, err, strings.TrimSpace(said.String())), removeIfThere(part))
	}
	if err := errors.Join(os.Chmod(part, 0o600), os.Rename(part, disk.Path)); err != nil {
		return fmt.Errorf("root disk of %s: %w", i.ID, err)
	}
	return nil
}

func (s *Store) makeDir(instance string) error {
	if err := checkID(instance); err != nil {
		return err
	}
	if err := os.MkdirAll(s.layout.Instance(instance), 0o711); err != nil {
		return fmt.Errorf("directory of %s: %w", instance, err)
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// NoteAway implements agent.Disks.
func (s *Store) NoteAway(_ context.Context, instance string, epoch int64) (err error) {
	path := filepath.Join(s.layout.Instance(instance), awayNote)
	if epoch != 0 {
		err = writeWhole(path, 0o600, fmt.Appendf(nil, "%d\n", epoch))
	} else if err = os.Remove(path); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("note where %s is: %w", instance, err)
	}
	return nil
}
