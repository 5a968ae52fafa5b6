package main

import (
	"context"
	"net"
	"slices"
	"testing"
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
