package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/cairn-cloud/cairn/api/client"
)

// Cloud is a `cairn controller` in a process of its own.
type Cloud struct {
	*Process
	URL   string
	CA    []byte
	Token string // of its administrator
	Data  string

	binary, dir, etcd string
	args              []string
}

// StartCloud starts the binary on an etcd, with its own data below dir.
func StartCloud(ctx context.Context, binary, dir, etcd string, args ...string) (*Cloud, error) {
	c := &Cloud{Data: filepath.Join(dir, "controller"), binary: binary, dir: dir, etcd: etcd, args: args}
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("find the binary to measure: %w; build it with `make build`", err)
	}
	return c, c.start(ctx, "127.0.0.1:0")
}

// Restart kills the controller and starts it again, and returns when it serves.
func (c *Cloud) Restart(ctx context.Context) error {
	if err := c.Kill(); err != nil {
		return err
	}
	return c.Again(ctx)
}

// Again starts a controller that was killed, and returns when it serves.
func (c *Cloud) Again(ctx context.Context) error {
	return c.start(ctx, strings.TrimPrefix(c.URL, "https://"))
}

// start starts the controller and returns when it serves.
func (c *Cloud) start(ctx context.Context, listen string) error {
	// The controller tells systemd when it serves; here it tells us.
	at := filepath.Join(c.dir, "notify")
	if err := os.RemoveAll(at); err != nil {
		return err
	}
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("start the controller: %w", err)
	}
	ready := make(chan error, 1)
	go func() {
		for b := make([]byte, 256); ; {
			n, err := socket.Read(b)
			if err != nil || strings.Contains(string(b[:n]), "READY=1") {
				ready <- err
				return
			}
		}
	}()
	defer func() { _ = socket.Close() }() // it has served
	c.Process, err = start(c.dir, "controller", nil, []string{"NOTIFY_SOCKET=" + at}, c.binary,
		append([]string{"controller", "--data", c.Data, "--listen", listen, "--etcd-endpoints", c.etcd, "--log-level", "warn"}, c.args...)...)
	if err != nil {
		return err
	}
	if err = c.await(ctx, ready); err == nil {
		err = c.read()
	}
	if err != nil {
		return errors.Join(err, c.Stop())
	}
	return nil
}

// read reads what the controller has left for its owner.
func (c *Cloud) read() error {
	for _, f := range []struct {
		name string
		put  func(string)
	}{
		{"server", func(s string) { c.URL = s }},
		{"admin.token", func(s string) { c.Token = s }},
		{"ca.crt", func(s string) { c.CA = []byte(s) }},
	} {
		b, err := os.ReadFile(filepath.Join(c.Data, f.name))
		if err != nil {
			return fmt.Errorf("read what the controller has left: %w", err)
		}
		f.put(strings.TrimSpace(string(b)))
	}
	return nil
}

// Client makes a client of the cloud's administrator.
func (c *Cloud) Client() (*client.Client, error) {
	return client.New(client.Options{Server: c.URL, CA: c.CA, Token: c.Token, UserAgent: "cairn-bench"})
}
