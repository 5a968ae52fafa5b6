package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/cairn-cloud/cairn/agent"
)

// RunDir holds the sockets of migrations, a directory for each instance. libvirt
// takes one path for both hosts, so it is the same on all.
const RunDir = "/run/cairn/migrate"

func runDir(instance string) string { return filepath.Join(RunDir, instance) }

func socketOf(instance string, c agent.Channel) string {
	return filepath.Join(runDir(instance), string(c))
}

func uriOf(socket string) string {
	return "qemu+unix:///system?socket=" + url.QueryEscape(socket)
}

// relay is this host's end of the channels of a migration: sockets that libvirt
// and QEMU connect to, each connection of which is carried to the other host by its agent.
type relay struct {
	h         *Hypervisor
	m         agent.Migration
	cancel    context.CancelFunc
	listeners []net.Listener
	work      sync.WaitGroup
}

func (h *Hypervisor) openRelay(ctx context.Context, m agent.Migration) (*relay, error) {
	machine, err := h.makeRunDir(m.Instance)
	if err != nil {
		return nil, err
	}
	// Not ended with ctx: giving up goes through the same channels.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &relay{h: h, m: m, cancel: cancel}
	for _, c := range []agent.Channel{agent.ChannelHypervisor, agent.ChannelMemory, agent.ChannelDisks} {
		if err := r.listen(ctx, c, machine); err != nil {
			r.close()
			return nil, fmt.Errorf("channel %s: %w", c, err)
		}
	}
	return r, nil
}

func (r *relay) listen(ctx context.Context, c agent.Channel, m machine) error {
	path := socketOf(r.m.Instance, c)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	r.listeners = append(r.listeners, l)
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	if c != agent.ChannelHypervisor { // QEMU connects to these itself
		if err := os.Chown(path, m.user, m.group); err != nil {
			return err
		}
	}
	r.work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			r.work.Go(func() { r.carry(ctx, c, conn) })
		}
	})
	return nil
}

func (r *relay) carry(ctx context.Context, c agent.Channel, conn net.Conn) {
	there, err := r.m.Dial(ctx, c)
	if err != nil {
		r.h.o.Log.Warn("a channel of a migration is not to be had", "instance", r.m.Instance, "channel", c, "error", err)
		_ = conn.Close()
		return
	}
	agent.Join(ctx, conn, there)
}

func (r *relay) uri() string { return uriOf(socketOf(r.m.Instance, agent.ChannelHypervisor)) }

func (r *relay) close() {
	r.cancel()
	for _, l := range r.listeners {
		_ = l.Close() // removes the socket
	}
	r.work.Wait()
	_ = os.Remove(runDir(r.m.Instance)) // where nothing is in it
}

// makeRunDir makes the directory in which QEMU, which may run as another user, makes its sockets.
func (h *Hypervisor) makeRunDir(instance string) (machine, error) {
	c, m, err := h.get()
	if err != nil {
		return m, err
	}
	defer release(c)
	dir := runDir(instance)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return m, fmt.Errorf("directory of the migration of %s: %w", instance, err)
	}
	return m, os.Chown(dir, m.user, m.group)
}

// Receive implements agent.Hypervisor.
func (h *Hypervisor) Receive(ctx context.Context, instance string, c agent.Channel) (agent.Stream, error) {
	switch c {
	case agent.ChannelConsole:
		return receiveLog(h.o.Layout.ConsoleLog(instance)), nil
	case agent.ChannelHypervisor:
		if _, err := h.makeRunDir(instance); err != nil {
			return nil, err
		}
		return dialUnix(ctx, daemonSocket(h.o.URI))
	default:
		return dialUnix(ctx, socketOf(instance, c))
	}
}

func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

// daemonSocket is where libvirt's daemon listens.
func daemonSocket(uri string) string {
	if u, err := url.Parse(uri); err == nil && u.Query().Get("socket") != "" {
		return u.Query().Get("socket")
	}
	const one, modular = "/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"
	if _, err := os.Stat(one); err != nil {
		return modular
	}
	return one
}
