package disk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/api"
)

// source serves an image and counts how it was asked.
type source struct {
	bytes   []byte
	calls   atomic.Int32
	offsets []int64
	breakAt int64 // the first call breaks off here; 0: never
}

func (s *source) fetch(_ context.Context, _ string, offset int64) (io.ReadCloser, error) {
	s.offsets = append(s.offsets, offset)
	r := io.Reader(bytes.NewReader(s.bytes[offset:]))
	if s.calls.Add(1) == 1 && s.breakAt > 0 {
		r = io.MultiReader(io.LimitReader(r, s.breakAt), failing{})
	}
	return io.NopCloser(r), nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the line broke") }

func rawImage(n int) (*source, api.HostImage) {
	b := bytes.Repeat([]byte("cairn"), n/5)
	sum := sha256.Sum256(b)
	size := int64(len(b))
	return &source{bytes: b}, api.HostImage{ID: "img_a", SHA256: hex.EncodeToString(sum[:]), Format: "raw", SizeBytes: size, VirtualSizeBytes: size}
}

func open(t *testing.T, s *source) (*Store, agent.Layout) {
	t.Helper()
	l := agent.Layout(t.TempDir())
	d, err := Open(l, s.fetch)
	if err != nil {
		t.Fatal(err)
	}
	return d, l
}

func TestFetchImage_isVerifiedAndReadOnly(t *testing.T) {
	src, img := rawImage(1 << 20)
	d, l := open(t, src)
	for range 2 {
		if err := d.FetchImage(t.Context(), img); err != nil {
			t.Fatal(err)
		}
	}
	if n := src.calls.Load(); n != 1 {
		t.Errorf("fetched %d times, want once", n)
	}
	st, err := os.Stat(l.Image(img))
	if err != nil || st.Mode().Perm() != 0o444 || st.Size() != img.SizeBytes {
		t.Errorf("in the cache: %v, %v", st, err)
	}
	if _, images, err := d.Observe(t.Context()); err != nil || !images[img.SHA256] {
		t.Errorf("observed: %v, %v", images, err)
	}
}

func TestFetchImage_goesOnWhereItBrokeOff(t *testing.T) {
	src, img := rawImage(1 << 20)
	src.breakAt = 1000
	d, l := open(t, src)
	if err := d.FetchImage(t.Context(), img); err == nil || !strings.Contains(err.Error(), "after 1000 of") {
		t.Fatalf("%v, want the place where it broke off", err)
	}
	if exists(l.Image(img)) {
		t.Fatal("half an image is in the cache")
	}
	d, err := Open(l, src.fetch) // also over a restart of the agent
	if err != nil {
		t.Fatal(err)
	}
	if err := d.FetchImage(t.Context(), img); err != nil {
		t.Fatal(err)
	}
	if len(src.offsets) != 2 || src.offsets[1] != 1000 {
		t.Errorf("asked from %v, want from 0 and 1000", src.offsets)
	}
}

func TestFetchImage_refusesWrongBytes(t *testing.T) {
	for name, change := range map[string]func(*source){
		"changed":   func(s *source) { s.bytes = bytes.Clone(s.bytes); s.bytes[7] ^= 1 },
		"too short": func(s *source) { s.bytes = s.bytes[:len(s.bytes)-1] },
		"too long":  func(s *source) { s.bytes = append(bytes.Clone(s.bytes), 'x') },
	} {
		t.Run(name, func(t *testing.T) {
			src, img := rawImage(1 << 16)
			change(src)
			d, l := open(t, src)
			if err := d.FetchImage(t.Context(), img); err == nil || !strings.Contains(err.Error(), "SHA-256") {
				t.Errorf("%v, want an error on its SHA-256", err)
			}
			if left, _ := os.ReadDir(l.Images()); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestFetchImage_onceForAllWhoWait(t *testing.T) {
	src, img := rawImage(1 << 20)
	d, _ := open(t, src)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := d.FetchImage(t.Context(), img); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := src.calls.Load(); n != 1 {
		t.Errorf("fetched %d times, want once", n)
	}
}

func TestFetchImage_refusesWhatDoesNotFit(t *testing.T) {
	src, img := rawImage(1 << 16)
	img.SizeBytes = 1 << 60
	d, _ := open(t, src)
	if err := d.FetchImage(t.Context(), img); err == nil || !strings.Contains(err.Error(), "MiB free") {
		t.Errorf("%v, want the room that is lacking", err)
	}
	if n := src.calls.Load(); n != 0 {
		t.Errorf("fetched %d times before looking for room", n)
	}
}

func TestRoot_standsOnTheImageAndIsNeverMadeAnew(t *testing.T) {
	src, img := rawImage(1 << 20)
	d, l := open(t, src)
	i := api.HostInstance{ID: "ins_a", Image: img, Size: api.Size{DiskGiB: 2}}
	if err := d.CreateRoot(t.Context(), i); err == nil || !strings.Contains(err.Error(), "not in the cache") {
		t.Fatalf("without its image: %v", err)
	}
	if err := d.FetchImage(t.Context(), img); err != nil {
		t.Fatal(err)
	}
	if err := d.CreateRoot(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	path := l.Root("ins_a", img).Path
	out, err := exec.Command("qemu-img", "info", "--output=json", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"virtual-size": 2147483648`, `"format": "qcow2"`, `"backing-filename-format": "raw"`, `"full-backing-filename": "` + l.Image(img) + `"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("qemu-img info lacks %s:\n%s", want, out)
		}
	}
	if err := os.WriteFile(path, []byte("a guest's data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.CreateRoot(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); string(b) != "a guest's data" {
		t.Error("the root disk was made anew over a guest's data")
	}
	if got, _, err := d.Observe(t.Context()); err != nil || got["ins_a"] != (agent.DiskState{Root: true, Image: img.SHA256}) {
		t.Errorf("observed %+v, %v", got, err)
	}
	for range 2 {
		if err := d.Remove(t.Context(), "ins_a"); err != nil {
			t.Fatal(err)
		}
	}
	if got, _, _ := d.Observe(t.Context()); len(got) != 0 {
		t.Errorf("after remove: %+v", got)
	}
}

func TestRoot_refusesAnImageLargerThanTheDisk(t *testing.T) {
	src, img := rawImage(1 << 16)
	img.VirtualSizeBytes = 3 << 30
	d, _ := open(t, src)
	err := d.CreateRoot(t.Context(), api.HostInstance{ID: "ins_a", Image: img, Size: api.Size{DiskGiB: 2}})
	if err == nil || !strings.Contains(err.Error(), "larger instance type") {
		t.Errorf("%v, want what to do", err)
	}
}

func TestConfigDrive_isReadableByItsLabel(t *testing.T) {
	src, _ := rawImage(5)
	d, l := open(t, src)
	files := map[string][]byte{"meta-data": []byte("instance-id: ins_a\n"), "user-data": bytes.Repeat([]byte("x"), 70_000), "network-config": []byte("version: 2\n")}
	for _, digest := range []string{"d1", "d2"} {
		if err := d.WriteConfigDrive(t.Context(), "ins_a", digest, files); err != nil {
			t.Fatal(err)
		}
		if got, _, err := d.Observe(t.Context()); err != nil || got["ins_a"].ConfigDigest != digest {
			t.Errorf("observed %+v, %v; want the digest %s", got, err, digest)
		}
	}
	if st, err := os.Stat(l.ConfigDrive("ins_a")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: it holds secrets and wants 0600", st, err)
	}
	checkISO(t, l.ConfigDrive("ins_a"), files)
	if left, _ := filepath.Glob(filepath.Join(l.Instance("ins_a"), ".*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func checkISO(t *testing.T, path string, files map[string][]byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	iso, err := iso9660.Read(file.New(f, true), 0, 0, isoBlock)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimRight(iso.Label(), "\x00 "); got != "cidata" {
		t.Errorf("label %q", got)
	}
	for name, want := range files {
		g, err := iso.OpenFile(name, os.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(g); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(want))
		}
	}
}

func TestNames_cannotLeadOut(t *testing.T) {
	src, img := rawImage(5)
	d, _ := open(t, src)
	for _, id := range []string{"", "..", "../x", "a/b", "ins_A", strings.Repeat("a", 65)} {
		if d.Remove(t.Context(), id) == nil || d.CreateRoot(t.Context(), api.HostInstance{ID: id, Image: img}) == nil {
			t.Errorf("the ID %q was taken", id)
		}
	}
	if err := d.WriteConfigDrive(t.Context(), "ins_a", "d", map[string][]byte{"../x": nil}); err == nil {
		t.Error("a file of the config drive may lie outside it")
	}
	img.SHA256 = "../x"
	if err := d.FetchImage(t.Context(), img); err == nil {
		t.Error("an image's SHA-256 may be a path")
	}
}

func TestTrimLogs_keepsTheEnd(t *testing.T) {
	src, _ := rawImage(5)
	d, l := open(t, src)
	if err := os.MkdirAll(l.Instance("ins_a"), 0o711); err != nil {
		t.Fatal(err)
	}
	log := append(bytes.Repeat([]byte("x"), logMax), []byte("the end")...)
	for name, content := range map[string][]byte{"big": log, "small": []byte("short")} {
		if err := os.WriteFile(l.ConsoleLog("ins_a"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := d.TrimLogs(t.Context()); err != nil {
			t.Fatal(name, err)
		}
		now, _ := os.ReadFile(l.ConsoleLog("ins_a"))
		if name == "small" {
			if string(now) != "short" {
				t.Error("a small log was trimmed")
			}
			continue
		}
		old, _ := os.ReadFile(l.ConsoleLog("ins_a") + ".0")
		if len(now) != 0 || len(old) != logKeep || !bytes.HasSuffix(old, []byte("the end")) {
			t.Errorf("%d bytes in the log and %d kept", len(now), len(old))
		}
	}
}

func TestRemoveImage_takesAlsoWhatHasArrivedOfIt(t *testing.T) {
	src, img := rawImage(1 << 16)
	src.breakAt = 10
	d, l := open(t, src)
	_ = d.FetchImage(t.Context(), img)
	for range 2 {
		if err := d.RemoveImage(t.Context(), img.SHA256); err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := os.ReadDir(l.Images()); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
