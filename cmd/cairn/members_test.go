package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// running is `cairn controller` in this process.
type running struct {
	data, url string
	cancel    context.CancelFunc
	code      chan int
	log       *bytes.Buffer // to be read once code has come
}

// runController starts one on the data directory; it must get ready.
func runController(t *testing.T, env map[string]string, data string, args ...string) running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	ready, code, log := make(chan string, 1), make(chan int, 1), &bytes.Buffer{}
	a := &app{in: strings.NewReader(""), out: io.Discard, err: log, getenv: func(k string) string { return env[k] }, now: time.Now, readFile: os.ReadFile, ready: func(url string) { ready <- url }}
	go func() {
		code <- a.run(ctx, append([]string{"controller", "--data", data, "--listen", "127.0.0.1:0", "--log-level", "warn"}, args...))
	}()
	select {
	case url := <-ready:
		return running{data, url, cancel, code, log}
	case c := <-code:
		t.Fatalf("the controller ended with %d:\n%s", c, log)
	case <-time.After(time.Minute):
		t.Fatal("the controller was not ready in a minute")
	}
	panic("not reached")
}

func (r running) stopped(t *testing.T) {
	t.Helper()
	r.cancel()
	if code := <-r.code; code != exitOK {
		t.Errorf("it ended with %d:\n%s", code, r.log)
	}
}

// adminOf is a client of the controller with the admin token of the first one.
func adminOf(t *testing.T, first, r running) *client.Client {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(first.data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(r.data, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Options{Server: r.url, Token: strings.TrimSpace(string(token)), CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func joinToken(t *testing.T, c *client.Client, name string, role api.JoinRole) string {
	t.Helper()
	tok := &api.JoinToken{}
	tok.Name, tok.Spec.Role = name, role
	r, err := c.Create(t.Context(), tok, client.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Object.(*api.JoinToken).Secret
}

// One command and a token make a second controller; it starts again without
// either, and one that was removed does not.
func TestController_joinsByOneCommand(t *testing.T) {
	a := runController(t, nil, t.TempDir(), "--name", "a")
	admin := adminOf(t, a, a)
	env := map[string]string{"CAIRN_JOIN_TOKEN": joinToken(t, admin, "for-b", api.JoinController)}
	join := []string{"--name", "b", "--join", a.url}
	b := runController(t, env, t.TempDir(), join...)
	all, err := adminOf(t, a, b).Controllers(t.Context())
	if err != nil || len(all) != 2 || all[0].Name != "a" || all[1].Name != "b" || !all[0].Leads || all[1].Leads || all[1].URL != b.url {
		t.Fatalf("the controllers are %+v, %v", all, err)
	}
	for _, c := range all {
		if c.State != api.StateReady || c.Member == "" || c.PeerURL == "" {
			t.Errorf("%+v", c)
		}
	}
	b.stopped(t)
	b = runController(t, nil, b.data, join...) // the token is spent and gone
	if err := admin.RemoveController(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if code := <-b.code; code != exitError || !strings.Contains(b.log.String(), "was removed") {
		t.Errorf("the one that was removed ended with %d:\n%s", code, b.log)
	}
	if all, err := admin.Controllers(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("the controllers are %+v, %v", all, err)
	}
	a.stopped(t)
}

// A backup of a running controller makes another one, with the same CA and tokens,
// which waits to be accepted.
func TestController_isBackedUpAndRestored(t *testing.T) {
	a := runController(t, nil, t.TempDir())
	file, data := filepath.Join(t.TempDir(), "cloud.backup"), t.TempDir()
	cairn := func(server running, args ...string) (int, string) {
		out := &bytes.Buffer{}
		env := map[string]string{"CAIRN_SERVER": server.url}
		x := &app{in: strings.NewReader(""), out: out, err: out, getenv: func(k string) string { return env[k] }, now: time.Now, readFile: os.ReadFile}
		return x.run(t.Context(), append(args, "--token-file", filepath.Join(a.data, "admin.token"), "--ca-file", filepath.Join(a.data, "ca.crt"))), out.String()
	}
	if code, out := cairn(a, "controller", "backup", file); code != exitOK {
		t.Fatal(out)
	}
	if code, out := cairn(a, "controller", "backup", file); code != exitError || !strings.Contains(out, "already") {
		t.Errorf("it wrote over a backup: %s", out)
	}
	if at, err := os.Stat(file); err != nil || at.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", at, err)
	}
	a.stopped(t)
	x, _, errw := testApp(nil, "")
	if code := x.run(t.Context(), []string{"controller", "restore", file, "--data", data}); code != exitOK {
		t.Fatal(errw)
	}
	b := runController(t, nil, data)
	defer b.stopped(t)
	if code, out := cairn(b, "controller", "check"); code != exitOK || !strings.Contains(out, "is held") {
		t.Errorf("it exited with %d: %s", code, out)
	}
	if code, out := cairn(b, "controller", "check", "--accept"); code != exitOK || !strings.Contains(out, "goes on") {
		t.Errorf("it exited with %d: %s", code, out)
	}
	if code, out := cairn(b, "project", "create", "after"); code != exitOK {
		t.Errorf("it exited with %d: %s", code, out)
	}
}

// A host's token must not open the CA's key.
func TestController_doesNotJoinWithTheTokenOfAHost(t *testing.T) {
	a := runController(t, nil, t.TempDir(), "--name", "a")
	defer a.stopped(t)
	admin := adminOf(t, a, a)
	ask := func(secret, proof string) error {
		_, err := client.JoinController(t.Context(), a.url, api.JoinControllerRequest{Secret: secret, Name: "b", Proof: proof})
		return err
	}
	if err := ask(joinToken(t, admin, "host", api.JoinHost), "p"); !client.IsCode(err, "join_token_invalid") {
		t.Errorf("with a host's token: %v", err)
	}
	secret := joinToken(t, admin, "controller", api.JoinController)
	if err := ask(secret, "mine"); err != nil {
		t.Error(err)
	}
	if err := ask(secret, "mine"); err != nil {
		t.Errorf("the same machine, again: %v", err)
	}
	if err := ask(secret, "another's"); !client.IsCode(err, "join_token_used") {
		t.Errorf("another machine: %v", err)
	}
}
