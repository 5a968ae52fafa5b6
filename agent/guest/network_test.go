package guest

import (
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/network"
	"github.com/cairn-cloud/cairn/network/linux"
)

// openTap opens a tap as QEMU does.
func (n *namespace) openTap(t *testing.T, name string) (f *os.File) {
	t.Helper()
	n.mustRun(t, func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		r, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		f = os.NewFile(uintptr(fd), name)
		return nil
	})
	return f
}

// cable joins a guest's NIC to its tap on the host.
func cable(t *testing.T, host *namespace, tap string, g *namespace, hw string) {
	t.Helper()
	passes := host.link(t, func(u netlink.LinkUpdate) bool {
		return u.Link.Attrs().Name == tap && u.Link.Attrs().OperState == netlink.OperUp
	})
	ends := []*os.File{host.openTap(t, tap), g.openTap(t, "eth0")}
	var wg sync.WaitGroup
	wg.Go(func() { pump(ends[0], ends[1]) })
	wg.Go(func() { pump(ends[1], ends[0]) })
	t.Cleanup(func() {
		_, _ = ends[0].Close(), ends[1].Close()
		wg.Wait()
	})
	g.mustRun(t, func() error {
		m := hwOf(hw)
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetHardwareAddr(l, m), netlink.LinkSetUp(l))
	})
	passes()
}

// pump hands on frames, one a read, until one side is closed. A NIC that is
// still down refuses them.
func pump(to io.Writer, from io.Reader) {
	b := make([]byte, 1<<17)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if _, err := to.Write(b[:n]); errors.Is(err, os.ErrClosed) {
			return
		}
	}
}

// On the network that hosts really have, with its guards and rules: an
// unconfigured guest asks, is told who it is, and learns the rest.
func TestService_onTheNetworkOfAHost(t *testing.T) {
	host := newNamespace(t)
	dir := t.TempDir()
	var driver *linux.Network
	host.mustRun(t, func() (err error) {
		underlay := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "underlay", MTU: 1550}}
		if err := errors.Join(netlink.LinkAdd(underlay), addAddress(underlay, "192.0.2.1/24"), netlink.LinkSetUp(underlay)); err != nil {
			return err
		}
		driver, err = linux.Open(linux.Options{NamespaceDir: dir})
		return err
	})
	t.Cleanup(func() { driver.Close() })

	d := dualStack()
	addInstance(d, "b", "n", macB, "10.10.0.12")
	u := agent.Underlay{Address: addr("192.0.2.1"), MTU: 1550}
	n := network.Network{ID: "net_n", VNI: 1, MTU: u.GuestMTU(0)}
	for id, s := range d.Networks["net_n"].Subnets {
		n.Subnets = append(n.Subnets, network.Subnet{ID: id, CIDR: s.CIDR, Gateway: s.Gateway})
	}
	for _, id := range []string{"prt_a", "prt_b"} {
		p := d.Ports[id]
		var addresses []netip.Addr
		for _, a := range p.Addresses {
			addresses = append(addresses, a.Address)
		}
		n.Ports = append(n.Ports, network.Port{ID: id, MAC: hwOf(p.MAC), Addresses: addresses, Local: true, Instance: p.Instance, Hostname: p.Hostname})
	}
	if _, err := driver.Apply(t.Context(), network.Desired{Underlay: u.Address, UnderlayMTU: u.MTU, Networks: []network.Network{n}}); err != nil {
		t.Fatal(err)
	}
	s := Open(Options{Underlay: u, NamespaceDir: dir, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(s.Close)
	set(t, s, d)

	a, b := newNamespace(t), newNamespace(t)
	cable(t, host, network.Tap("prt_a"), a, macA)
	cable(t, host, network.Tap("prt_b"), b, macB)
	for name, g := range map[string]*namespace{"a": a, "b": b} {
		out, err := g.command(patient(t), "busybox", "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-s", writeScript(t, "[ $1 = bound ] && busybox ip addr add $ip/$mask dev eth0 && busybox ip route add default via $router; exit 0"))
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		if got := told(t, g, "/latest/meta-data/instance-id"); got != "ins_"+name {
			t.Errorf("%s is told that it is %q", name, got)
		}
		if got := told(t, g, "/nocloud/network-config"); !strings.Contains(got, d.Ports["prt_"+name].Addresses[0].Address.String()) {
			t.Errorf("%s is told %q", name, got)
		}
		lease, err := g.client(t, d.Ports["prt_"+name].MAC).Request(patient(t))
		if err != nil || lease.ACK.HostName() != name {
			t.Errorf("%s is leased %v (%v)", name, lease, err)
		}
	}
	makesItsOwn(t, a, prefix("fd00:0:0:6::/64"), macA)

	// What the driver takes away is not held by the service.
	set(t, s, nothing())
	if _, err := driver.Apply(t.Context(), network.Desired{}); err != nil {
		t.Error(err)
	}
}
