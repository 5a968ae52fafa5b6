package linux

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// tunnelled is a frame in a tunnel's packet.
func tunnelled(vni byte, frame []byte) []byte {
	return append([]byte{8, 0, 0, 0, 0, 0, vni, 0}, frame...)
}

func TestTunnel_takesPacketsOfTheNetworksHostsOnly(t *testing.T) {
	r := newRoom(t)
	stranger := r.host()
	seen := r.a.frames()
	frame := func(word string) []byte {
		return tunnelled(42, etherFrame(r.a.port.MAC, r.b.port.MAC, unix.ETH_P_IP,
			ipPacket(r.b.address, r.a.address, unix.IPPROTO_UDP, udpPacket(1000, 2000, []byte(word)))))
	}
	send := func(from *host, port uint16, word string) {
		t.Helper()
		c := r.listenUDP(from.Network.host.ns, netip.AddrPortFrom(from.address, port))
		if _, err := c.WriteTo(frame(word), net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.one.address, 4789))); err != nil {
			t.Fatal(err)
		}
	}
	// The fabric keeps no order between hosts: ask the stranger's packet's
	// way back to be sure that it has arrived.
	send(stranger, 5000, "from a stranger")
	r.settled(stranger, r.one)
	send(r.two, 5000, "from a host of the network")
	for _, f := range seen.until(func(f []byte) bool { return bytes.Contains(f, []byte("from a host of the network")) }) {
		if bytes.Contains(f, []byte("from a stranger")) {
			t.Errorf("a stranger's frame has reached a guest: %x", f)
		}
	}
}

// A guest's packet leaves with its host's address, which other hosts trust.
func TestTunnel_aGuestCannotMakeOne(t *testing.T) {
	r := newRoom(t)
	a, _, _ := r.network(43, 0x10)
	seen := r.b.frames()
	evil := tunnelled(42, etherFrame(r.b.port.MAC, r.a.port.MAC, unix.ETH_P_IP,
		ipPacket(r.a.address, r.b.address, unix.IPPROTO_UDP, udpPacket(1000, 2000, []byte("from another network")))))
	c := r.listenUDP(a.ns, netip.AddrPortFrom(a.address, 5000))
	world := r.listenUDP(r.fabric, netip.AddrPortFrom(beyond, 4789))
	for _, to := range []netip.Addr{r.two.address, r.one.address, beyond} {
		if _, err := c.WriteTo(evil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 4789))); err != nil {
			t.Fatal(err)
		}
	}
	a.reaches(beyond) // all of them have gone the way that they go
	r.settled(r.one, r.two)
	r.a.reaches(r.b.address)
	for _, f := range seen.until(func(f []byte) bool { return is(f, unix.IPPROTO_ICMP) }) {
		if bytes.Contains(f, []byte("from another network")) {
			t.Errorf("a guest's own tunnel has reached another network: %x", f)
		}
	}
	// Nor does it leave for the world, where a host may be that we do not know.
	self := r.listenUDP(r.fabric, netip.AddrPortFrom(beyond, 0))
	if _, err := self.WriteTo([]byte("the world"), world.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if got, _ := r.read(world); string(got) != "the world" {
		t.Error("a guest's own tunnel has reached the world")
	}
}

// What comes from another host must not pass for the gateway, nor reach it, nor
// be anything but IPv4: ARP is answered by the host itself.
func TestTunnel_bringsNoARPAndNoGateway(t *testing.T) {
	r := newRoom(t)
	seen := r.a.frames()
	router := framesOf(t, r.router("cairn-00002a"), "gw")
	mac, gateway := r.b.port.MAC, net.HardwareAddr{2, 0xca, 0x1a, 0, 0, 1}
	ip := func(word string) []byte {
		return ipPacket(r.b.address, r.a.address, unix.IPPROTO_UDP, udpPacket(1000, 2000, []byte(word)))
	}
	c := r.listenUDP(r.two.Network.host.ns, netip.AddrPortFrom(r.two.address, 5000))
	for _, f := range [][]byte{
		etherFrame(r.a.port.MAC, gateway, unix.ETH_P_IP, ip("evil")),
		etherFrame(gateway, mac, unix.ETH_P_IP, ip("evil")),
		etherFrame(broadcast, mac, unix.ETH_P_ARP, append(arpPacket(1, mac, r.b.address, r.a.address), "evil"...)),
		etherFrame(r.a.port.MAC, mac, unix.ETH_P_IPV6, append(make([]byte, 40), "evil"...)),
		etherFrame(r.a.port.MAC, mac, unix.ETH_P_8021Q, append([]byte{0, 5, 8, 0}, ip("evil")...)),
		etherFrame(r.a.port.MAC, mac, unix.ETH_P_IP, ip("good")),
	} {
		if _, err := c.WriteTo(tunnelled(42, f), net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.one.address, 4789))); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range seen.until(func(f []byte) bool { return bytes.Contains(f, []byte("good")) }) {
		if bytes.Contains(f, []byte("evil")) {
			t.Errorf("the tunnel has brought %x", f)
		}
	}
	r.a.reaches(netip.MustParseAddr("10.0.1.1"))
	for _, f := range router.until(func(f []byte) bool { return is(f, unix.IPPROTO_ICMP) }) {
		if bytes.Contains(f, []byte("evil")) {
			t.Errorf("the tunnel has brought the router %x", f)
		}
	}
}

// Nothing is flooded: what no other host has does not leave the host.
func TestTunnel_carriesWhatIsForAnotherHostOnly(t *testing.T) {
	r := newRoom(t)
	wire := framesOf(t, r.two.Network.host.ns, "eth0")
	ip := func(to string) []byte {
		return ipPacket(r.a.address, netip.MustParseAddr(to), unix.IPPROTO_UDP, udpPacket(1000, 2000, []byte("flooded")))
	}
	r.a.inject(etherFrame(broadcast, r.a.port.MAC, unix.ETH_P_IP, ip("255.255.255.255")))
	r.a.inject(etherFrame(net.HardwareAddr{1, 0, 0x5e, 0, 0, 9}, r.a.port.MAC, unix.ETH_P_IP, ip("224.0.0.9")))
	r.a.inject(etherFrame(net.HardwareAddr{2, 9, 9, 9, 9, 9}, r.a.port.MAC, unix.ETH_P_IP, ip("10.0.1.77")))
	r.a.inject(etherFrame(broadcast, r.a.port.MAC, unix.ETH_P_ARP, arpPacket(1, r.a.port.MAC, r.a.address, netip.MustParseAddr("10.0.1.77"))))
	r.a.inject(etherFrame(broadcast, r.a.port.MAC, unix.ETH_P_ARP, arpPacket(1, r.a.port.MAC, r.a.address, r.b.address)))
	r.a.reaches(r.b.address)
	isTunnel := func(f []byte) bool { return is(f, unix.IPPROTO_UDP) && f[36] == 0x12 && f[37] == 0xb5 }
	for _, f := range wire.until(func(f []byte) bool {
		return isTunnel(f) && bytes.Contains(f, r.b.address.AsSlice()) && is(f[50:], unix.IPPROTO_ICMP)
	}) {
		if isTunnel(f) {
			t.Errorf("the tunnel carries %x", f[50:])
		}
	}
}
