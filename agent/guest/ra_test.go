package guest

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/mdlayher/ndp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/cairn-cloud/cairn/network"
)

// raOf is what a NIC's router advertisement says.
func raOf(t *testing.T, n nic) *ndp.RouterAdvertisement {
	t.Helper()
	p, err := advertise(n)
	if err != nil {
		t.Fatal(err)
	}
	m, err := ndp.ParseMessage(p[header6:])
	if err != nil {
		t.Fatal(err)
	}
	return m.(*ndp.RouterAdvertisement)
}

func TestRA_saysWhatThePortHas(t *testing.T) {
	n := viewOf(t, dualStack(), 1).byMAC[hw(macA)]
	ra := raOf(t, n)
	if ra.RouterLifetime != 0 || ra.ManagedConfiguration || ra.OtherConfiguration {
		t.Errorf("it says %+v", ra)
	}
	var prefixes, routes, mtus int
	for _, o := range ra.Options {
		switch o := o.(type) {
		case *ndp.PrefixInformation:
			prefixes++
			if o.Prefix != addr("fd00:0:0:6::") || o.PrefixLength != 64 || !o.AutonomousAddressConfiguration || !o.OnLink || o.ValidLifetime != ndp.Infinity {
				t.Errorf("prefix %+v", o)
			}
		case *ndp.RouteInformation:
			routes++
			if o.Prefix != addr("fd00:0:0:7::") || o.PrefixLength != 64 {
				t.Errorf("route %+v", o)
			}
		case *ndp.MTU:
			mtus++
			if o.MTU != 1500 {
				t.Errorf("MTU %d", o.MTU)
			}
		case *ndp.RecursiveDNSServer:
			t.Errorf("name servers %v, where the subnet's one is of IPv4", o.Servers)
		}
	}
	if prefixes != 1 || routes != 1 || mtus != 1 {
		t.Errorf("%d prefixes, %d routes, %d MTUs", prefixes, routes, mtus)
	}
}

func TestRA_letsNoAddressBeMadeThatIsNotThePorts(t *testing.T) {
	d := dualStack()
	p := d.Ports["prt_a"]
	p.Addresses[0].Address = addr("fd00::6:0:0:0:99")
	d.Ports["prt_a"] = p
	for _, o := range raOf(t, viewOf(t, d, 1).byMAC[hw(macA)]).Options {
		if o, ok := o.(*ndp.PrefixInformation); ok && o.AutonomousAddressConfiguration {
			t.Errorf("prefix %+v", o)
		}
	}
	if p, err := advertise(viewOf(t, oneGuest(), 1).byMAC[hw(macA)]); p != nil || err != nil {
		t.Errorf("without IPv6 it is told %x, %v", p, err)
	}
}

func TestSolicits_isAWholeSolicitationOfThisLink(t *testing.T) {
	good := append(ndHeader(netip.IPv6Unspecified(), netip.IPv6LinkLocalAllRouters(), sizeOfAsked), routerAsked, 0, 0, 0, 0, 0, 0, 0)
	if !solicits(good) || !solicits(append(good[:len(good):len(good)], 0, 0)) {
		t.Error("a good one is not seen")
	}
	for at, value := range map[int]byte{0: 0x40, 5: 9, 6: 17, 7: 254, header6: 134, header6 + 1: 1} {
		bad := append([]byte(nil), good...)
		if bad[at] = value; solicits(bad) {
			t.Errorf("with %d at %d it is taken for one", value, at)
		}
	}
	for cut := range good {
		if solicits(good[:cut]) {
			t.Errorf("cut at %d it is taken for one", cut)
		}
	}
}

// A kernel stands for the guest: it asks when its link gets IPv6, and makes its
// address of what it is told.
func TestRA_aKernelMakesItsPortsAddress(t *testing.T) {
	w := newWires(t)
	w.router(1, "10.10.0.1/24", "fd00:0:0:6::1/64")
	g, stranger := w.guest(1, macA), w.guest(1, macC)
	if err := w.service().Set(t.Context(), dualStack()); err != nil {
		t.Fatal(err)
	}
	// Who has no port here is told nothing, also not what the other is.
	wakeIPv6(t, stranger)
	makesItsOwn(t, g, prefix("fd00:0:0:6::/64"), macA)
	stranger.mustRun(t, func() error { return noneOf(t, prefix("fd00:0:0:6::/64")) })
}

// wakeIPv6 makes a guest's kernel begin with IPv6: it asks for a router at once.
func wakeIPv6(t *testing.T, g *namespace) {
	t.Helper()
	g.mustRun(t, func() error {
		for _, s := range []struct{ file, value string }{{"disable_ipv6", "1"}, {"accept_ra", "2"}, {"accept_dad", "0"}, {"router_solicitation_delay", "0"}, {"disable_ipv6", "0"}} {
			if err := os.WriteFile("/proc/sys/net/ipv6/conf/eth0/"+s.file, []byte(s.value), 0); err != nil {
				return err
			}
		}
		return nil
	})
}

// makesItsOwn waits until a guest's kernel has made the address of its MAC.
func makesItsOwn(t *testing.T, g *namespace, p netip.Prefix, hw string) {
	t.Helper()
	updates, stop := make(chan netlink.AddrUpdate, 100), make(chan struct{})
	if err := netlink.AddrSubscribeAt(netns.NsHandle(g.file.Fd()), updates, stop); err != nil {
		t.Fatal(err)
	}
	defer func() {
		close(stop)
		for range updates { // until the subscriber has ended
		}
	}()
	wakeIPv6(t, g)
	want := network.EUI64(p, hwOf(hw))
	for ctx := patient(t); ; {
		select {
		case u := <-updates:
			if u.NewAddr && u.LinkAddress.IP.Equal(net.IP(want.AsSlice())) {
				return
			}
		case <-ctx.Done():
			t.Fatalf("the guest has not made %s", want)
		}
	}
}

// noneOf looks for addresses of a prefix on eth0.
func noneOf(t *testing.T, p netip.Prefix) error {
	l, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	all, err := netlink.AddrList(l, netlink.FAMILY_V6)
	for _, a := range all {
		if x, ok := netip.AddrFromSlice(a.IP); ok && p.Contains(x) {
			t.Errorf("a stranger has %s", x)
		}
	}
	return err
}
