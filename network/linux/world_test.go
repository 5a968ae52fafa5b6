package linux

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// fabricMTU leaves guests 1500 bytes.
const fabricMTU = 1550

// beyond is an address that is on no host and in no network: the world.
var beyond = netip.MustParseAddr("203.0.113.1")

// world is a machine room: hosts in namespaces, joined by a fabric, with a
// router of the fabric that has the address beyond.
type world struct {
	t      testing.TB
	fabric netns.NsHandle
	hosts  int
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, fabric: newNamespace(t)}
	w.in(w.fabric, func(h *netlink.Handle) error {
		a := netlink.NewLinkAttrs()
		a.Name, a.MTU = "fabric", fabricMTU
		off := false
		return errors.Join(
			h.LinkAdd(&netlink.Bridge{LinkAttrs: a, MulticastSnooping: &off}),
			up(h, "fabric", "192.0.2.1/24"), up(h, "lo", beyond.String()+"/32"),
		)
	})
	return w
}

// in does something with the links of a namespace, on a thread that is in it.
func (w *world) in(ns netns.NsHandle, do func(h *netlink.Handle) error) {
	w.t.Helper()
	err := within(ns, func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		return do(h)
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// newNamespace makes a namespace that has no name and ends with its last user.
func newNamespace(t testing.TB) netns.NsHandle {
	t.Helper()
	type made struct {
		ns  netns.NsHandle
		err error
	}
	result := make(chan made)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err != nil {
			result <- made{err: err}
			return
		}
		ns, err := netns.Get()
		result <- made{ns, err}
	}()
	m := <-result
	if m.err != nil {
		t.Fatal("make a namespace: ", m.err)
	}
	t.Cleanup(func() { _ = m.ns.Close() })
	return m.ns
}

func up(h *netlink.Handle, link string, addresses ...string) error {
	l, err := h.LinkByName(link)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		x, err := netlink.ParseAddr(a)
		if err != nil {
			return err
		}
		if err := h.AddrAdd(l, x); err != nil {
			return fmt.Errorf("address %s: %w", a, err)
		}
	}
	return h.LinkSetUp(l)
}

// host is a machine of the world.
type host struct {
	*world
	*Network
	address netip.Addr
}

// host adds a machine: its underlay address is on the link eth0.
func (w *world) host() *host {
	w.t.Helper()
	w.hosts++
	h := &host{world: w, address: netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + w.hosts)})}
	ns := newNamespace(w.t)
	w.in(w.fabric, func(fabric *netlink.Handle) error {
		bridge, err := fabric.LinkByName("fabric")
		if err != nil {
			return err
		}
		a := netlink.NewLinkAttrs()
		a.Name, a.MTU, a.MasterIndex = fmt.Sprintf("host%d", w.hosts), fabricMTU, bridge.Attrs().Index
		return errors.Join(
			fabric.LinkAdd(&netlink.Veth{LinkAttrs: a, PeerName: "eth0", PeerNamespace: netlink.NsFd(ns), PeerTxQLen: -1}),
			up(fabric, a.Name),
		)
	})
	w.in(ns, func(x *netlink.Handle) error {
		// Its own IPv6 comes up at a time of its own.
		v6 := os.WriteFile("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", []byte("1"), 0)
		if err := errors.Join(v6, up(x, "lo"), up(x, "eth0", h.address.String()+"/24")); err != nil {
			return err
		}
		eth, err := x.LinkByName("eth0")
		if err != nil {
			return err
		}
		return x.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: net.IPv4(192, 0, 2, 1)})
	})
	h.open(ns)
	return h
}

// open opens the driver as an agent on that host would.
func (h *host) open(ns netns.NsHandle) {
	h.t.Helper()
	dir := filepath.Join(h.t.TempDir(), "netns")
	err := within(ns, func() (err error) {
		h.Network, err = Open(Options{NamespaceDir: dir, Log: slog.New(slog.NewTextHandler(testLog{h.t}, nil))})
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	n := h.Network
	h.t.Cleanup(func() {
		if files, err := os.ReadDir(dir); err == nil {
			for _, f := range files { // or the folder could not be removed
				_ = unix.Unmount(filepath.Join(dir, f.Name()), unix.MNT_DETACH)
			}
		}
		if err := n.Close(); err != nil {
			h.t.Error(err)
		}
	})
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Helper()
	l.t.Logf("%s", b)
	return len(b), nil
}

// apply makes a host's network what is wanted, and fails the test if it cannot.
func (h *host) apply(networks ...network.Network) {
	h.t.Helper()
	if _, err := h.Apply(h.t.Context(), h.desired(networks...)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) desired(networks ...network.Network) network.Desired {
	return network.Desired{Underlay: h.address, UnderlayMTU: fabricMTU, Uplink: "eth0", Networks: networks, Groups: map[string]network.SecurityGroup{openGroup: {Rules: openRules}}}
}
