package backup

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/cairn-cloud/cairn/controller/pki"
	"github.com/cairn-cloud/cairn/controller/store"
)

// The files in a backup.
const (
	caFile       = "ca.pem"
	snapshotFile = "etcd.db"
	infoFile     = "backup.json" // the last: with it the backup is whole
)

// format is the version of the file.
const format = 1

// Info says what a backup is.
type Info struct {
	Format int               `json:"format"`
	Time   time.Time         `json:"time"`
	SHA256 map[string]string `json:"sha256"` // by file
}

// Write writes a backup. It need not be able to seek.
func Write(w io.Writer, now time.Time, ca []byte, snapshot func(io.Writer) error) error {
	z := zip.NewWriter(w)
	info := Info{Format: format, Time: now.UTC().Truncate(time.Second), SHA256: map[string]string{}}
	add := func(name string, content func(io.Writer) error) error {
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: info.Time})
		if err != nil {
			return err
		}
		sum := sha256.New()
		if err := content(io.MultiWriter(f, sum)); err != nil {
			return err
		}
		info.SHA256[name] = hex.EncodeToString(sum.Sum(nil))
		return nil
	}
	err := add(caFile, func(w io.Writer) error { _, err := w.Write(ca); return err })
	if err == nil {
		err = add(snapshotFile, snapshot)
	}
	if err == nil {
		var f io.Writer
		if f, err = z.CreateHeader(&zip.FileHeader{Name: infoFile, Method: zip.Deflate, Modified: info.Time}); err == nil {
			err = json.NewEncoder(f).Encode(info)
		}
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return fmt.Errorf("write a backup: %w", err)
	}
	return nil
}

// Verify reads a backup and compares its checksums.
func Verify(path string) (Info, error) {
	return read(path, func(_ string, r io.Reader) error { _, err := io.Copy(io.Discard, r); return err })
}

// read hands each file of a backup to take, and then demands that it was whole.
func read(path string, take func(name string, r io.Reader) error) (info Info, err error) {
	z, err := zip.OpenReader(path)
	if err != nil {
		return info, fmt.Errorf("read the backup %s: it is none, or it is not whole: %w", path, err)
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	b, err := readAll(&z.Reader, infoFile)
	if err == nil {
		err = json.Unmarshal(b, &info)
	}
	if err != nil {
		return info, fmt.Errorf("read the backup %s: it is no backup of Cairn's: %w", path, err)
	}
	if info.Format != format {
		return info, fmt.Errorf("read the backup %s: it is of the format %d, and this binary knows %d", path, info.Format, format)
	}
	for _, name := range []string{caFile, snapshotFile} {
		f, err := z.Open(name)
		if err != nil {
			return info, fmt.Errorf("read the backup %s: %w", path, err)
		}
		sum := sha256.New()
		err = errors.Join(take(name, io.TeeReader(f, sum)), f.Close())
		if err != nil {
			return info, fmt.Errorf("read %s of the backup %s: %w", name, path, err)
		}
		if is := hex.EncodeToString(sum.Sum(nil)); is != info.SHA256[name] {
			return info, fmt.Errorf("read %s of the backup %s: its SHA-256 is %s and should be %s: the backup is damaged", name, path, is, info.SHA256[name])
		}
	}
	return info, nil
}

func readAll(z *zip.Reader, name string) ([]byte, error) {
	f, err := z.Open(name)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	return b, errors.Join(err, f.Close())
}

// Restore makes the data directory of a single controller from a backup. Where
// data of a store is in it already, nothing is done. The store is held: see store.Hold.
func Restore(ctx context.Context, path, data string, o store.Options) (info Info, err error) {
	if (store.Embedded{Dir: filepath.Join(data, "etcd")}).Exists() {
		return info, fmt.Errorf("restore %s: there is a store in %s already, and nothing is restored over one", path, data)
	}
	if err := os.MkdirAll(data, 0o755); err != nil {
		return info, fmt.Errorf("restore %s: %w", path, err)
	}
	db, err := os.CreateTemp(data, ".restore-*")
	if err != nil {
		return info, fmt.Errorf("restore %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, db.Close(), os.Remove(db.Name())) }()
	var ca []byte
	info, err = read(path, func(name string, r io.Reader) (err error) {
		if name == caFile {
			ca, err = io.ReadAll(r)
			return err
		}
		_, err = io.Copy(db, r)
		return err
	})
	if err != nil {
		return info, err
	}
	if err := pki.Import(filepath.Join(data, "pki"), ca); err != nil {
		return info, err
	}
	return info, store.Restore(ctx, db.Name(), filepath.Join(data, "etcd"), o)
}
