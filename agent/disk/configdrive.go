package disk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

// volumeLabel is by what cloud-init finds the drive.
const volumeLabel = "cidata"

// isoBlock is the size of a block of ISO 9660, in bytes.
const isoBlock = 2048

// WriteConfigDrive implements agent.Disks: an ISO 9660 file system with Rock
// Ridge and Joliet names. A running guest keeps the old one until it starts anew.
func (s *Store) WriteConfigDrive(_ context.Context, instance, digest string, files map[string][]byte) error {
	if err := s.makeDir(instance); err != nil {
		return err
	}
	iso := s.layout.ConfigDrive(instance)
	noteFile := filepath.Join(s.layout.Instance(instance), configNote)
	// The old digest goes first: with a new drive and an old digest, or none, it is written again.
	if err := removeIfThere(noteFile); err != nil {
		return fmt.Errorf("config drive of %s: %w", instance, err)
	}
	part := iso + ".part"
	err := errors.Join(removeIfThere(part), writeISO(part, files))
	if err == nil {
		err = os.Rename(part, iso)
	}
	if err == nil {
		err = writeWhole(noteFile, 0o600, []byte(digest+"\n"))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("config drive of %s: %w", instance, err), removeIfThere(part))
	}
	return nil
}

func writeISO(to string, files map[string][]byte) (err error) {
	size := int64(0)
	for name, b := range files {
		if !filepath.IsLocal(name) {
			return fmt.Errorf("%q is not the name of a file on the drive", name)
		}
		size += int64(len(b)) + isoBlock
	}
	size = (size/isoBlock + 512) * isoBlock // and room for its tables
	f, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	// The library gathers the files in a folder first; they hold secrets, so it
	// is one of ours and goes in any case.
	work, err := os.MkdirTemp(filepath.Dir(to), ".iso-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	disk, err := iso9660.Create(file.New(f, false), size, 0, isoBlock, work)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := addFile(disk, name, files[name]); err != nil {
			return fmt.Errorf("file %s: %w", name, err)
		}
	}
	return disk.Finalize(iso9660.FinalizeOptions{RockRidge: true, Joliet: true, VolumeIdentifier: volumeLabel})
}

func addFile(disk *iso9660.FileSystem, name string, content []byte) error {
	if dir := path.Dir(name); dir != "." {
		if err := disk.Mkdir(dir); err != nil {
			return err
		}
	}
	f, err := disk.OpenFile(name, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}
