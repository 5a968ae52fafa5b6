package linux

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netns"

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
	host *space

	mu            sync.Mutex                    // one looks or changes at a time
	asked         *network.Desired              // that was to be applied last
	want          *network.Desired              // that was applied last, all of it
	wasOff        bool                          // see network.Observed.ForwardingWasOff
	were          map[network.SettingKey]string // see network.Observed.Were
	unjudged      bool                          // see network.Observed.Unjudged
	uplink        string                        // that was wanted last
	announcements *announcer

	seen        atomic.Pointer[view]
	eventBuffer int // of each socket that listens, in bytes
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
	host, err := openSpace(ns)
	if err != nil {
		return nil, fmt.Errorf("open the host's network namespace: %w", err)
	}
	return &Network{o: o, host: host, unjudged: true, eventBuffer: 1 << 20, announcements: newAnnouncer()}, nil
}

// Close lets go of the kernel. All stays as it is.
func (n *Network) Close() error {
	n.announcements.close()
	return n.host.Close()
}

func (n *Network) path(namespace string) string { return filepath.Join(n.o.NamespaceDir, namespace) }

// Apply implements agent.Network. What fails for one network holds up no other:
// the rest is done, and the error names what was not.
func (n *Network) Apply(ctx context.Context, want network.Desired) (found []network.Difference, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked, n.want, n.uplink = &want, nil, want.Uplink
	k := n.open()
	defer func() { err = errors.Join(err, k.Close()) }()
	have, err := k.observe()
	if err != nil {
		return nil, err
	}
	plan := network.Plan(want, have)
	ops, err := k.carryOut(ctx, plan)
	if len(ops) > 0 {
		n.o.Log.Info("the host's network changed", "operations", len(ops), "failed", err != nil)
	}
	if err == nil {
		n.want = &want
	}
	return network.Differences(have, plan), err
}

// Look implements agent.Network.
func (n *Network) Look(context.Context) (r network.Report, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.asked == nil {
		return r, errors.New("it is not known yet what is to be there")
	}
	k := n.open()
	defer func() { err = errors.Join(err, k.Close()) }()
	have, err := k.observe()
	if err != nil {
		return r, err
	}
	return network.Look(*n.asked, have), nil
}

// carryOut does the ops in their order, and returns those that were done. After
// one that failed, those of the same network are left out; after one of the
// host's own that makes something, all are.
func (k *kernel) carryOut(ctx context.Context, ops []network.Op) (done []network.Op, err error) {
	blocked := map[uint32]bool{}
	for _, op := range ops {
		if err := errors.Join(err, ctx.Err()); ctx.Err() != nil {
			return done, err
		}
		if blocked[op.Subject()] {
			continue
		}
		if network.UnjudgedAfter(false, op) { // before it is done, as it may be done in part
			k.unjudged = true
		}
		e := k.do(op) //nolint:contextcheck // an announcement is repeated after this has ended
		if e == nil {
			done = append(done, op)
			if s, ok := op.(network.PutSetting); ok && s.IsForwarding() {
				k.wasOff = s.Value == "1"
			}
			k.were, k.unjudged = network.WereAfter(k.were, op), network.UnjudgedAfter(k.unjudged, op)
			continue
		}
		err = errors.Join(err, fmt.Errorf("%s: %w", op, e))
		if op.Subject() != 0 {
			blocked[op.Subject()] = true
		} else if makes(op) {
			return done, err
		}
	}
	return done, err
}

// makes tells whether what comes after an op of the host's own relies on it.
func makes(op network.Op) bool {
	switch op.(type) {
	case network.PutTable, network.PutSetting, network.AddElements, network.ReplaceElements:
		return true
	}
	return false
}
