package linux

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// Options of Open.
type Options struct {
	// NamespaceDir is where the routers' namespaces are named. Default: network.NamespaceDir.
	NamespaceDir string
	Log          *slog.Logger
}

// Network is the network of the host whose namespace the caller of Open was in.
type Network struct {
	o    Options
	ns   netns.NsHandle
	link *netlink.Handle

	mu   sync.Mutex       // of the kernel's state: one looks or changes at a time
	want *network.Desired // what was applied last
}

// Open opens the way to the kernel. It changes nothing. Close must be called.
func Open(o Options) (*Network, error) {
	if o.NamespaceDir == "" {
		o.NamespaceDir = network.NamespaceDir
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ns, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("open the host's network namespace: %w", err)
	}
	h, err := handle(ns)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open netlink: %w", err), ns.Close())
	}
	return &Network{o: o, ns: ns, link: h}, nil
}

// handle speaks netlink in a namespace, with room for large dumps.
func handle(ns netns.NsHandle) (*netlink.Handle, error) {
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	if err := h.SetSocketReceiveBufferSize(4<<20, true); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// Close lets go of the kernel. All stays as it is.
func (n *Network) Close() error {
	n.link.Close()
	return n.ns.Close()
}

// Apply implements agent.Network.
func (n *Network) Apply(ctx context.Context, want network.Desired) (done []string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.want = nil
	have, err := n.observe()
	if err != nil {
		return nil, err
	}
	for _, op := range network.Plan(want, have) {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		if err := n.do(op); err != nil {
			return done, fmt.Errorf("%s: %w", op, err)
		}
		n.o.Log.Debug("network", "done", op.String())
		done = append(done, op.String())
	}
	n.want = &want
	return done, nil
}
