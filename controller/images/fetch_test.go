package images

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestFetcher_reachesPublicAddressesOnly(t *testing.T) {
	for address, public := range map[string]bool{
		"93.184.216.34:443": true, "[2606:2800:220:1::1]:443": true,
		"127.0.0.1:80": false, "[::1]:80": false, "[::ffff:127.0.0.1]:80": false, "10.1.2.3:80": false, "172.16.0.1:80": false, "192.168.1.1:80": false,
		"169.254.169.254:80": false, "[fe80::1]:80": false, "[fd00::1]:80": false, "0.0.0.0:80": false, "224.0.0.1:80": false, "100.64.0.1:80": false,
		"0.1.2.3:80": false, "192.0.0.170:80": false, "198.18.0.1:80": false, "203.0.113.1:80": false, "255.255.255.255:80": false, "250.0.0.1:80": false,
		"[::127.0.0.1]:80": false, "[64:ff9b::7f00:1]:80": false, "[64:ff9b:1::a00:1]:80": false, "[2002:7f00:1::]:80": false, "[2001:0:1::1]:80": false, "[fec0::1]:80": false, "[ff02::1]:80": false,
	} {
		if err := judgeAddress(address); (err == nil) != public {
			t.Errorf("%s: %v, want public=%v", address, err, public)
		}
	}
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	f := NewFetcher(false)
	defer f.Close()
	err := f.Transfer(srv.URL).Fetch(context.Background(), 0, 1<<20, func(int64, io.Reader) error { return nil })
	if reason(err) != "PrivateAddress" {
		t.Errorf("a server on loopback was reached: %v", err)
	}
}

// serve answers with content, and breaks the first answer off after some bytes.
func serve(t *testing.T, content func() string, etag func() string) (url string, requests *[]http.Header) {
	t.Helper()
	requests = &[]http.Header{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*requests = append(*requests, r.Header)
		w.Header().Set("ETag", etag())
		if len(*requests) == 1 {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, content()[:4])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content()))
	}))
	t.Cleanup(srv.Close)
	return srv.URL, requests
}

func fetchTwice(t *testing.T, url string) string {
	t.Helper()
	f := NewFetcher(true)
	defer f.Close()
	tr := f.Transfer(url)
	var got []byte
	write := func(at int64, r io.Reader) error {
		got = got[:at]
		b, err := io.ReadAll(r)
		got = append(got, b...)
		return err
	}
	if err := tr.Fetch(context.Background(), 0, 100, write); err == nil || len(got) != 4 {
		t.Fatalf("the first attempt got %q, %v; want a break after 4 bytes", got, err)
	}
	if err := tr.Fetch(context.Background(), 4, 100, write); err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func TestTransfer_resumesByRange(t *testing.T) {
	url, requests := serve(t, func() string { return "0123456789" }, func() string { return `"v1"` })
	if got := fetchTwice(t, url); got != "0123456789" {
		t.Errorf("got %q", got)
	}
	if r := (*requests)[1]; r.Get("Range") != "bytes=4-" || r.Get("If-Range") != `"v1"` {
		t.Errorf("the second request asked for %v", r)
	}
}

func TestTransfer_beginsAgainWhereTheContentChanged(t *testing.T) {
	n := 0
	url, _ := serve(t, func() string { return []string{"", "0123456789", "abcdefghij"}[n] }, func() string { n++; return []string{"", `"v1"`, `"v2"`}[n] })
	if got := fetchTwice(t, url); got != "abcdefghij" {
		t.Errorf("got %q: two versions are mixed", got)
	}
}

func TestTransfer_refuses(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusFound))
	mux.Handle("/file", http.RedirectHandler("file:///etc/passwd", http.StatusFound))
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(http.StatusOK)
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	f := NewFetcher(true)
	defer f.Close()
	fetch := func(path string) error {
		return f.Transfer(srv.URL+path).Fetch(context.Background(), 0, 100, func(int64, io.Reader) error { return nil })
	}
	for _, path := range []string{"/loop", "/file"} {
		if err := fetch(path); reason(err) != "Redirects" {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := fetch("/large"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a file larger than the limit: %v", err)
	}
	var status *StatusError
	if err := fetch("/none"); !errors.As(err, &status) || status.Status != 404 {
		t.Errorf("a missing file: %v", err)
	}
}
