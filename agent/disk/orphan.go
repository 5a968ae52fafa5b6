package disk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/agent"
)

// Names in an orphan's directory.
const (
	historyFile = "history.json"
	asideDir    = "files" // what was the instance's directory
)

// Orphans implements agent.Disks.
func (s *Store) Orphans(context.Context) (map[string]agent.Orphan, error) {
	dirs, err := os.ReadDir(s.layout.Quarantine())
	if err != nil {
		return nil, fmt.Errorf("list the quarantine: %w", err)
	}
	out := map[string]agent.Orphan{}
	for _, d := range dirs {
		if !d.IsDir() || checkOrphan(d.Name()) != nil {
			continue
		}
		o, err := s.orphan(d.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was just being made, or removed; either is done again
		}
		if err != nil {
			return nil, err
		}
		out[o.ID] = o
	}
	return out, nil
}

func (s *Store) orphan(id string) (o agent.Orphan, err error) {
	dir := filepath.Join(s.layout.Quarantine(), id)
	b, err := os.ReadFile(filepath.Join(dir, historyFile))
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return o, fmt.Errorf("read the history of orphan %s: %w (remove %s if it is damaged)", id, err, dir)
	}
	o.ID, o.Path = id, s.layout.Instance(o.Instance)
	if aside := filepath.Join(dir, asideDir); exists(aside) {
		o.Aside, o.Path, o.Image = true, aside, note(filepath.Join(aside, imageNote))
	}
	o.DiskMiB = (used(o.Path) + 1<<20 - 1) >> 20
	return o, nil
}

// used is the room that the files of a directory take, in bytes.
func used(dir string) (sum int64) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, f := range files {
		var st unix.Stat_t
		if unix.Lstat(filepath.Join(dir, f.Name()), &st) == nil {
			sum += st.Blocks * 512
		}
	}
	return sum
}

// NoteOrphan implements agent.Disks.
func (s *Store) NoteOrphan(_ context.Context, o agent.Orphan) error {
	if err := checkID(o.ID); err != nil {
		return err
	}
	dir := filepath.Join(s.layout.Quarantine(), o.ID)
	if exists(filepath.Join(dir, historyFile)) {
		return nil
	}
	return s.writeHistory(dir, o)
}

func (s *Store) writeHistory(dir string, o agent.Orphan) error {
	b, err := json.MarshalIndent(o, "", "  ")
	if err == nil {
		if err = os.MkdirAll(dir, 0o700); err == nil {
			err = writeWhole(filepath.Join(dir, historyFile), 0o600, b)
		}
	}
	if err != nil {
		return fmt.Errorf("note orphan %s: %w", o.ID, err)
	}
	return nil
}

// SetAside implements agent.Disks. The history is written first, so that files
// are never there without it.
func (s *Store) SetAside(ctx context.Context, o agent.Orphan) error {
	if err := checkID(o.Instance); err != nil {
		return err
	}
	from := s.layout.Instance(o.Instance)
	if !exists(from) {
		return s.ForgetOrphan(ctx, o.Instance)
	}
	o.ID = fmt.Sprintf("%s-%d", o.Instance, o.Epoch)
	for n := 2; exists(filepath.Join(s.layout.Quarantine(), o.ID, asideDir)); n++ {
		o.ID = fmt.Sprintf("%s-%d-%d", o.Instance, o.Epoch, n) // it was here under the same epoch before
	}
	dir := filepath.Join(s.layout.Quarantine(), o.ID)
	if err := s.writeHistory(dir, o); err != nil {
		return err
	}
	if err := os.Rename(from, filepath.Join(dir, asideDir)); err != nil {
		return fmt.Errorf("set the files of %s aside: %w", o.Instance, err)
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	return s.ForgetOrphan(ctx, o.Instance) // that they are in their place
}

// ForgetOrphan implements agent.Disks. The history goes last.
func (s *Store) ForgetOrphan(_ context.Context, id string) error {
	if err := checkOrphan(id); err != nil {
		return err
	}
	dir := filepath.Join(s.layout.Quarantine(), id)
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, asideDir)), os.RemoveAll(dir)); err != nil {
		return fmt.Errorf("remove orphan %s: %w", id, err)
	}
	return nil
}

// checkOrphan keeps an orphan's ID from leading out of the quarantine.
func checkOrphan(id string) error {
	return checkID(strings.ReplaceAll(id, "-", "_"))
}
