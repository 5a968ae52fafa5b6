package linux

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/cairn-cloud/cairn/network"
)

// quiet is how long nothing must have happened until it is looked what became
// of it: changes come in bursts, our own among them.
const quiet = 100 * time.Millisecond

// Events implements agent.Network. The kernel says that something has changed;
// it is yielded only where what there is then differs from what was applied
// last, so that what we do ourselves wakes nobody.
func (n *Network) Events(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for ctx.Err() == nil {
			err := n.watch(ctx, func(what string) bool { return yield(what, nil) })
			if errors.Is(err, errEnough) || ctx.Err() != nil {
				return
			}
			if !yield("", err) || !pause(ctx, time.Second) {
				return
			}
		}
	}
}

var errEnough = errors.New("nobody listens any more")

// watch yields until ctx ends, nobody listens, or the kernel's events are lost.
func (n *Network) watch(ctx context.Context, yield func(string) bool) error {
	changed, stop, err := n.subscribe()
	if err != nil {
		return err
	}
	defer stop()
	settled := time.NewTimer(quiet) // what happened before we listened counts too
	defer settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-changed:
			if err != nil {
				return err
			}
			settled.Reset(quiet)
		case <-settled.C:
			what, err := n.drift()
			if err != nil {
				return err
			}
			if what != "" && !yield(what) {
				return errEnough
			}
		}
	}
}

// drift says what is not as it was applied last; "" when all is, or nothing was.
func (n *Network) drift() (what string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.want == nil {
		return "", nil
	}
	k, err := n.open()
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	have, err := k.observe()
	if err != nil {
		return "", err
	}
	return strings.Join(network.Summary(network.Plan(*n.want, have)), ", "), nil
}

// subscribe tells of changes of the host's links, addresses, neighbours and
// rules. An error on the channel ends it: some may have been missed.
func (n *Network) subscribe() (changed chan error, stop func(), err error) {
	changed = make(chan error, 1)
	say := func(err error) {
		select {
		case changed <- err:
		default: // one that waits says it too, unless this one is an error
			if err != nil {
				select {
				case <-changed:
				default:
				}
				changed <- err
			}
		}
	}
	done := make(chan struct{})
	lost := func(err error) { say(fmt.Errorf("the kernel's events: %w", err)) }
	links, addresses, neighbours := make(chan netlink.LinkUpdate, 64), make(chan netlink.AddrUpdate, 64), make(chan netlink.NeighUpdate, 64)
	err = errors.Join(
		netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{Namespace: &n.host.ns, ErrorCallback: lost}),
		netlink.AddrSubscribeWithOptions(addresses, done, netlink.AddrSubscribeOptions{Namespace: &n.host.ns, ErrorCallback: lost}),
		netlink.NeighSubscribeWithOptions(neighbours, done, netlink.NeighSubscribeOptions{Namespace: &n.host.ns, ErrorCallback: lost}),
	)
	if err != nil {
		close(done)
		return nil, nil, fmt.Errorf("subscribe to the kernel's events: %w", err)
	}
	rules, err := nftables.New(nftables.WithNetNSFd(int(n.host.ns)), nftables.AsLasting())
	if err != nil {
		close(done)
		return nil, nil, fmt.Errorf("subscribe to changes of rules: %w", err)
	}
	monitor := nftables.NewMonitor()
	generations, err := rules.AddGenerationalMonitor(monitor)
	if err != nil {
		close(done)
		return nil, nil, errors.Join(fmt.Errorf("subscribe to changes of rules: %w", err), rules.CloseLasting())
	}
	ended := make(chan struct{}, 4)
	go forward(links, say, ended)
	go forward(addresses, say, ended)
	go forward(neighbours, say, ended)
	go forward(generations, say, ended)
	return changed, func() {
		close(done)
		_ = monitor.Close() // it ends with its socket
		_ = rules.CloseLasting()
		for range cap(ended) {
			<-ended
		}
	}, nil
}

// forward makes of each event that something has changed.
func forward[T any](events <-chan T, say func(error), ended chan<- struct{}) {
	for range events {
		say(nil)
	}
	ended <- struct{}{}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
