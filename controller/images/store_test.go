package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func open(t *testing.T, check Checker) *Store {
	t.Helper()
	s, err := Open(t.TempDir(), check)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func accept(Info) error { return nil }

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func TestSweep_removesWhatACrashLeftAndNothingElse(t *testing.T) {
	s, err := Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-48 * time.Hour)
	for _, dir := range []func(string) string{s.blobPath, s.uploadPath} {
		for name, at := range map[string]time.Time{"known": old, "left": old, "new": time.Now()} {
			if err := os.WriteFile(dir(name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(dir(name), at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	knows := func(name string) (bool, error) { return name == "known", nil }
	if err := s.Sweep(time.Now().Add(-24*time.Hour), knows, knows); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []func(string) string{s.blobPath, s.uploadPath} {
		files, err := os.ReadDir(dir(""))
		if err != nil || len(files) != 2 || files[0].Name() != "known" || files[1].Name() != "new" {
			t.Errorf("left %v, %v", files, err)
		}
	}
	unsure := func(string) (bool, error) { return false, errors.New("the store does not answer") }
	if err := s.Sweep(time.Now(), unsure, unsure); err == nil {
		t.Error("what is not known is swept without knowing")
	}
}

func TestStore_anUploadGoesOnWhereItBroke(t *testing.T) {
	s, b := open(t, QemuImg()), made(t, "-f", "qcow2", "image", "16M")
	broken := iotest.TimeoutReader(bytes.NewReader(b[:1000])) // fails at its second read
	at, err := s.Append("img_a", 0, 1<<30, broken)
	if err == nil || at == 0 {
		t.Fatalf("a broken upload returned %d, %v", at, err)
	}
	if got, err := s.Received("img_a"); err != nil || got != at {
		t.Fatalf("received %d, %v, want %d", got, err, at)
	}
	var wrong *OffsetError
	if _, err := s.Append("img_a", at+1, 1<<30, strings.NewReader("x")); !errors.As(err, &wrong) || wrong.At != at {
		t.Fatalf("a wrong offset returned %v", err)
	}
	if _, err := s.Append("img_a", at, 1<<30, bytes.NewReader(b[at:])); err != nil {
		t.Fatal(err)
	}
	info, err := s.Finish(context.Background(), "img_a", Expected{SHA256: hashOf(b), SizeBytes: int64(len(b))}, accept)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Blob(info.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil || !bytes.Equal(got, b) {
		t.Errorf("the blob has %d bytes, %v; want the %d that came", len(got), err, len(b))
	}
	if n, err := s.Received("img_a"); err != nil || n != 0 {
		t.Errorf("the upload is still there: %d bytes, %v", n, err)
	}
}

func TestStore_takesNoMoreThanMayCome(t *testing.T) {
	s := open(t, nil)
	at, err := s.Append("img_a", 0, 10, strings.NewReader("0123456789"))
	if at != 10 || err != nil {
		t.Fatalf("exactly the limit: %d, %v", at, err)
	}
	at, err = s.Append("img_a", 10, 10, strings.NewReader("x"))
	if at != 10 || !errors.Is(err, ErrTooLarge) {
		t.Fatalf("one more: %d, %v", at, err)
	}
	if n, err := s.Received("img_a"); n != 10 || err != nil {
		t.Errorf("kept %d bytes, %v", n, err)
	}
}

func TestStore_oneWriterAnUpload(t *testing.T) {
	s := open(t, nil)
	r, w := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := s.Append("img_a", 0, 1<<20, r)
		done <- err
	}()
	if _, err := w.Write([]byte("first")); err != nil { // returns when Append has read it
		t.Fatal(err)
	}
	if _, err := s.Append("img_a", 5, 1<<20, strings.NewReader("second")); !errors.Is(err, ErrBusy) {
		t.Errorf("a second writer got %v", err)
	}
	if err := s.Discard("img_a"); !errors.Is(err, ErrBusy) {
		t.Errorf("a discard meanwhile got %v", err)
	}
	if err := errors.Join(w.Close(), <-done); err != nil {
		t.Fatal(err)
	}
}

func TestStore_refusedBytesAreRemoved(t *testing.T) {
	good := made(t, "-f", "qcow2", "image", "16M")
	damaged := bytes.Clone(good)
	copy(damaged[0x10000:], bytes.Repeat([]byte{0xff}, 0x20000)) // its tables
	for _, c := range []struct {
		name, want string
		bytes      []byte
		expected   Expected
	}{
		{"wrong size", "WrongSize", good, Expected{SizeBytes: 1}},
		{"wrong checksum", "WrongChecksum", good, Expected{SHA256: strings.Repeat("0", 64)}},
		{"no image", "NotAnImage", bytes.Repeat([]byte("x"), 1000), Expected{}},
		{"damaged inside", "Damaged", damaged, Expected{}},
	} {
		s := open(t, QemuImg())
		if _, err := s.Append("img_a", 0, 1<<30, bytes.NewReader(c.bytes)); err != nil {
			t.Fatal(err)
		}
		_, err := s.Finish(context.Background(), "img_a", c.expected, func(Info) error {
			t.Errorf("%s: it was taken", c.name)
			return nil
		})
		if reason(err) != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		if r := (&Refusal{}); errors.As(err, &r) && strings.Contains(r.Message, s.dir) {
			t.Errorf("%s: the message tells a path of ours: %s", c.name, r.Message)
		}
		for _, d := range []string{"uploads", "images"} {
			if left, err := os.ReadDir(filepath.Join(s.dir, d)); err != nil || len(left) != 0 {
				t.Errorf("%s: %s still has %v, %v", c.name, d, left, err)
			}
		}
	}
}

func TestStore_theSameBytesAreStoredOnceAndGoWithTheLast(t *testing.T) {
	s := open(t, nil)
	for _, id := range []string{"img_a", "img_b"} {
		if _, err := s.Append(id, 0, 1<<30, bytes.NewReader(mbr(4096))); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Finish(context.Background(), id, Expected{}, accept); err != nil {
			t.Fatal(err)
		}
	}
	sha := hashOf(mbr(4096))
	if got, err := os.ReadDir(filepath.Join(s.dir, "images")); err != nil || len(got) != 1 || got[0].Name() != sha {
		t.Fatalf("stored %v, %v", got, err)
	}
	for _, unused := range []bool{false, true, true} {
		if err := s.RemoveBlob(sha, func() (bool, error) { return unused, nil }); err != nil {
			t.Fatal(err)
		}
		f, err := s.Blob(sha)
		if !unused {
			if err = errors.Join(err, f.Close()); err != nil {
				t.Fatalf("bytes in use were removed: %v", err)
			}
		} else if !errors.Is(err, ErrNoBlob) {
			t.Fatalf("unused bytes are still there: %v", err)
		}
	}
}

func TestStore_namesNeverLeaveTheDirectory(t *testing.T) {
	s := open(t, nil)
	for _, name := range []string{"", "..", "../x", "a/b", ".hidden", `a\b`} {
		_, err1 := s.Append(name, 0, 10, strings.NewReader("x"))
		_, err2 := s.Blob(name)
		_, err3 := s.Received(name)
		if err1 == nil || err2 == nil || err3 == nil || s.Discard(name) == nil {
			t.Errorf("%q was taken as the name of a file", name)
		}
	}
}
