package guest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// patience bounds what a test waits for; nothing is measured by it.
const patience = 20 * time.Second

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// namespace is a network namespace that only this process knows: it is gone
// when its descriptor and all in it are closed, also if the test is killed.
type namespace struct{ file *os.File }

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	n := &namespace{}
	err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("a new network namespace (the tests run as root): %w", err)
		}
		n.file, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.file.Close() })
	return n
}

// onThread runs do on a thread that ends with it.
func onThread(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- do()
	}()
	return <-done
}

func (n *namespace) run(do func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return do()
	})
}

func (n *namespace) mustRun(t *testing.T, do func() error) {
	t.Helper()
	if err := n.run(do); err != nil {
		t.Fatal(err)
	}
}

// dial is a net.Dialer's, from within the namespace.
func (n *namespace) dial(from netip.Addr) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, to string) (c net.Conn, err error) {
		d := net.Dialer{}
		if from.IsValid() {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		}
		err = n.run(func() error {
			c, err = d.DialContext(ctx, "tcp4", to)
			return err
		})
		return c, err
	}
}

// command is a program that runs in the namespace.
func (n *namespace) command(ctx context.Context, name string, args ...string) ([]byte, error) {
	var out []byte
	err := n.run(func() (err error) {
		out, err = exec.CommandContext(ctx, name, args...).CombinedOutput()
		return err
	})
	return out, err
}

// wires is the network of a host as network/linux makes it, cut down to what
// guests and services touch: routers, each with its switch, and guests on it.
type wires struct {
	t       *testing.T
	dir     string // of the routers' namespaces
	routers map[uint32]*namespace
	bridges map[uint32]*namespace // the switch of each network
	plugs   int                   // how many were ever there
}

func newWires(t *testing.T) *wires {
	return &wires{t: t, dir: t.TempDir(), routers: map[uint32]*namespace{}, bridges: map[uint32]*namespace{}}
}

// service opens a service on the wires.
func (w *wires) service() *Service {
	return w.serviceWith(Options{ResolvConf: filepath.Join(w.dir, "none")})
}

func (w *wires) serviceWith(o Options) *Service {
	o.Underlay, o.NamespaceDir, o.Log = agent.Underlay{MTU: 1550}, w.dir, slog.New(slog.DiscardHandler)
	s := Open(o)
	w.t.Cleanup(s.Close)
	return s
}

// router makes a network's router with those gateways, or makes it anew.
func (w *wires) router(vni uint32, gateways ...string) *namespace {
	w.t.Helper()
	r := newNamespace(w.t)
	if w.bridges[vni] == nil {
		w.bridges[vni] = newNamespace(w.t)
		w.bridges[vni].mustRun(w.t, func() error {
			b := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br"}}
			if err := netlink.LinkAdd(b); err != nil {
				return err
			}
			return netlink.LinkSetUp(b)
		})
	}
	w.wire(vni, r, gateways...)
	w.name(vni, r)
	return r
}

// wire gives a router its link towards the guests.
func (w *wires) wire(vni uint32, r *namespace, gateways ...string) {
	w.t.Helper()
	w.plug(vni, r, network.GatewayLink, network.GatewayMAC())
	r.mustRun(w.t, func() error {
		gw, err := netlink.LinkByName(network.GatewayLink)
		if err != nil {
			return err
		}
		for _, a := range append(gateways, network.MetadataAddress().String()+"/32") {
			if err := addAddress(gw, a); err != nil {
				return err
			}
		}
		return nil
	})
}

// remove takes a router away, and returns a function that waits until its
// namespace is gone, which it is when nobody holds it: a cable that leads into it
// goes with it.
func (w *wires) remove(vni uint32, r *namespace) (gone func()) {
	w.t.Helper()
	w.plugs++
	witness := fmt.Sprintf("witness%d", w.plugs)
	w.bridges[vni].mustRun(w.t, func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: witness}, PeerName: "witness", PeerNamespace: netlink.NsFd(int(r.file.Fd())),
		})
	})
	gone = w.bridges[vni].link(w.t, func(u netlink.LinkUpdate) bool {
		return u.Header.Type == unix.RTM_DELLINK && u.Link.Attrs().Name == witness
	})
	r.mustRun(w.t, func() error {
		gw, err := netlink.LinkByName(network.GatewayLink)
		if err != nil {
			return err
		}
		return netlink.LinkDel(gw)
	})
	if err := errors.Join(os.Remove(filepath.Join(w.dir, network.Namespace(vni))), r.file.Close()); err != nil {
		w.t.Fatal(err)
	}
	return gone
}

// uplink connects a router with a namespace outside, which has that address and
// the way to the metadata's.
func (w *wires) uplink(r, outside *namespace, address string) {
	w.t.Helper()
	passes := r.link(w.t, func(u netlink.LinkUpdate) bool {
		return u.Link.Attrs().Name == network.UplinkLink && u.Link.Attrs().OperState == netlink.OperUp
	})
	r.mustRun(w.t, func() error {
		v := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: network.UplinkLink}, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(outside.file.Fd())),
		}
		if err := netlink.LinkAdd(v); err != nil {
			return err
		}
		a, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetUp(v), netlink.RouteReplace(&netlink.Route{LinkIndex: v.Index, Dst: a.IPNet, Priority: 0}))
	})
	outside.mustRun(w.t, func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		_, metadata, err := net.ParseCIDR(network.MetadataAddress().String() + "/32")
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetUp(l), addAddress(l, address),
			netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: metadata, Scope: netlink.SCOPE_LINK}))
	})
	passes()
}

// name puts a namespace where the service looks for a network's router. A link
// to its descriptor is opened as the mount of a named namespace is.
func (w *wires) name(vni uint32, r *namespace) {
	w.t.Helper()
	file := filepath.Join(w.dir, network.Namespace(vni))
	_ = os.Remove(file)
	if err := os.Symlink(fmt.Sprintf("/proc/self/fd/%d", r.file.Fd()), file); err != nil {
		w.t.Fatal(err)
	}
	w.routers[vni] = r
}

// guest makes a guest with one NIC on a network.
func (w *wires) guest(vni uint32, hw string) *namespace {
	w.t.Helper()
	g := newNamespace(w.t)
	w.plug(vni, g, "eth0", hwOf(hw))
	return g
}

// plug connects a namespace to a network's switch, and returns when frames pass.
func (w *wires) plug(vni uint32, to *namespace, name string, hw net.HardwareAddr) {
	w.t.Helper()
	w.plugs++
	end := fmt.Sprintf("to%d", w.plugs)
	passes := w.bridges[vni].link(w.t, func(u netlink.LinkUpdate) bool {
		a := u.Attrs()
		return a.Name == end && a.OperState == netlink.OperUp
	})
	w.bridges[vni].mustRun(w.t, func() error {
		br, err := netlink.LinkByName("br")
		if err != nil {
			return err
		}
		v := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: end, MasterIndex: br.Attrs().Index},
			PeerName:  name, PeerHardwareAddr: hw, PeerNamespace: netlink.NsFd(int(to.file.Fd())),
		}
		if err := netlink.LinkAdd(v); err != nil {
			return err
		}
		return netlink.LinkSetUp(v)
	})
	to.mustRun(w.t, func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(l)
	})
	passes()
}

// link returns a function that waits until a link in the namespace is, or has
// been since, as is asked.
func (n *namespace) link(t *testing.T, is func(netlink.LinkUpdate) bool) func() {
	t.Helper()
	updates, stop := make(chan netlink.LinkUpdate, 100), make(chan struct{})
	ns := netns.NsHandle(n.file.Fd())
	if err := netlink.LinkSubscribeWithOptions(updates, stop, netlink.LinkSubscribeOptions{Namespace: &ns}); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		defer func() {
			close(stop)
			for range updates { // until the subscriber has ended
			}
		}()
		ctx := patient(t)
		for {
			select {
			case u := <-updates:
				if is(u) {
					return
				}
			case <-ctx.Done():
				t.Fatal("the link did not become what is waited for")
			}
		}
	}
}

func addAddress(l netlink.Link, prefix string) error {
	a, err := netlink.ParseAddr(prefix)
	if err != nil {
		return err
	}
	return netlink.AddrAdd(l, a)
}

// address gives a guest its address by hand, and the way to the gateway.
func (w *wires) address(g *namespace, prefix, gateway string) {
	w.t.Helper()
	g.mustRun(w.t, func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		if err := addAddress(l, prefix); err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: net.ParseIP(gateway)})
	})
}

// Desired states of tests: one network with one subnet, and instances in it.

const (
	macA = "02:00:00:00:00:0a"
	macB = "02:00:00:00:00:0b"
	macC = "02:00:00:00:00:0c"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

func hwOf(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

func nothing() api.HostDesired {
	return api.HostDesired{Instances: map[string]api.HostInstance{}, Networks: map[string]api.HostNetwork{}, Ports: map[string]api.HostPort{}}
}

// addNetwork adds a network of 10.10.0.0/24.
func addNetwork(d api.HostDesired, name string, vni uint32) {
	d.Networks["net_"+name] = api.HostNetwork{ID: "net_" + name, VNI: vni, Domain: name + ".shop.internal", Subnets: map[string]api.HostSubnet{
		"sub_" + name: {CIDR: prefix("10.10.0.0/24"), Gateway: addr("10.10.0.1"), DNSServers: []netip.Addr{addr("192.0.2.53")}},
	}}
}

// addInstance adds a local instance with a port in a network.
func addInstance(d api.HostDesired, name, network, hw, address string) {
	id, port := "ins_"+name, "prt_"+name
	d.Ports[port] = api.HostPort{
		ID: port, Network: "net_" + network, Instance: id, Hostname: name,
		MAC: hw, Addresses: []api.PortAddress{{Subnet: "sub_" + network, Address: addr(address)}}, Local: true,
	}
	d.Instances[id] = api.HostInstance{ID: id, Name: name, Project: "prj_a", Ports: []string{port}, Image: api.HostImage{ID: "img_a"}}
}

func oneGuest() api.HostDesired {
	d := nothing()
	addNetwork(d, "n", 1)
	addInstance(d, "a", "n", macA, "10.10.0.11")
	return d
}
