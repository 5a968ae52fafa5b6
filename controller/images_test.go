package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

// qcow2 is a real image of 16 MiB.
func qcow2(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", path, "16M").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (c *cloud) newImage(name string, spec api.ImageSpec) *api.Image {
	c.Helper()
	img := &api.Image{}
	img.Name, img.Spec = name, spec
	return c.create(img).(*api.Image)
}

func (c *cloud) getImage(id string) *api.Image { return get[*api.Image](c.view(), api.KindImage, id) }

func (c *cloud) blobs() int {
	c.Helper()
	n := 0
	for _, d := range []string{"images", "uploads"} {
		files, err := os.ReadDir(filepath.Join(c.c.o.DataDir, d))
		if err != nil {
			c.Fatal(err)
		}
		n += len(files)
	}
	return n
}

func TestUpload_inPartsUntilTheImageIsReady(t *testing.T) {
	c := newCloud(t)
	b := qcow2(t)
	img := c.newImage("up", api.ImageSpec{})
	at, err := c.b.Upload(c.ctx, img, 0, false, bytes.NewReader(b[:1000]))
	if err != nil || at != 1000 {
		t.Fatalf("%d, %v", at, err)
	}
	if s := c.getImage(img.ID).Status.State; s != api.StateUploading {
		t.Errorf("the state is %s", s)
	}
	_, err = c.b.Upload(c.ctx, img, 999, false, strings.NewReader("x"))
	refused(t, err, 409, "upload_offset_mismatch", "Upload-Offset")
	if at, err = c.b.Upload(c.ctx, img, 1000, true, bytes.NewReader(b[1000:])); err != nil || at != int64(len(b)) {
		t.Fatalf("%d, %v", at, err)
	}
	got := c.getImage(img.ID)
	if s := got.Status; s.State != api.StateReady || s.Format != "qcow2" || s.VirtualSizeBytes != 16<<20 || s.SizeBytes != int64(len(b)) || s.ObservedGeneration != got.Generation {
		t.Errorf("the status is %+v", s)
	}
	if used := c.view().Used(api.QuotaKey(c.project))["image_gib"]; used != 2 { // this one, and the harness's
		t.Errorf("%d GiB of images are counted", used)
	}
	f, err := c.b.Blob(c.ctx, got)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil || !bytes.Equal(stored, b) {
		t.Errorf("the blob has %d bytes, %v", len(stored), err)
	}
	_, err = c.b.Upload(c.ctx, img, 0, true, bytes.NewReader(b))
	refused(t, err, 409, "image_complete", "status.state")
	announced := c.newImage("announced", api.ImageSpec{SizeBytes: int64(len(b))})
	if _, err := c.b.Upload(c.ctx, announced, 0, true, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if got := c.getImage(announced.ID); got.Generation != 1 || got.Status.ObservedGeneration != 1 {
		t.Errorf("one of the size that was announced: generation %d, observed %d", got.Generation, got.Status.ObservedGeneration)
	}
}

func TestUpload_refusesWithTheReasonAndKeepsNothing(t *testing.T) {
	c := newCloud(t)
	b := qcow2(t)
	for _, x := range []struct {
		name, says, field string
		spec              api.ImageSpec
		bytes             []byte
	}{
		{"text", "NotAnImage", "", api.ImageSpec{}, bytes.Repeat([]byte("text\n"), 200)},
		{"checksum", "WrongChecksum", "spec.sha256", api.ImageSpec{SHA256: strings.Repeat("0", 64)}, b},
		{"short", "WrongSize", "spec.size_bytes", api.ImageSpec{SizeBytes: int64(len(b)) + 1}, b},
		{"long", "more than the 100 bytes", "spec.size_bytes", api.ImageSpec{SizeBytes: 100}, b},
	} {
		img := c.newImage(x.name, x.spec)
		_, err := c.b.Upload(c.ctx, img, 0, true, bytes.NewReader(x.bytes))
		if p := refused(t, err, 422, "image_refused", x.field); !strings.Contains(p.Detail, x.says) {
			t.Errorf("%s: it says %q", x.name, p.Detail)
		}
		if s := c.getImage(img.ID).Status; x.name != "long" && (s.State != api.StateFailed || s.Condition(conditionBytes).Reason != x.says) {
			t.Errorf("%s: the status is %+v", x.name, s)
		}
	}
	again := c.view().Lookup(api.KindImage, c.project, "text").(*api.Image)
	if _, err := c.b.Upload(c.ctx, again, 0, true, bytes.NewReader(b)); err != nil || c.getImage(again.ID).Status.State != api.StateReady {
		t.Errorf("a better upload after a refused one: %v, %+v", err, c.getImage(again.ID).Status)
	}
}

func TestUpload_obeysTheQuota(t *testing.T) {
	c := newCloud(t)
	if _, err := c.b.Update(c.ctx, c.write(), api.KindProject, c.project, func(o api.Object) error {
		o.(*api.Project).Spec.Quota.ImageGiB = 1 // which the harness's image uses
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	img := c.newImage("up", api.ImageSpec{})
	_, err := c.b.Upload(c.ctx, img, 0, true, bytes.NewReader(qcow2(t)))
	refused(t, err, 409, "quota_exceeded", "spec.size_bytes")
	announced := &api.Image{}
	announced.Name, announced.Spec.SizeBytes = "announced", 1
	_, err = c.try(c.write(), announced)
	refused(t, err, 409, "quota_exceeded", "spec.size_bytes")
}

// TestUpload_unannouncedOnesShareTheQuota: what came of one is not there for
// another, although it is counted at its end only.
func TestUpload_unannouncedOnesShareTheQuota(t *testing.T) {
	c := newCloud(t)
	if _, err := c.b.Update(c.ctx, c.write(), api.KindProject, c.project, func(o api.Object) error {
		o.(*api.Project).Spec.Quota.ImageGiB = 2 // the harness's image uses one
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	one, two := c.newImage("one", api.ImageSpec{}), c.newImage("two", api.ImageSpec{})
	if err := os.WriteFile(filepath.Join(c.c.o.DataDir, "uploads", one.ID), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(c.c.o.DataDir, "uploads", one.ID), 1<<30-100); err != nil {
		t.Fatal(err)
	}
	_, err := c.b.Upload(c.ctx, two, 0, false, bytes.NewReader(make([]byte, 101)))
	refused(t, err, 409, "quota_exceeded", "spec.size_bytes")
	if at, err := c.b.Upload(c.ctx, two, 100, false, bytes.NewReader(nil)); err != nil || at != 100 {
		t.Errorf("what fitted is kept: %d, %v", at, err)
	}
}

// TestDelete_ofAnImageDoesNotWaitForWhoeverSendsIt: an upload that goes on for
// ever ends with its image.
func TestDelete_ofAnImageDoesNotWaitForWhoeverSendsIt(t *testing.T) {
	c := newCloud(t)
	c.run()
	img := c.newImage("endless", api.ImageSpec{})
	sent, asked := make(chan error, 1), make(chan struct{}, 1)
	go func() {
		_, err := c.b.Upload(c.ctx, img, 0, true, readerFunc(func(p []byte) (int, error) {
			poke(asked)
			return 1, c.ctx.Err()
		}))
		sent <- err
	}()
	<-asked
	if _, err := c.b.Delete(c.ctx, c.write(), api.KindImage, img.ID, false); err != nil {
		t.Fatal(err)
	}
	refused(t, <-sent, 409, "being_deleted", "")
	c.until("the image is gone", func(v api.View) bool { return v.Get(api.KindImage, img.ID) == nil })
	if n := c.blobs(); n != 0 {
		t.Errorf("%d files are left", n)
	}
}

// TestImport_aSlowServerHoldsUpItsOwnProjectOnly also holds that deletions do
// not wait for imports.
func TestImport_aSlowServerHoldsUpItsOwnProjectOnly(t *testing.T) {
	c := newCloud(t)
	b := qcow2(t)
	ctx, end := context.WithCancel(c.ctx)
	mux := http.NewServeMux()
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.(http.Flusher).Flush()
		select {
		case <-ctx.Done():
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/image", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	defer end()
	c.run()
	var slow []*api.Image
	for n := range 10 {
		slow = append(slow, c.newImage(fmt.Sprint("slow", n), api.ImageSpec{SourceURL: srv.URL + "/slow"}))
	}
	c.until("two are being imported", func(v api.View) bool {
		return count(v, api.KindImage, func(o api.Object) bool { return o.(*api.Image).Status.State == api.StateImporting }) == importsAtOnce
	})
	p := &api.Project{}
	p.Name = "other"
	other := &api.Image{}
	other.Name, other.Project, other.Spec.SourceURL = "quick", c.create(p).GetMeta().ID, srv.URL+"/image"
	id := c.create(other).GetMeta().ID
	c.until("another project's image is ready", func(v api.View) bool { return v.Get(api.KindImage, id).(*api.Image).Status.State == api.StateReady })
	for _, img := range slow {
		if _, err := c.b.Delete(c.ctx, c.write(), api.KindImage, img.ID, false); err != nil {
			t.Fatal(err)
		}
	}
	c.until("all slow ones are gone", func(v api.View) bool {
		return count(v, api.KindImage, func(o api.Object) bool { return strings.HasPrefix(o.GetMeta().Name, "slow") }) == 0
	})
}

func TestImport_takesUpWhereItBrokeAndSaysWhyItFails(t *testing.T) {
	c := newCloud(t)
	b := qcow2(t)
	broke := false
	mux := http.NewServeMux()
	mux.HandleFunc("/image", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		if !broke {
			broke = true
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(b[:5000])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		if r.Header.Get("Range") != "bytes=5000-" {
			t.Errorf("the second request asks for %q", r.Header.Get("Range"))
		}
		http.ServeContent(w, r, "", c.b.now(), bytes.NewReader(b))
	})
	mux.HandleFunc("/text", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("text\n", 200)) })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	c.run()
	for _, x := range []struct {
		path   string
		state  api.State
		reason string
	}{
		{"/image", api.StateReady, "Ready"},
		{"/none", api.StateFailed, "ImportFailed"},
		{"/text", api.StateFailed, "NotAnImage"},
	} {
		img := c.newImage("import"+strings.ReplaceAll(x.path, "/", "-"), api.ImageSpec{SourceURL: srv.URL + x.path})
		_, err := c.b.Upload(c.ctx, img, 0, true, bytes.NewReader(b))
		refused(t, err, 409, "image_is_imported", "spec.source_url")
		c.until(x.path+" is "+string(x.state), func(v api.View) bool {
			s := v.Get(api.KindImage, img.ID).(*api.Image).Status
			return s.State == x.state && s.Condition(conditionBytes).Reason == x.reason
		})
	}
}

func TestDelete_anImagesBytesGoWithTheLastThatHasThem(t *testing.T) {
	c := newCloud(t)
	b := qcow2(t)
	var ids []string
	for _, name := range []string{"one", "two"} {
		img := c.newImage(name, api.ImageSpec{})
		if _, err := c.b.Upload(c.ctx, img, 0, true, bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, img.ID)
	}
	half := c.newImage("half", api.ImageSpec{})
	if _, err := c.b.Upload(c.ctx, half, 0, false, bytes.NewReader(b[:1000])); err != nil {
		t.Fatal(err)
	}
	c.run()
	for n, id := range append(ids, half.ID) {
		if want := 3 - max(n, 1); c.blobs() != want && n < 2 {
			t.Errorf("before delete %d there are %d files, want %d", n, c.blobs(), want)
		}
		if _, err := c.b.Delete(c.ctx, c.write(), api.KindImage, id, false); err != nil {
			t.Fatal(err)
		}
		c.until("the image is gone", func(v api.View) bool { return v.Get(api.KindImage, id) == nil })
	}
	if n := c.blobs(); n != 0 {
		t.Errorf("%d files are left", n)
	}
}
