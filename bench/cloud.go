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
}

// StartCloud starts the binary on an etcd, with its own data below dir.
func StartCloud(ctx context.Context, binary, dir, etcd string, args ...string) (*Cloud, error) {
	c := &Cloud{Data: filepath.Join(dir, "controller")}
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("find the binary to measure: %w; build it with `make build`", err)
	}
	// The controller tells systemd when it serves; here it tells us.
	at := filepath.Join(dir, "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("start the controller: %w", err)
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
	c.Process, err = start(dir, "controller", nil, []string{"NOTIFY_SOCKET=" + at}, binary,
		append([]string{"controller", "--data", c.Data, "--listen", "127.0.0.1:0", "--etcd-endpoints", etcd, "--log-level", "warn"}, args...)...)
	if err != nil {
		return nil, err
	}
	if err = c.await(ctx, ready); err == nil {
		err = c.read()
	}
	if err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
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
