package rest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	mathrand "math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

func (c *cloud) image(name string) {
	i := &api.Image{}
	i.Name, i.Project = name, c.p.ID
	c.put(i)
}

func TestUpload_goesOnWhereItBroke(t *testing.T) {
	c := newCloud(t)
	c.image("debian")
	const data = "/v1/projects/p/images/debian/data"
	const octets = "Content-Type: application/octet-stream"
	a := c.do("p-member", "PATCH", data, "hello ", octets, "Upload-Offset: 0")
	if a.status != 204 || a.header.Get("Upload-Offset") != "6" || a.header.Get("Upload-Complete") != "?0" {
		t.Errorf("%d %v", a.status, a.header)
	}
	wrong := c.do("p-member", "PATCH", data, "x", octets, "Upload-Offset: 0")
	c.refused(wrong, 409, "upload_offset_mismatch", "Upload-Offset")
	if wrong.header.Get("Upload-Offset") != "6" {
		t.Errorf("the refusal does not say where to go on: %v", wrong.header)
	}
	c.refused(c.do("p-viewer", "GET", data, nil), 409, "image_not_ready", "status.state")
	head := c.do("p-viewer", "HEAD", data, nil)
	if head.status != 200 || head.header.Get("Upload-Offset") != "6" || head.header.Get("Upload-Complete") != "?0" {
		t.Errorf("%d %v", head.status, head.header)
	}
	for _, bad := range [][]string{
		{octets}, {octets, "Upload-Offset: -1"}, {octets, "Upload-Offset: 6", "Upload-Complete: true"},
	} {
		if a := c.do("p-member", "PATCH", data, "x", bad...); a.problem(t).Code != "invalid_header" {
			t.Errorf("%v: %s", bad, a.body)
		}
	}
	c.refused(c.do("p-member", "PATCH", data, "x", "Content-Type: application/json", "Upload-Offset: 6"), 415, "unsupported_media_type", "")
	c.refused(c.do("p-viewer", "PATCH", data, "x", octets, "Upload-Offset: 6"), 403, "forbidden", "")
	if a := c.do("p-member", "PATCH", data, "world", octets, "Upload-Offset: 6", "Upload-Complete: ?1"); a.status != 204 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if got := c.do("p-viewer", "GET", data, nil, "Range: bytes=6-"); got.status != 206 || string(got.body) != "world" {
		t.Errorf("%d %q", got.status, got.body)
	}
	if head := c.do("p-viewer", "HEAD", data, nil); head.header.Get("Upload-Complete") != "?1" || head.header.Get("Upload-Offset") != "11" {
		t.Errorf("%v", head.header)
	}
}

// breaking breaks all connections of the server once some of it was read.
type breaking struct {
	io.ReadSeeker
	c    *cloud
	left atomic.Int64 // how often yet; an attempt that was given up may still read
	at   int64
}

func (b *breaking) Read(p []byte) (int, error) {
	n, err := b.ReadSeeker.Read(p[:min(len(p), 4096)])
	b.at += int64(n)
	if b.at > 200_000 && b.left.Add(-1) >= 0 {
		b.at = 0
		b.c.http.CloseClientConnections()
	}
	return n, err
}

func TestClient_uploadsOverBrokenConnections(t *testing.T) {
	c := newCloud(t)
	c.image("debian")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	want := make([]byte, 1<<20)
	mathrand.NewChaCha8([32]byte{1}).Read(want)
	var last, total int64
	b := &breaking{ReadSeeker: bytes.NewReader(want), c: c}
	b.left.Store(3)
	err := c.client("p-member").Upload(ctx, "p", "debian", b, func(s, n int64) { last, total = s, n })
	b.left.Store(0)
	if err != nil {
		t.Fatal(err)
	}
	got := c.do("p-viewer", "GET", "/v1/projects/p/images/debian/data", nil)
	if sha256.Sum256(got.body) != sha256.Sum256(want) || last != total || total != 1<<20 {
		t.Errorf("%d bytes of %d arrived, progress %d of %d", len(got.body), len(want), last, total)
	}
	if err := c.client("p-member").Upload(ctx, "p", "debian", bytes.NewReader(want), nil); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestConsoleLog_isWhatTheGuestWrote(t *testing.T) {
	c := newCloud(t)
	c.do("p-member", "POST", "/v1/projects/p/instances", instanceBody)
	a := c.do("p-viewer", "GET", "/v1/projects/p/instances/web/console-log?limit=5", nil)
	if a.status != 200 || string(a.body) != "login" || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%d %q %v", a.status, a.body, a.header)
	}
	c.refused(c.do("p-viewer", "GET", "/v1/projects/p/instances/web/console-log?limit=0", nil), 400, "invalid_parameter", "limit")
	b, err := c.client("p-viewer").ConsoleLog(context.Background(), "p", "web", 0)
	if err != nil || string(b) != "login: web" {
		t.Errorf("%q %v", b, err)
	}
}
