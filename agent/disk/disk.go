package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/api"
)

// Fetch opens an image's bytes from the offset on.
type Fetch func(ctx context.Context, imageID string, offset int64) (io.ReadCloser, error)

// Store is the disks of one host.
type Store struct {
	layout agent.Layout
	fetch  Fetch

	mu    sync.Mutex
	locks map[string]chan struct{} // by image's SHA-256: one fetch at a time
}

var _ agent.Disks = (*Store)(nil)

// Names of files in an instance's directory beside those of agent.Layout.
const (
	imageNote  = "image"         // the SHA-256 of the image under the root disk
	configNote = "config.digest" // the digest of what is on the config drive
	awayNote   = "away"          // the epoch under which the instance is to run elsewhere, or to come
)

// Open makes the directories of the state directory.
func Open(layout agent.Layout, fetch Fetch) (*Store, error) {
	for _, d := range []string{string(layout), layout.Images(), layout.Instances(), layout.Quarantine()} {
		// QEMU may run as another user: it must be able to pass, not to list.
		if err := os.MkdirAll(d, 0o711); err != nil {
			return nil, fmt.Errorf("make the state directory: %w", err)
		}
	}
	return &Store{layout: layout, fetch: fetch, locks: map[string]chan struct{}{}}, nil
}

// Remove implements agent.Disks.
func (s *Store) Remove(_ context.Context, instance string) error {
	if err := checkID(instance); err != nil {
		return err
	}
	if err := os.RemoveAll(s.layout.Instance(instance)); err != nil {
		return fmt.Errorf("remove the files of %s: %w", instance, err)
	}
	return nil
}

// Observe implements agent.Disks.
func (s *Store) Observe(context.Context) (map[string]agent.DiskState, map[string]bool, error) {
	instances, images := map[string]agent.DiskState{}, map[string]bool{}
	dirs, err := os.ReadDir(s.layout.Instances())
	if err != nil {
		return nil, nil, fmt.Errorf("list the instances' files: %w", err)
	}
	for _, d := range dirs {
		if d.IsDir() && checkID(d.Name()) == nil {
			instances[d.Name()] = s.state(d.Name())
		}
	}
	files, err := os.ReadDir(s.layout.Images())
	if err != nil {
		return nil, nil, fmt.Errorf("list the image cache: %w", err)
	}
	for _, f := range files {
		sha, format, ok := strings.Cut(f.Name(), ".")
		if ok && isSHA256(sha) && (format == "qcow2" || format == "raw") {
			images[sha] = true
		}
	}
	return instances, images, nil
}

func (s *Store) state(instance string) agent.DiskState {
	var d agent.DiskState
	dir := s.layout.Instance(instance)
	if exists(s.layout.Root(instance, api.HostImage{}).Path) {
		d.Root = true
		d.Image = note(filepath.Join(dir, imageNote))
		d.Away, _ = strconv.ParseInt(note(filepath.Join(dir, awayNote)), 10, 64)
	}
	if exists(s.layout.ConfigDrive(instance)) {
		d.ConfigDigest = note(filepath.Join(dir, configNote))
	}
	return d
}

func note(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// room fails when the file system has less than so many bytes free.
func room(dir string, bytes int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("free space of %s: %w", dir, err)
	}
	free := int64(st.Bavail) * st.Bsize
	if free < bytes {
		return fmt.Errorf("the host's disk has %d MiB free and %d MiB are needed; free some, or raise the host's disk reserve", free>>20, bytes>>20)
	}
	return nil
}

// writeWhole puts a file in its place in one step.
func writeWhole(path string, mode fs.FileMode, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// checkID keeps an ID from leading out of the directory of instances.
func checkID(id string) error {
	if id == "" || len(id) > 64 {
		return fmt.Errorf("%q is not an instance's ID", id)
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return fmt.Errorf("%q is not an instance's ID", id)
		}
	}
	return nil
}

func isSHA256(s string) bool {
	if len(s) != 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
