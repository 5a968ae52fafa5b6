package linux

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// pair is two guests of one network on one host: what one sends, the other sees.
func pair(t *testing.T) (from, to *guest) {
	t.Helper()
	h := newWorld(t).host()
	n := blue(42, nic("aaaaaaaaaaaa", 1, "10.0.1.10", h, h), nic("bbbbbbbbbbbb", 2, "10.0.1.11", h, h))
	h.apply(n)
	return h.guest(n, n.Ports[0]), h.guest(n, n.Ports[1])
}

// Each frame is sent between two that pass, so that one that does not arrive
// was dropped and is not late.
func TestSpoof_aGuestSendsAsItselfOnly(t *testing.T) {
	a, b := pair(t)
	own, his := a.address, b.address
	mac, to := a.port.MAC, b.port.MAC
	foreign := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	stolen, gateway := netip.MustParseAddr("10.0.1.99"), netip.MustParseAddr("10.0.1.1")
	nobody, all := netip.IPv4Unspecified(), netip.AddrFrom4([4]byte{255, 255, 255, 255})
	udp := func(src, dst uint16) []byte { return udpPacket(src, dst, []byte("payload")) }
	ip := func(from, to netip.Addr, u []byte) []byte { return ipPacket(from, to, unix.IPPROTO_UDP, u) }
	patched := func(b []byte, at int, v byte) []byte { b[at] = v; return b }

	for name, c := range map[string]struct {
		frame  []byte
		passes bool
	}{
		"its own packet":                {etherFrame(to, mac, unix.ETH_P_IP, ip(own, his, udp(1000, 2000))), true},
		"another MAC":                   {etherFrame(to, foreign, unix.ETH_P_IP, ip(own, his, udp(1000, 2000))), false},
		"the neighbour's MAC":           {etherFrame(to, to, unix.ETH_P_IP, ip(own, his, udp(1000, 2000))), false},
		"another address":               {etherFrame(to, mac, unix.ETH_P_IP, ip(stolen, his, udp(1000, 2000))), false},
		"the gateway's address":         {etherFrame(to, mac, unix.ETH_P_IP, ip(gateway, his, udp(1000, 2000))), false},
		"no address":                    {etherFrame(to, mac, unix.ETH_P_IP, ip(nobody, his, udp(1000, 2000))), false},
		"a fragment of another address": {etherFrame(to, mac, unix.ETH_P_IP, patched(ip(stolen, his, udp(1000, 2000)), 7, 3)), false},
		// What is for all is for the router alone: no group was asked about the rest.
		"its own broadcast":                 {etherFrame(broadcast, mac, unix.ETH_P_IP, ip(own, all, udp(1000, 2000))), false},
		"a DHCP client without an address":  {etherFrame(broadcast, mac, unix.ETH_P_IP, ip(nobody, all, udp(68, 67))), false},
		"a DHCP client to one":              {etherFrame(to, mac, unix.ETH_P_IP, ip(nobody, his, udp(68, 67))), false},
		"a DHCP client of another MAC":      {etherFrame(broadcast, foreign, unix.ETH_P_IP, ip(nobody, all, udp(68, 67))), false},
		"a DHCP client that renews":         {etherFrame(to, mac, unix.ETH_P_IP, ip(own, his, udp(68, 67))), true},
		"a DHCP server":                     {etherFrame(to, mac, unix.ETH_P_IP, ip(own, his, udp(67, 68))), false},
		"a DHCP server from another port":   {etherFrame(to, mac, unix.ETH_P_IP, ip(own, his, udp(1000, 68))), false},
		"a DHCP relay":                      {etherFrame(to, mac, unix.ETH_P_IP, ip(own, his, udp(67, 67))), false},
		"a DHCP server's broadcast":         {etherFrame(broadcast, mac, unix.ETH_P_IP, ip(own, all, udp(67, 68))), false},
		"its own ARP request":               {etherFrame(broadcast, mac, unix.ETH_P_ARP, arpPacket(1, mac, own, his)), true},
		"its own ARP answer":                {etherFrame(to, mac, unix.ETH_P_ARP, arpPacket(2, mac, own, his)), true},
		"a probe before it uses an address": {etherFrame(broadcast, mac, unix.ETH_P_ARP, arpPacket(1, mac, nobody, own)), true},
		"an ARP answer for the gateway":     {etherFrame(to, mac, unix.ETH_P_ARP, arpPacket(2, mac, gateway, his)), false},
		"an ARP request as the gateway":     {etherFrame(broadcast, mac, unix.ETH_P_ARP, arpPacket(1, mac, gateway, his)), false},
		"an ARP answer of another MAC":      {etherFrame(to, mac, unix.ETH_P_ARP, arpPacket(2, foreign, own, his)), false},
		"an ARP answer in another's frame":  {etherFrame(to, foreign, unix.ETH_P_ARP, arpPacket(2, mac, own, his)), false},
		"a probe of another MAC":            {etherFrame(broadcast, mac, unix.ETH_P_ARP, arpPacket(1, foreign, nobody, own)), false},
		"an answer to a probe":              {etherFrame(to, mac, unix.ETH_P_ARP, arpPacket(2, mac, nobody, his)), false},
		"ARP with short MACs":               {etherFrame(to, mac, unix.ETH_P_ARP, patched(arpPacket(2, mac, own, his), 4, 4)), false},
		"ARP with long addresses":           {etherFrame(to, mac, unix.ETH_P_ARP, patched(arpPacket(2, mac, own, his), 5, 16)), false},
		"IPv6":                              {etherFrame(to, mac, unix.ETH_P_IPV6, make([]byte, 60)), false},
		"a VLAN's tag":                      {etherFrame(to, mac, unix.ETH_P_8021Q, append([]byte{0, 5, 8, 0}, ip(own, his, udp(1000, 2000))...)), false},
		"a provider's VLAN tag":             {etherFrame(to, mac, unix.ETH_P_8021AD, append([]byte{0, 5, 8, 0}, ip(own, his, udp(1000, 2000))...)), false},
		"a VLAN's tag of priority only":     {etherFrame(to, mac, unix.ETH_P_8021Q, append([]byte{0xe0, 0, 8, 0}, ip(own, his, udp(1000, 2000))...)), false},
		"a kind of frame nobody knows":      {etherFrame(to, mac, 0x88b5, make([]byte, 60)), false},
		"an 802.3 frame":                    {etherFrame(to, mac, 60, make([]byte, 60)), false},
	} {
		t.Run(name, func(t *testing.T) {
			in := b.frames()
			in.t = t
			a.inject(c.frame)
			last := etherFrame(to, mac, unix.ETH_P_IP, ip(own, his, udp(1, binary.BigEndian.Uint16([]byte("zz")))))
			a.inject(last)
			arrived := false
			for _, f := range in.until(func(f []byte) bool { return bytes.HasPrefix(f, last) }) {
				// By its end: a VLAN's tag is not shown where frames are read.
				arrived = arrived || bytes.Contains(f, c.frame[len(c.frame)-20:]) && bytes.Equal(f[6:12], c.frame[6:12])
			}
			if arrived != c.passes {
				t.Errorf("it passes: %v", arrived)
			}
			_ = in.Close()
		})
	}
}

// A frame to the bridge itself, or to its group addresses, would be the host's.
func TestSpoof_theHostHearsNothingFromItsBridges(t *testing.T) {
	h := newWorld(t).host()
	n := blue(42, nic("aaaaaaaaaaaa", 1, "10.0.1.10", h, h), nic("bbbbbbbbbbbb", 2, "10.0.1.11", h, h))
	h.apply(n)
	a, b := h.guest(n, n.Ports[0]), h.guest(n, n.Ports[1])
	server := h.listenUDP(h.Network.host.ns, netip.AddrPortFrom(h.address, 7000))
	answers := a.frames()
	for _, to := range []net.HardwareAddr{
		h.macOf("cb00002a"), h.macOf("ctaaaaaaaaaaaa"), h.macOf("cg00002a"), broadcast,
		{1, 0x80, 0xc2, 0, 0, 0},
		{1, 0x80, 0xc2, 0, 0, 0xe},
		{1, 0, 0x5e, 0, 0, 1},
	} {
		a.inject(etherFrame(to, a.port.MAC, unix.ETH_P_IP, ipPacket(a.address, h.address, unix.IPPROTO_UDP, udpPacket(7, 7000, []byte("from a guest")))))
		a.inject(etherFrame(to, a.port.MAC, unix.ETH_P_ARP, arpPacket(1, a.port.MAC, a.address, h.address)))
	}
	// The bridge has dealt with all of them when it has passed one on.
	a.reaches(b.address)
	for _, f := range answers.until(func(f []byte) bool { return is(f, unix.IPPROTO_ICMP) && f[34] == 0 }) {
		if binary.BigEndian.Uint16(f[12:]) == unix.ETH_P_ARP && bytes.Equal(f[28:32], h.address.AsSlice()) {
			t.Errorf("the host answers ARP: %x", f)
		}
	}
	self := h.listenUDP(h.Network.host.ns, netip.AddrPortFrom(h.address, 0))
	if _, err := self.WriteTo([]byte("from the host"), server.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if got, _ := h.read(server); string(got) != "from the host" {
		t.Errorf("the host hears %q", got)
	}
}

// The bridge's own link is where the host would be: nothing comes up there, from
// guests, from other hosts or from the router, and nothing that the host sends
// there goes out.
func TestSpoof_theHostIsOnNoBridge(t *testing.T) {
	r := newRoom(t)
	router, wire := r.router("cairn-00002a"), framesOf(t, r.two.Network.host.ns, "eth0")
	bridge, gw, nic := framesOf(t, r.one.Network.host.ns, "cb00002a"), framesOf(t, router, "gw"), r.a.frames()
	mac, out := r.one.macOf("cb00002a"), framesOf(t, r.one.Network.host.ns, "cb00002a")
	ip := func(word string) []byte {
		return ipPacket(r.b.address, r.a.address, unix.IPPROTO_UDP, udpPacket(1000, 2000, []byte(word)))
	}
	r.a.inject(etherFrame(mac, r.a.port.MAC, unix.ETH_P_ARP, arpPacket(1, r.a.port.MAC, r.a.address, r.b.address)))
	r.a.inject(etherFrame(broadcast, r.a.port.MAC, unix.ETH_P_ARP, arpPacket(1, r.a.port.MAC, r.a.address, r.b.address)))
	gw.send(etherFrame(mac, r.b.port.MAC, unix.ETH_P_IP, ip("up")))
	c := r.listenUDP(r.two.Network.host.ns, netip.AddrPortFrom(r.two.address, 5000))
	if _, err := c.WriteTo(tunnelled(42, etherFrame(mac, r.b.port.MAC, unix.ETH_P_IP, ip("up"))), net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.one.address, 4789))); err != nil {
		t.Fatal(err)
	}
	for _, to := range []net.HardwareAddr{broadcast, r.a.port.MAC, r.b.port.MAC, {2, 0xca, 0x1a, 0, 0, 1}} {
		out.send(etherFrame(to, mac, unix.ETH_P_IP, ip("down")))
	}
	r.a.reaches(r.c.address) // by the router and the tunnel: all before has gone its way
	r.a.reaches(r.b.address)
	isPing := func(f []byte) bool { return is(f, unix.IPPROTO_ICMP) }
	isTunnelledPing := func(f []byte) bool { return len(f) > 100 && is(f, unix.IPPROTO_UDP) && is(f[50:], unix.IPPROTO_ICMP) }
	for where, frames := range map[string][][]byte{"a guest": nic.until(isPing), "the router": gw.until(isPing), "another host": wire.until(isTunnelledPing)} {
		for _, f := range frames {
			if bytes.Contains(f, []byte("down")) {
				t.Errorf("the host's frame has reached %s: %x", where, f)
			}
		}
	}
	out.send(etherFrame(mac, mac, unix.ETH_P_IP, ip("last"))) // what goes out is shown too
	for _, f := range bridge.until(func(f []byte) bool { return bytes.Contains(f, []byte("last")) }) {
		if !bytes.Contains(f, []byte("down")) {
			t.Errorf("the host hears %x", f)
		}
	}
}

// Where another hand took the rules, or a link from its bridge, what comes by it
// must not be taken for the host's own.
func TestSpoof_theHostHearsNothingFromWhatFellOffItsBridge(t *testing.T) {
	r := newRoom(t)
	ns := r.one.Network.host.ns
	server := r.listenUDP(ns, netip.AddrPortFrom(r.one.address, 7000))
	gw := framesOf(t, r.router("cairn-00002a"), "gw")
	frame := func(to string) []byte {
		return etherFrame(r.one.macOf(to), r.b.port.MAC, unix.ETH_P_IP, ipPacket(r.b.address, r.one.address, unix.IPPROTO_UDP, udpPacket(7, 7000, []byte("by "+to))))
	}
	run(t, ns, "nft", "delete table bridge cairn")
	r.a.inject(frame("cb00002a"))
	tap := network.Tap(r.a.port.ID)
	for _, link := range []string{tap, "cg00002a", "cx00002a"} {
		run(t, ns, "ip", "link", "set", link, "nomaster")
	}
	r.a.inject(frame(tap))
	gw.send(frame("cg00002a"))
	c := r.listenUDP(r.two.Network.host.ns, netip.AddrPortFrom(r.two.address, 5000))
	if _, err := c.WriteTo(tunnelled(42, frame("cx00002a")), net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.one.address, 4789))); err != nil {
		t.Fatal(err)
	}
	r.settled(r.two, r.one)
	self := r.listenUDP(ns, netip.AddrPortFrom(r.one.address, 0))
	if _, err := self.WriteTo([]byte("from the host"), server.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	for got := ""; got != "from the host"; {
		b, _ := r.read(server)
		if got = string(b); got != "from the host" {
			t.Errorf("the host hears %q", got)
		}
	}
}
