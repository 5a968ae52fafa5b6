package linux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	mdl "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

var (
	front6 = netip.MustParsePrefix("fd00:0:0:1::/64")
	back6  = netip.MustParsePrefix("fd00:0:0:2::/64")
)

// dual gives a network and its ports IPv6 too: each of its subnets has one beside it.
func dual(n network.Network) network.Network {
	n.Subnets = append(n.Subnets[:len(n.Subnets):len(n.Subnets)],
		network.Subnet{ID: "sub_3", CIDR: front6, Gateway: front6.Addr().Next()},
		network.Subnet{ID: "sub_4", CIDR: back6, Gateway: back6.Addr().Next()})
	for i := range n.Ports {
		p := &n.Ports[i]
		p.Addresses = []netip.Addr{p.Addresses[0], network.EUI64(subnet6Of(*p), p.MAC)}
	}
	return n
}

// subnet6Of is the one beside the port's of IPv4.
func subnet6Of(p network.Port) netip.Prefix {
	if p.Addresses[0].As4()[2] == 2 {
		return back6
	}
	return front6
}

// six is a port's address of IPv6.
func (g *guest) six() netip.Addr { return g.port.Addresses[1] }

// link is its link-local one.
func (g *guest) link() netip.Addr {
	return network.EUI64(netip.MustParsePrefix("fe80::/64"), g.port.MAC)
}

// guest6 is a guest that has been told its IPv6 by hand, and its gateway as cloud-init does.
func (h *host) guest6(n network.Network, p network.Port) *guest {
	h.t.Helper()
	g := h.guest(n, p)
	c, err := mdl.Dial(unix.NETLINK_ROUTE, &mdl.Config{NetNS: int(g.ns), Groups: 1 << (unix.RTNLGRP_IPV6_ROUTE - 1)})
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(soon)); err != nil {
		h.t.Fatal(err)
	}
	h.in(g.ns, func(x *netlink.Handle) error {
		l, err := x.LinkByName("eth0")
		if err != nil {
			return err
		}
		conf := "/proc/sys/net/ipv6/conf/eth0/"
		err = errors.Join(
			os.WriteFile(conf+"accept_dad", []byte("0"), 0), // or it would wait before it speaks
			os.WriteFile(conf+"disable_ipv6", []byte("0"), 0),
			x.AddrAdd(l, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(g.six(), 64)), Flags: unix.IFA_F_NODAD}),
		)
		if err != nil {
			return err
		}
		return x.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: subnet6Of(p).Addr().Next().AsSlice()})
	})
	// Its kernel takes a moment before it hears what is sent to its addresses.
	for deaf := map[netip.Addr]bool{g.six(): true, g.link(): true}; len(deaf) > 0; {
		msgs, err := c.Receive()
		if err != nil {
			h.t.Fatal(err)
		}
		for _, m := range msgs {
			if b := m.Data; len(b) > unix.SizeofRtMsg && b[7] == unix.RTN_LOCAL {
				a, _ := netip.AddrFromSlice(attribute(b, unix.SizeofRtMsg, unix.RTA_DST))
				delete(deaf, a)
			}
		}
	}
	return g
}

// ping6 sends an echo request and waits for its answer.
func (g *guest) ping6(to netip.Addr, size int) {
	g.t.Helper()
	var c net.PacketConn
	err := within(g.ns, func() (err error) {
		c, err = net.ListenPacket("ip6:ipv6-icmp", "::")
		return err
	})
	if err != nil {
		g.t.Fatal(err)
	}
	defer c.Close()
	m := icmp.Message{Type: ipv6.ICMPTypeEchoRequest, Body: &icmp.Echo{ID: 7, Seq: 1, Data: make([]byte, size)}}
	b, err := m.Marshal(nil)
	if err != nil {
		g.t.Fatal(err)
	}
	zone := ""
	if to.IsLinkLocalUnicast() {
		zone = "eth0"
	}
	err = within(g.ns, func() error { // where the zone has its meaning
		_, err := c.WriteTo(b, &net.IPAddr{IP: to.AsSlice(), Zone: zone})
		return err
	})
	if err != nil {
		g.t.Fatalf("%s pings %s: %v", g.port.ID, to, err)
	}
	if err := c.SetReadDeadline(time.Now().Add(soon)); err != nil {
		g.t.Fatal(err)
	}
	for b := make([]byte, 1<<16); ; {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			g.t.Fatalf("%s pings %s: %v", g.port.ID, to, err)
		}
		if a, ok := netip.AddrFromSlice(from.(*net.IPAddr).IP); ok && a == to && n > 0 && b[0] == 129 {
			return
		}
	}
}

// room6 is a room whose guests have IPv6 too.
func newRoom6(t *testing.T) room {
	t.Helper()
	w := newWorld(t)
	r := room{world: w, one: w.host(), two: w.host()}
	on := func(h *host) network.Network {
		return dual(blue(42, nic("aaaaaaaaaaaa", 1, "10.0.1.10", h, r.one), nic("bbbbbbbbbbbb", 2, "10.0.1.11", h, r.two), nic("cccccccccccc", 3, "10.0.2.20", h, r.two)))
	}
	one, two := on(r.one), on(r.two)
	r.one.apply(one)
	r.two.apply(two)
	r.a, r.b, r.c = r.one.guest6(one, one.Ports[0]), r.two.guest6(two, two.Ports[1]), r.two.guest6(two, two.Ports[2])
	return r
}

// is6 tells whether a frame is ICMPv6 of that type.
func is6(f []byte, kind byte) bool {
	return len(f) > 54 && binary.BigEndian.Uint16(f[12:]) == unix.ETH_P_IPV6 && f[20] == unix.IPPROTO_ICMPV6 && f[54] == kind
}

// What guests may send less the headers of IPv6 and ICMPv6.
const largest6 = 1500 - 40 - 8

func TestIPv6_guestsReachEachOtherAcrossHostsAndSubnets(t *testing.T) {
	r := newRoom6(t)
	wire := framesOf(t, r.two.Network.host.ns, "eth0")
	r.a.ping6(r.b.six(), largest6)
	r.b.ping6(r.a.six(), largest6)
	r.a.ping6(r.b.link(), 56)
	at, back := r.c.frames(), r.a.frames()
	for range 3 { // a router would send its first redirect soon
		r.a.ping6(r.c.six(), largest6)
	}
	var request []byte
	at.until(func(f []byte) bool { request = f; return is6(f, 128) })
	if limit := request[21]; limit != 63 {
		t.Errorf("the hop limit is %d: the packet did not go by one router", limit)
	}
	if mac := net.HardwareAddr(request[6:12]).String(); mac != "02:cb:c0:00:02:0b" {
		t.Errorf("it comes from %s and not from its host's MAC", mac)
	}
	r.c.ping6(r.a.six(), 56)
	for _, gateway := range []netip.Addr{front6.Addr().Next(), network.GatewayLinkLocal(), back6.Addr().Next()} {
		r.a.ping6(gateway, 56)
	}
	from := network.GatewayLinkLocal().As16()
	for _, f := range back.until(func(f []byte) bool { return is6(f, 129) && bytes.Equal(f[22:38], from[:]) }) {
		if is6(f, 137) {
			t.Errorf("the router tells the guest to go round it: %x", f)
		}
	}
	// Who is asked for is answered for on the asker's host.
	r.a.ping6(r.b.six(), 56)
	r.a.reaches(r.b.address)
	for _, f := range wire.until(func(f []byte) bool { return is(f, unix.IPPROTO_UDP) && len(f) > 100 && is(f[50:], unix.IPPROTO_ICMP) }) {
		if len(f) > 110 && is(f, unix.IPPROTO_UDP) && (is6(f[50:], 135) || is6(f[50:], 136) || f[50]&1 != 0) {
			t.Errorf("the tunnel carries %x", f[50:])
		}
	}
}

// ip6Packet makes a packet; ICMPv6 gets its checksum.
func ip6Packet(from, to netip.Addr, protocol byte, payload []byte) []byte {
	if protocol == unix.IPPROTO_ICMPV6 {
		payload = bytes.Clone(payload)
		copy(payload[2:], []byte{0, 0})
		pseudo := append(append(append([]byte{}, from.AsSlice()...), to.AsSlice()...), 0, 0, 0, byte(len(payload)), 0, 0, 0, protocol)
		var sum uint32
		for b := append(pseudo, payload...); len(b) > 1; b = b[2:] {
			sum += uint32(binary.BigEndian.Uint16(b))
		}
		for sum > 0xffff {
			sum = sum>>16 + sum&0xffff
		}
		binary.BigEndian.PutUint16(payload[2:], ^uint16(sum))
	}
	b := []byte{0x60, 0, 0, 0, 0, 0, protocol, 255}
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	return append(append(append(b, from.AsSlice()...), to.AsSlice()...), payload...)
}

// nd is a message of neighbour discovery about a target, with options.
func nd(kind byte, target netip.Addr, options ...byte) []byte {
	return append(append([]byte{kind, 0, 0, 0, 0x60, 0, 0, 0}, target.AsSlice()...), options...)
}

// option is a link-layer address in one.
func option(kind byte, mac net.HardwareAddr) []byte { return append([]byte{kind, 1}, mac...) }

func TestIPv6_aGuestSendsAsItselfOnly(t *testing.T) {
	h := newWorld(t).host()
	n := dual(blue(42, nic("aaaaaaaaaaaa", 1, "10.0.1.10", h, h), nic("bbbbbbbbbbbb", 2, "10.0.1.11", h, h)))
	h.apply(n)
	a, b := h.guest(n, n.Ports[0]), h.guest(n, n.Ports[1])
	own, his, link := a.six(), b.six(), a.link()
	mac, to := a.port.MAC, b.port.MAC
	foreign := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	stolen, gateway, router := netip.MustParseAddr("fd00:0:0:1::99"), front6.Addr().Next(), network.GatewayLinkLocal()
	nobody, all := netip.IPv6Unspecified(), netip.MustParseAddr("ff02::1")
	mapped := netip.MustParseAddr("::ffff:10.0.1.10")
	udp := func(src, dst uint16) []byte { return udpPacket(src, dst, []byte("payload")) }
	frame := func(p []byte) []byte { return etherFrame(to, mac, unix.ETH_P_IPV6, p) }
	six := func(from netip.Addr, protocol byte, payload []byte) []byte {
		return frame(ip6Packet(from, his, protocol, payload))
	}
	icmp6 := func(from netip.Addr, message []byte) []byte { return six(from, unix.IPPROTO_ICMPV6, message) }
	// behind puts an extension header in front.
	behind := func(header, protocol byte, payload []byte) []byte {
		return six(own, header, append([]byte{protocol, 0, 1, 4, 0, 0, 0, 0}, payload...))
	}
	// fragment is one at an offset, in bytes.
	fragment := func(protocol byte, offset uint16, more byte, payload []byte) []byte {
		return six(own, unix.IPPROTO_FRAGMENT, append([]byte{protocol, 0, byte(offset >> 8), byte(offset) | more, 0, 0, 0, 1}, payload...))
	}
	ra := append([]byte{134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}, option(1, mac)...)
	redirect := append(nd(137, his), his.AsSlice()...)
	echo := []byte{128, 0, 0, 0, 0, 7, 0, 1, 1, 2, 3, 4}
	nonce := []byte{14, 1, 1, 2, 3, 4, 5, 6}

	for name, c := range map[string]struct {
		frame  []byte
		passes bool
	}{
		"its own packet":                           {six(own, unix.IPPROTO_UDP, udp(1000, 2000)), true},
		"from its link-local address":              {six(link, unix.IPPROTO_UDP, udp(1000, 2000)), true},
		"its own ping":                             {icmp6(own, echo), true},
		"a protocol nobody knows":                  {six(own, 200, udp(1, 1)), true},
		"another MAC":                              {etherFrame(to, foreign, unix.ETH_P_IPV6, ip6Packet(own, his, unix.IPPROTO_UDP, udp(1000, 2000))), false},
		"another address":                          {six(stolen, unix.IPPROTO_UDP, udp(1000, 2000)), false},
		"the neighbour's address":                  {six(his, unix.IPPROTO_UDP, udp(1000, 2000)), false},
		"the gateway's address":                    {six(gateway, unix.IPPROTO_UDP, udp(1000, 2000)), false},
		"the router's link-local address":          {six(router, unix.IPPROTO_UDP, udp(1000, 2000)), false},
		"the neighbour's link-local address":       {six(b.link(), unix.IPPROTO_UDP, udp(1000, 2000)), false},
		"a link-local address of its own choice":   {six(netip.MustParseAddr("fe80::1234"), unix.IPPROTO_UDP, udp(1000, 2000)), false},
		"its IPv4 address in IPv6's dress":         {six(mapped, unix.IPPROTO_UDP, udp(1000, 2000)), false},
		"no address":                               {six(nobody, unix.IPPROTO_UDP, udp(1000, 2000)), false},
		"a ping of another address":                {icmp6(stolen, echo), false},
		"an ICMP error of another address":         {icmp6(stolen, append([]byte{2, 0, 0, 0, 0, 0, 5, 0}, ip6Packet(his, own, 6, nil)...)), false},
		"a router advertisement":                   {icmp6(link, ra), false},
		"a router advertisement as the router":     {icmp6(router, ra), false},
		"a router advertisement to all":            {etherFrame(net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, mac, unix.ETH_P_IPV6, ip6Packet(link, all, unix.IPPROTO_ICMPV6, ra)), false},
		"a redirect":                               {icmp6(link, redirect), false},
		"a redirect as the router":                 {icmp6(router, redirect), false},
		"a router solicitation":                    {icmp6(link, append([]byte{133, 0, 0, 0, 0, 0, 0, 0}, option(1, mac)...)), true},
		"a router solicitation without an address": {icmp6(nobody, []byte{133, 0, 0, 0, 0, 0, 0, 0}), true},
		"a router solicitation of another":         {icmp6(b.link(), []byte{133, 0, 0, 0, 0, 0, 0, 0}), false},
		"its own solicitation":                     {icmp6(own, nd(135, his, option(1, mac)...)), true},
		"a solicitation from its link-local one":   {icmp6(link, nd(135, his, option(1, mac)...)), true},
		"a solicitation without an option":         {icmp6(own, nd(135, his)), true},
		"a solicitation with another's MAC":        {icmp6(own, nd(135, his, option(1, foreign)...)), false},
		"a solicitation with another option":       {icmp6(own, nd(135, his, option(2, mac)...)), false},
		"a solicitation with a second option":      {icmp6(own, nd(135, his, append(option(1, mac), option(1, foreign)...)...)), false},
		"a solicitation with a hidden option":      {icmp6(own, nd(135, his, append(nonce[:8:8], option(1, foreign)...)...)), false},
		"a solicitation as the gateway":            {icmp6(gateway, nd(135, his, option(1, mac)...)), false},
		"a probe of its own address":               {icmp6(nobody, nd(135, own)), true},
		"a probe of its link-local address":        {icmp6(nobody, nd(135, link)), true},
		"a probe with a nonce":                     {icmp6(nobody, nd(135, own, nonce...)), true},
		"a probe with a MAC":                       {icmp6(nobody, nd(135, own, option(1, mac)...)), false},
		"a probe of another's address":             {icmp6(nobody, nd(135, his)), false},
		"a probe of the router's address":          {icmp6(nobody, nd(135, router)), false},
		"its own advertisement":                    {icmp6(own, nd(136, own, option(2, mac)...)), true},
		"an advertisement of its link-local one":   {icmp6(link, nd(136, link, option(2, mac)...)), true},
		"an advertisement without an option":       {icmp6(own, nd(136, own)), true},
		"an advertisement for the neighbour":       {icmp6(own, nd(136, his, option(2, mac)...)), false},
		"an advertisement for the gateway":         {icmp6(own, nd(136, gateway, option(2, mac)...)), false},
		"an advertisement for the router":          {icmp6(link, nd(136, router, option(2, mac)...)), false},
		"an advertisement as the router":           {icmp6(router, nd(136, router, option(2, mac)...)), false},
		"an advertisement with another's MAC":      {icmp6(own, nd(136, own, option(2, foreign)...)), false},
		"an advertisement with a second option":    {icmp6(own, nd(136, own, append(option(2, mac), option(2, foreign)...)...)), false},
		"an advertisement from nobody":             {icmp6(nobody, nd(136, own, option(2, mac)...)), false},
		"an advertisement behind hop-by-hop":       {behind(0, unix.IPPROTO_ICMPV6, nd(136, gateway, option(2, mac)...)), false},
		"an advertisement behind options":          {behind(60, unix.IPPROTO_ICMPV6, nd(136, gateway, option(2, mac)...)), false},
		"a router advertisement behind options":    {behind(60, unix.IPPROTO_ICMPV6, ra), false},
		"a router advertisement behind a route":    {behind(43, unix.IPPROTO_ICMPV6, ra), false},
		"a packet behind mobility":                 {behind(135, unix.IPPROTO_UDP, udp(1000, 2000)), false},
		"a report of MLD":                          {behind(0, unix.IPPROTO_ICMPV6, append([]byte{143, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0}, all.AsSlice()...)), false},
		"a query of MLD":                           {icmp6(link, nd(130, nobody)), false},
		"a whole router advertisement as fragment": {fragment(unix.IPPROTO_ICMPV6, 0, 0, ra), false},
		"the first part of an advertisement":       {fragment(unix.IPPROTO_ICMPV6, 0, 1, ra[:8]), false},
		"the second part of an advertisement":      {fragment(unix.IPPROTO_ICMPV6, 8, 0, ra[8:]), false},
		"an advertisement behind options, in part": {fragment(60, 0, 1, append([]byte{unix.IPPROTO_ICMPV6, 0, 1, 4, 0, 0, 0, 0}, ra...)), false},
		"a fragment in a fragment":                 {fragment(unix.IPPROTO_FRAGMENT, 0, 1, append([]byte{unix.IPPROTO_ICMPV6, 0, 0, 0, 0, 0, 0, 2}, ra...)), false},
		"the first part of its own packet":         {fragment(unix.IPPROTO_UDP, 0, 1, udp(1000, 2000)), true},
		"a DHCPv6 client":                          {six(link, unix.IPPROTO_UDP, udp(546, 547)), true},
		"a DHCPv6 server":                          {six(link, unix.IPPROTO_UDP, udp(547, 546)), false},
		"a DHCPv6 server from another port":        {six(link, unix.IPPROTO_UDP, udp(1000, 546)), false},
		"a DHCPv6 relay":                           {six(own, unix.IPPROTO_UDP, udp(547, 547)), false},
		"a DHCPv6 server's first part":             {fragment(unix.IPPROTO_UDP, 0, 1, udp(547, 546)), false},
		"a cut header":                             {frame(ip6Packet(own, his, unix.IPPROTO_UDP, nil)[:30]), false},
		"a cut advertisement":                      {frame(ip6Packet(own, his, unix.IPPROTO_ICMPV6, nd(136, gateway, option(2, mac)...))[:50]), false},
		"a VLAN's tag":                             {etherFrame(to, mac, unix.ETH_P_8021Q, append([]byte{0, 5, 0x86, 0xdd}, ip6Packet(own, his, unix.IPPROTO_UDP, udp(1000, 2000))...)), false},
	} {
		t.Run(name, func(t *testing.T) {
			in := b.frames()
			in.t = t
			a.inject(c.frame)
			last := etherFrame(to, mac, unix.ETH_P_IP, ipPacket(a.address, b.address, unix.IPPROTO_UDP, udpPacket(1, 31000, []byte("last"))))
			a.inject(last)
			arrived := false
			for _, f := range in.until(func(f []byte) bool { return bytes.HasPrefix(f, last) }) {
				arrived = arrived || bytes.Contains(f, c.frame[len(c.frame)-16:]) && bytes.Equal(f[6:12], c.frame[6:12])
			}
			if arrived != c.passes {
				t.Errorf("it passes: %v", arrived)
			}
			_ = in.Close()
		})
	}
}

// A port that has no IPv6 sends none, also where its network has it.
func TestIPv6_isForPortsThatHaveIt(t *testing.T) {
	h := newWorld(t).host()
	n := dual(blue(42, nic("aaaaaaaaaaaa", 1, "10.0.1.10", h, h), nic("bbbbbbbbbbbb", 2, "10.0.1.11", h, h)))
	was := n.Ports[0].Addresses[1]
	n.Ports[0].Addresses = n.Ports[0].Addresses[:1]
	h.apply(n)
	a, b := h.guest(n, n.Ports[0]), h.guest(n, n.Ports[1])
	seen := b.frames()
	for _, from := range []netip.Addr{was, a.link(), netip.IPv6Unspecified()} {
		a.inject(etherFrame(b.port.MAC, a.port.MAC, unix.ETH_P_IPV6, ip6Packet(from, b.six(), unix.IPPROTO_UDP, udpPacket(1, 2, []byte("six")))))
	}
	a.reaches(b.address)
	for _, f := range seen.until(func(f []byte) bool { return is(f, unix.IPPROTO_ICMP) }) {
		if binary.BigEndian.Uint16(f[12:]) == unix.ETH_P_IPV6 && bytes.Contains(f, []byte("six")) {
			t.Errorf("there comes %x", f)
		}
	}
}

// A network gets IPv6, and loses it again, under its guests.
func TestIPv6_comesAndGoes(t *testing.T) {
	w := newWorld(t)
	h, far := w.host(), w.host()
	four := func() network.Network {
		return blue(42, nic("aaaaaaaaaaaa", 1, "10.0.1.10", h, h), nic("bbbbbbbbbbbb", 2, "10.0.1.11", h, far))
	}
	both := dual(four())
	h.apply(four())
	h.apply(both)
	if left := h.rest(h.desired(both)); len(left) > 0 {
		t.Errorf("there is left to do %q", left)
	}
	a := h.guest6(both, both.Ports[0])
	a.ping6(front6.Addr().Next(), 56)
	run(t, h.Network.host.ns, "ip", "-6", "neigh", "flush", "nud", "permanent", "dev", "cx00002a")
	run(t, h.Network.host.ns, "sysctl", "-qw", "net.ipv6.conf.cx00002a.accept_ra=1")
	if left := h.rest(h.desired(both)); len(left) != 3 {
		t.Errorf("there is left to do %q", left)
	}
	h.apply(both)
	h.apply(four())
	if left := h.rest(h.desired(four())); len(left) > 0 {
		t.Errorf("there is left to do %q", left)
	}
	if got := run(t, (room{world: w, one: h}).router("cairn-00002a"), "ip", "-6", "addr", "show", "dev", "gw"); got != "" {
		t.Errorf("the router keeps %s", got)
	}
}
