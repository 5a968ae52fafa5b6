package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Store keeps images in <dir>/images/<sha256>, and uploads under way in
// <dir>/uploads/<image ID>. It is safe for concurrent use within one process.
type Store struct {
	dir   string
	check Checker

	mu   sync.Mutex
	busy map[string]bool // uploads that somebody writes now
	// blobs is held while a blob gets its name and its image is told of it, and
	// while one is removed, so that a blob is not removed between the two.
	blobs sync.Mutex
}

// Checker is a second look at a file whose format is known.
type Checker func(ctx context.Context, path, format string) error

// Errors that callers tell apart.
var (
	ErrBusy     = errors.New("another upload of the image is under way")
	ErrTooLarge = errors.New("more bytes came than may come")
	ErrNoBlob   = errors.New("the bytes are not there")
	ErrNoSpace  = errors.New("the disk of the image store is full")
)

// OffsetError says where an upload stands, when it was continued elsewhere.
type OffsetError struct{ At, Given int64 }

// Error implements error.
func (e *OffsetError) Error() string {
	return fmt.Sprintf("the upload stands at %d, not at %d", e.At, e.Given)
}

// Open makes the directories. check may be nil.
func Open(dir string, check Checker) (*Store, error) {
	s := &Store{dir: dir, check: check, busy: map[string]bool{}}
	for _, d := range []string{s.blobPath(""), s.uploadPath("")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("open the image store: %w", err)
		}
	}
	return s, nil
}

func (s *Store) blobPath(sha string) string  { return filepath.Join(s.dir, "images", sha) }
func (s *Store) uploadPath(id string) string { return filepath.Join(s.dir, "uploads", id) }

// safe refuses names that would leave the directory. IDs and digests never do.
func safe(name string) error {
	if name == "" || strings.ContainsAny(name, `/\`) || strings.HasPrefix(name, ".") {
		return fmt.Errorf("%q cannot be the name of a file", name)
	}
	return nil
}

// Received tells how much of an upload is there.
func (s *Store) Received(id string) (int64, error) {
	if err := safe(id); err != nil {
		return 0, err
	}
	st, err := os.Stat(s.uploadPath(id))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("upload of %s: %w", id, err)
	}
	return st.Size(), nil
}

// hold makes the caller the only one who writes the upload.
func (s *Store) hold(id string) (release func(), err error) {
	if err := safe(id); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[id] {
		return nil, ErrBusy
	}
	s.busy[id] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.busy, id)
	}, nil
}

// Append writes r at the end of the upload, which must be at offset; no more
// than limit bytes in all. It returns how much is there; what came before r failed
// is kept.
func (s *Store) Append(id string, offset, limit int64, r io.Reader) (received int64, err error) {
	release, err := s.hold(id)
	if err != nil {
		return 0, err
	}
	defer release()
	f, err := os.OpenFile(s.uploadPath(id), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, fmt.Errorf("upload of %s: %w", id, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	at, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, fmt.Errorf("upload of %s: %w", id, err)
	}
	if at != offset {
		return at, &OffsetError{At: at, Given: offset}
	}
	n, err := io.Copy(f, io.LimitReader(r, limit-at+1))
	if at+n > limit {
		err = errors.Join(ErrTooLarge, f.Truncate(limit))
		n = limit - at
	}
	if e := f.Sync(); err == nil && e != nil {
		err = fmt.Errorf("upload of %s: %w", id, e)
	}
	return at + n, err
}

// spare is what images leave of their disk: the control plane's own records may
// be on it, and a tenant must not stop it by an upload.
const spare = 1 << 30

// Spacious tells whether there is room for more, or ErrNoSpace.
func (s *Store) Spacious() error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &st); err != nil {
		return fmt.Errorf("look at the disk of the image store: %w", err)
	}
	if free, all := int64(st.Bavail)*st.Bsize, int64(st.Blocks)*st.Bsize; free < min(spare, all/20) {
		return ErrNoSpace
	}
	return nil
}

// Expected is what an image was said to be; zero values are not checked.
type Expected struct {
	SHA256    string
	SizeBytes int64
}

// Finish judges a complete upload and stores it, and calls done with what it is
// before anybody can remove it. Refused bytes are removed; the error is then a *Refusal.
func (s *Store) Finish(ctx context.Context, id string, want Expected, done func(Info) error) (Info, error) {
	release, err := s.hold(id)
	if err != nil {
		return Info{}, err
	}
	defer release()
	path := s.uploadPath(id)
	info, err := s.judge(ctx, path, want)
	var refused *Refusal
	if errors.As(err, &refused) {
		return Info{}, errors.Join(err, os.Remove(path))
	}
	if err != nil {
		return Info{}, fmt.Errorf("finish the upload of %s: %w", id, err)
	}
	s.blobs.Lock()
	defer s.blobs.Unlock()
	if err := s.keep(path, info.SHA256); err != nil {
		return Info{}, fmt.Errorf("store the image %s: %w", id, err)
	}
	return info, done(info)
}

func (s *Store) judge(ctx context.Context, path string, want Expected) (info Info, err error) {
	f, err := os.Open(path)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	if err != nil {
		return info, err
	}
	if want.SizeBytes != 0 && st.Size() != want.SizeBytes {
		return info, refuse("WrongSize", "upload it again, or leave size_bytes out", "%d bytes came, and %d were announced", st.Size(), want.SizeBytes)
	}
	if info, err = Inspect(f, st.Size()); err != nil {
		return info, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, &contextReader{ctx, io.NewSectionReader(f, 0, st.Size())}); err != nil {
		return info, err
	}
	info.SHA256 = hex.EncodeToString(h.Sum(nil))
	if want.SHA256 != "" && want.SHA256 != info.SHA256 {
		return info, refuse("WrongChecksum", "check the file and upload it again", "the bytes hash to %s, and %s was announced", info.SHA256, want.SHA256)
	}
	if s.check != nil {
		if err := s.check(ctx, path, info.Format); err != nil {
			return info, err
		}
	}
	return info, nil
}

// contextReader ends a long copy when nobody waits for it any more.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// keep gives the file its final name. What is there under that name already has
// the same content.
func (s *Store) keep(path, sha string) error {
	if err := os.Chmod(path, 0o400); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path, s.blobPath(sha)); err != nil {
		return err
	}
	d, err := os.Open(s.blobPath(""))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Blob opens stored bytes.
func (s *Store) Blob(sha string) (*os.File, error) {
	if err := safe(sha); err != nil {
		return nil, err
	}
	f, err := os.Open(s.blobPath(sha))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoBlob
	}
	return f, err
}

// Discard removes what there is of an upload.
func (s *Store) Discard(id string) error {
	release, err := s.hold(id)
	if err != nil {
		return err
	}
	defer release()
	return removeFile(s.uploadPath(id))
}

// RemoveBlob removes stored bytes if unused says that no image has them.
func (s *Store) RemoveBlob(sha string, unused func() (bool, error)) error {
	if err := safe(sha); err != nil {
		return err
	}
	s.blobs.Lock()
	defer s.blobs.Unlock()
	if ok, err := unused(); err != nil || !ok {
		return err
	}
	return removeFile(s.blobPath(sha))
}

// Sweep removes what a crash left: blobs and uploads that were last written
// before then and that nobody knows.
func (s *Store) Sweep(before time.Time, knowsBlob, knowsUpload func(name string) (bool, error)) error {
	s.blobs.Lock()
	defer s.blobs.Unlock()
	return errors.Join(sweep(s.blobPath(""), before, knowsBlob), sweep(s.uploadPath(""), before, knowsUpload))
}

func sweep(dir string, before time.Time, knows func(string) (bool, error)) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("sweep the image store: %w", err)
	}
	for _, f := range files {
		st, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && !st.ModTime().Before(before) {
			continue
		}
		if err != nil {
			return fmt.Errorf("sweep the image store: %w", err)
		}
		if known, err := knows(f.Name()); err != nil || known {
			if err != nil {
				return err
			}
			continue
		}
		if err := removeFile(filepath.Join(dir, f.Name())); err != nil {
			return fmt.Errorf("sweep the image store: %w", err)
		}
	}
	return nil
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
