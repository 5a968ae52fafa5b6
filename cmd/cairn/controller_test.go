package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestListen_opensAllOrNone(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	if ls, err := listen(t.Context(), []string{address, taken.Addr().String()}); err == nil {
		t.Fatalf("a taken address was listened on: %v", ls)
	}
	again, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		t.Fatalf("the first listener was left open: %v", err)
	}
	again.Close()
}

func TestNames_ofWhatIsListenedOn(t *testing.T) {
	for address, want := range map[string]string{"127.0.0.2:0": "127.0.0.2", "0.0.0.0:0": "127.0.0.1"} {
		ls, err := listen(t.Context(), []string{address})
		if err != nil {
			t.Fatal(err)
		}
		got := names([]string{"cloud.example.org"}, ls)
		for _, n := range []string{want, "localhost", "::1", "cloud.example.org"} {
			if !slices.Contains(got, n) {
				t.Errorf("%s: the certificate would not be for %s: %v", address, n, got)
			}
		}
		host, port, err := net.SplitHostPort(ls[0].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if host == "::" || host == "0.0.0.0" {
			host = "127.0.0.1"
		}
		if u := ownURL(ls[0]); u != "https://"+host+":"+port {
			t.Errorf("%s is reached at %s", address, u)
		}
		ls[0].Close()
	}
}

// A controller with another CA than the one that the cloud began with would turn
// away every host.
func TestController_refusesAnotherCAThanTheCloudsOwn(t *testing.T) {
	data := t.TempDir()
	start := func() (int, string) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		out := &bytes.Buffer{}
		a := &app{in: strings.NewReader(""), out: io.Discard, err: out, getenv: func(string) string { return "" }, now: time.Now, readFile: os.ReadFile, ready: func(string) { cancel() }}
		return a.run(ctx, []string{"controller", "--data", data, "--listen", "127.0.0.1:0", "--log-level", "error"}), out.String()
	}
	for range 2 {
		if code, out := start(); code != exitOK {
			t.Fatalf("it ended with %d: %s", code, out)
		}
	}
	if err := os.RemoveAll(filepath.Join(data, "pki")); err != nil {
		t.Fatal(err)
	}
	if code, out := start(); code != exitError || !strings.Contains(out, "is not that of this cloud") {
		t.Errorf("it ended with %d: %s", code, out)
	}
}
