package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cairn": main})
}

// startController runs `cairn controller` in this process, with its own etcd,
// until the test ends. It returns the data directory and the URL.
func startController(t *testing.T) (data, server string) {
	t.Helper()
	data = t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	ready, code := make(chan string, 1), make(chan int, 1)
	log := &bytes.Buffer{}
	a := &app{in: strings.NewReader(""), out: io.Discard, err: log, getenv: func(string) string { return "" }, now: time.Now, readFile: os.ReadFile, ready: func(url string) { ready <- url }}
	go func() {
		code <- a.run(ctx, []string{"controller", "--data", data, "--listen", "127.0.0.1:0", "--log-level", "warn"})
	}()
	t.Cleanup(func() {
		cancel()
		if c := <-code; c != exitOK {
			t.Errorf("the controller ended with %d:\n%s", c, log)
		}
	})
	select {
	case server = <-ready:
	case c := <-code:
		code <- c
		t.Fatalf("the controller ended before it was ready:\n%s", log)
	}
	return data, server
}

// The scripts type commands against a real controller with a real etcd and no
// hosts, each in a project of its own.
func TestScripts(t *testing.T) {
	data, server := startController(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(e *testscript.Env) error {
			name := regexp.MustCompile(`[^a-z]`).ReplaceAllString(strings.TrimPrefix(filepath.Base(e.WorkDir), "script-"), "")
			token, err := os.ReadFile(filepath.Join(data, "admin.token"))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(e.WorkDir, "disk.raw"), smallDisk(), 0o644); err != nil {
				return err
			}
			e.Setenv("NAME", name)
			e.Setenv("CAIRN_SERVER", server)
			e.Setenv("CAIRN_CA", filepath.Join(data, "ca.crt"))
			e.Setenv("CAIRN_TOKEN", strings.TrimSpace(string(token)))
			e.Setenv("CAIRN_PROJECT", "t-"+name)
			a := &app{in: strings.NewReader(""), out: io.Discard, err: os.Stderr, getenv: e.Getenv, now: time.Now, readFile: os.ReadFile}
			if a.run(context.Background(), []string{"project", "create", "t-" + name}) != exitOK {
				return errors.New("the script's project was not made")
			}
			return nil
		},
	})
}

// smallDisk is a raw disk of 1 MiB with an MBR and one partition.
func smallDisk() []byte {
	d := make([]byte, 1<<20)
	copy(d[446:], []byte{0x80, 0, 2, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 0xff, 7, 0, 0})
	d[510], d[511] = 0x55, 0xaa
	return d
}

// exits demands an exit code: exits 4 cairn network delete front.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("%s exited with %d, want %d", strings.Join(args[1:], " "), code, want)
	}
}

// lines hands out what is written, line by line, as it comes.
type lines struct {
	ch   chan string
	rest []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		l.ch <- string(line)
		l.rest = rest
	}
}

func TestWatch_printsEveryChangeUntilInterrupted(t *testing.T) {
	data, server := startController(t)
	env := map[string]string{"CAIRN_SERVER": server, "CAIRN_CA": filepath.Join(data, "ca.crt")}
	token, err := os.ReadFile(filepath.Join(data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	env["CAIRN_TOKEN"] = strings.TrimSpace(string(token))
	newApp := func(out io.Writer) *app {
		return &app{in: strings.NewReader(""), out: out, err: io.Discard, getenv: func(k string) string { return env[k] }, now: time.Now, readFile: os.ReadFile}
	}
	do := func(args ...string) {
		t.Helper()
		if code := newApp(io.Discard).run(t.Context(), args); code != exitOK {
			t.Fatalf("cairn %v exited with %d", args, code)
		}
	}
	do("network", "create", "before")
	ctx, interrupt := context.WithCancel(t.Context())
	seen, code := &lines{ch: make(chan string, 100)}, make(chan int, 1)
	go func() { code <- newApp(seen).run(ctx, []string{"network", "list", "--watch", "-o", "table"}) }()
	expect := func(prefix string) {
		t.Helper()
		select {
		case line := <-seen.ch:
			if !strings.HasPrefix(line, prefix) {
				t.Fatalf("the watch printed %q, not %q", line, prefix)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("the watch never printed %q", prefix)
		}
	}
	expect("put\tbefore\t")
	do("network", "create", "after")
	expect("put\tafter\t")
	do("network", "delete", "before")
	expect("delete\tbefore")
	interrupt()
	if c := <-code; c != exitOK {
		t.Errorf("an interrupted watch exits with %d", c)
	}
}
