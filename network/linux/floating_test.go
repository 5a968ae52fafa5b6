package linux

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// Public addresses of the fabric, and the fabric's own.
var (
	publicA = netip.MustParseAddr("192.0.2.200")
	publicB = netip.MustParseAddr("192.0.2.201")
	fabric  = netip.MustParseAddr("192.0.2.1")
)

// somebody is on the fabric, and sends as a guest does.
func (w *world) somebody() *guest {
	return &guest{t: w.t, port: network.Port{ID: "the world"}, address: fabric, ns: w.fabric}
}

// lead gives public addresses to guests of a network, on a host that has it already.
func (h *host) lead(vni uint32, public ...network.Public) {
	h.t.Helper()
	networks := append([]network.Network{}, h.want.Networks...)
	for i := range networks {
		if networks[i].VNI == vni {
			networks[i].Public = public
		}
	}
	h.apply(networks...)
}

func to(public netip.Addr, g *guest) network.Public {
	return network.Public{Address: public, Inside: g.address}
}

// seenAs sends from a guest to somebody beyond, and returns as whom it is seen there.
func (r room) seenAs(g *guest) netip.Addr {
	r.t.Helper()
	server := r.listenUDP(r.fabric, netip.AddrPortFrom(beyond, 0))
	defer server.Close()
	client := r.listenUDP(g.ns, netip.AddrPortFrom(g.address, 0))
	if _, err := client.WriteTo([]byte("hello"), server.LocalAddr()); err != nil {
		r.t.Fatal(err)
	}
	_, from := r.read(server)
	if _, err := server.WriteTo([]byte("answer"), net.UDPAddrFromAddrPort(from)); err != nil {
		r.t.Fatal(err)
	}
	if b, _ := r.read(client); string(b) != "answer" {
		r.t.Errorf("the answer is %q", b)
	}
	return from.Addr()
}

func TestFloating_inAndOutByOneAddress(t *testing.T) {
	r := newRoom(t)
	r.one.lead(42, to(publicA, r.a))
	if err := r.somebody().ping(publicA, largest); err != nil {
		t.Error(err)
	}
	if as := r.seenAs(r.a); as != publicA {
		t.Errorf("the guest is seen as %s, not as %s", as, publicA)
	}
	if as := r.seenAs(r.b); as != r.two.address {
		t.Errorf("a guest without one is seen as %s and not as its host", as)
	}
	r.two.lead(42, to(publicB, r.c))
	for _, c := range []struct {
		from *guest
		to   netip.Addr
	}{
		{r.a, publicB}, {r.c, publicA}, // across hosts
		{r.b, publicA}, {r.b, publicB}, // from one that has none, to another host and to its own
		{r.a, publicA}, {r.c, publicB}, // to itself
	} {
		if err := c.from.ping(c.to, largest); err != nil {
			t.Error(err)
		}
	}
	// The host itself reaches it too, and is reached in turn by nobody.
	if out := run(t, r.one.Network.host.ns, "ping", "-c1", "-W20", publicA.String()); !strings.Contains(out, " 0% packet loss") {
		t.Errorf("the host says\n%s", out)
	}
}

// Guests of two networks with the same addresses, on one host.
func TestFloating_hairpinsOnOneHost(t *testing.T) {
	r := newRoom(t)
	a, b, c := r.network(43, 0x10)
	r.one.lead(42, to(publicA, r.a))
	r.one.lead(43, to(publicB, a))
	r.a.reaches(publicB)
	a.reaches(publicA)
	r.a.reaches(publicA)
	// From one without a public address: as its host, wherever the other one is.
	r.two.lead(43, to(netip.MustParseAddr("192.0.2.202"), b))
	server := r.listenUDP(b.ns, netip.AddrPortFrom(b.address, 7000))
	for _, g := range []*guest{c, r.c, r.b} {
		client := r.listenUDP(g.ns, netip.AddrPortFrom(g.address, 0))
		if _, err := client.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.202:7000"))); err != nil {
			t.Fatal(err)
		}
		_, from := r.read(server)
		if from.Addr() != r.two.address {
			t.Errorf("a guest on the same host is seen as %s", from.Addr())
		}
		if _, err := server.WriteTo([]byte("answer"), net.UDPAddrFromAddrPort(from)); err != nil {
			t.Fatal(err)
		}
		r.read(client)
	}
}

// A ping goes on while the address moves to a guest on another host. What may be lost
// is what was sent while nobody had it; nothing behind the announcement is.
func TestFloating_movesUnderAPing(t *testing.T) {
	r := newRoom(t)
	r.one.lead(42, to(publicA, r.a))
	w := r.somebody()
	var c net.PacketConn
	sent := 0
	send := func(n int) {
		for range n {
			sent++
			m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 7, Seq: sent}}
			b, err := m.Marshal(nil)
			if err == nil {
				_, err = c.WriteTo(b, &net.IPAddr{IP: publicA.AsSlice()})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	err := within(r.fabric, func() (err error) {
		c, err = net.ListenPacket("ip4:icmp", fabric.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	atOne, atTwo := r.a.frames(), r.b.frames()
	send(10)
	if err := w.answer(c, publicA, 10); err != nil {
		t.Fatal(err)
	}
	r.one.lead(42)
	send(3)
	r.two.lead(42, to(publicA, r.b))
	send(10)
	if err := w.answer(c, publicA, sent); err != nil {
		t.Fatal(err)
	}
	count := func(s *nicSocket, last int) (n int) {
		s.until(func(f []byte) bool {
			if is(f, unix.IPPROTO_ICMP) && f[34] == 8 {
				n++
				return int(binary.BigEndian.Uint16(f[40:])) == last
			}
			return false
		})
		return n
	}
	if n := count(atOne, 10); n != 10 {
		t.Errorf("%d of 10 have arrived before the move", n)
	}
	n := count(atTwo, sent)
	if n < 10 {
		t.Errorf("%d of 10 have arrived behind the move", n)
	}
	t.Logf("%d of %d were lost", 13-n, sent)
}

func TestFloating_isAnnounced(t *testing.T) {
	r := newRoom(t)
	wire := framesOf(t, r.fabric, "fabric")
	r.one.lead(42, to(publicA, r.a))
	mac := r.one.macOf("eth0")
	announced := func(f []byte) bool {
		return len(f) >= 42 && binary.BigEndian.Uint16(f[12:]) == unix.ETH_P_ARP && bytes.Equal(f[28:32], publicA.AsSlice()) && bytes.Equal(f[38:42], publicA.AsSlice())
	}
	for range 1 + len(announceAgain) {
		var frame []byte
		wire.until(func(f []byte) bool { frame = f; return announced(f) })
		if !bytes.Equal(frame[22:28], mac) || !bytes.Equal(frame[:6], broadcast) {
			t.Errorf("the announcement is %x and not of %s to all", frame, mac)
		}
	}
	// A second look changes nothing and says nothing.
	if found, err := r.one.Apply(t.Context(), *r.one.want); err != nil || len(found) > 0 {
		t.Errorf("the second time it found %v (%v)", found, err)
	}
	var again *Network // the agent is started anew
	err := within(r.one.Network.host.ns, func() (err error) {
		again, err = Open(Options{NamespaceDir: r.one.o.NamespaceDir})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if found, err := again.Apply(t.Context(), *r.one.want); err != nil || len(found) > 0 {
		t.Errorf("after a restart it found %v (%v)", found, err)
	}
	r.somebody().reaches(publicA)
	for _, f := range wire.until(func(f []byte) bool { return is(f, unix.IPPROTO_ICMP) }) {
		if announced(f) {
			t.Errorf("it is announced once more: %x", f)
		}
	}
}

// Whoever has control of a router, or a subnet of public addresses, does not
// become somebody else outside.
func TestFloating_nobodyElseSendsAsIt(t *testing.T) {
	r := newRoom(t)
	r.network(43, 0x10)
	r.one.lead(42, to(publicA, r.a))
	evil := network.Network{ID: "net_evil", VNI: 44, MTU: 1500, Subnets: []network.Subnet{{CIDR: netip.MustParsePrefix("192.0.2.0/24"), Gateway: netip.MustParseAddr("192.0.2.254")}}}
	evil.Ports = []network.Port{nic("eeeeeeeeeeee", 0x20, publicA.String(), r.one, r.one)}
	r.one.apply(append(append([]network.Network{}, r.one.want.Networks...), evil)...)
	e := r.one.guest(evil, evil.Ports[0])
	if as := r.seenAs(e); as != r.one.address {
		t.Errorf("a guest that has the address inside is seen as %s", as)
	}
	wire := framesOf(t, r.fabric, "fabric")
	server := r.listenUDP(r.fabric, netip.AddrPortFrom(beyond, 0))
	router := r.router("cairn-00002b")
	run(t, router, "nft", "flush", "ruleset")
	run(t, router, "ip", "addr", "add", publicA.String()+"/32", "dev", "up")
	for _, from := range []netip.Addr{publicA, netip.MustParseAddr("198.18.0.3")} {
		c := r.listenUDP(router, netip.AddrPortFrom(from, 0))
		if _, err := c.WriteTo([]byte("as "+from.String()), server.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := r.read(server); string(got) != "as 198.18.0.3" {
		t.Errorf("outside arrives %q", got)
	}
	for _, f := range wire.until(func(f []byte) bool { return bytes.Contains(f, []byte("as 198.18.0.3")) }) {
		if bytes.Contains(f, []byte("as 192.0.2.200")) {
			t.Errorf("outside is seen %x", f)
		}
	}
}

// Only what has a public address is reached from outside, and by that only.
func TestFloating_opensNothingElse(t *testing.T) {
	r := newRoom(t)
	r.one.lead(42, to(publicA, r.a))
	seen := r.a.frames()
	run(t, r.fabric, "ip", "route", "add", "10.0.1.0/24", "via", r.one.address.String())
	run(t, r.fabric, "ip", "route", "add", "198.18.0.0/16", "via", r.one.address.String())
	out := r.listenUDP(r.fabric, netip.AddrPortFrom(fabric, 0))
	for _, at := range []string{"10.0.1.10:7000", "198.18.0.1:7000", "192.0.2.200:7000"} {
		if _, err := out.WriteTo([]byte("to "+at), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at))); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range seen.until(func(f []byte) bool { return bytes.Contains(f, []byte("to 192.0.2.200")) }) {
		if bytes.Contains(f, []byte("to 1")) {
			t.Errorf("the guest gets %x", f)
		}
	}
	// Nor does the guest reach the hosts by it.
	nic := r.a.frames()
	for i, at := range []netip.Addr{r.one.address, r.two.address} {
		c, err := r.a.echo(at, 56, 100+i)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	r.a.reaches(beyond)
	for _, f := range nic.until(func(f []byte) bool { return is(f, unix.IPPROTO_ICMP) && f[34] == 0 }) {
		if is(f, unix.IPPROTO_ICMP) && f[34] == 0 {
			t.Errorf("a host answers: %x", f)
		}
	}
}

// What was tracked by the old way does not go on by it, however much is sent.
func TestFloating_oldConnectionsEnd(t *testing.T) {
	r := newRoom(t)
	n := blue(45, nic("aaaaaaaaaa45", 0x31, "10.0.1.10", r.one, r.one), nic("bbbbbbbbbb45", 0x32, "10.0.1.11", r.one, r.one))
	r.one.apply(append(append([]network.Network{}, r.one.want.Networks...), n)...)
	a, b := r.one.guest(n, n.Ports[0]), r.one.guest(n, n.Ports[1])
	r.one.lead(45, to(publicA, a))
	at := func(g *guest) *net.UDPConn { return r.listenUDP(g.ns, netip.AddrPortFrom(g.address, 7000)) }
	inA, inB := at(a), at(b)
	out := r.listenUDP(r.fabric, netip.AddrPortFrom(fabric, 7001))
	say := func(from *net.UDPConn, to, word string) {
		t.Helper()
		if _, err := from.WriteTo([]byte(word), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))); err != nil {
			t.Fatal(err)
		}
	}
	say(out, "192.0.2.200:7000", "one")
	if got, from := r.read(inA); string(got) != "one" || from.Addr() != fabric {
		t.Fatalf("%s says %q", from, got)
	}
	say(inA, "192.0.2.1:7001", "two")
	if got, from := r.read(out); string(got) != "two" || from != netip.MustParseAddrPort("192.0.2.200:7000") {
		t.Fatalf("%s says %q", from, got)
	}
	r.one.lead(45, to(publicA, b))
	say(out, "192.0.2.200:7000", "three")
	if got, _ := r.read(inB); string(got) != "three" {
		t.Errorf("the new guest gets %q", got)
	}
	say(inA, "192.0.2.1:7001", "four")
	if got, from := r.read(out); string(got) != "four" || from.Addr() != r.one.address {
		t.Errorf("the guest that had it says %q as %s", got, from)
	}
}

func TestFloating_goesWithoutATrace(t *testing.T) {
	w := newWorld(t)
	h := w.host()
	trace := func() string {
		t.Helper()
		var b []byte
		err := within(h.Network.host.ns, func() (err error) {
			b, err = os.ReadFile("/proc/sys/net/ipv4/neigh/eth0/proxy_delay")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return h.traces() + string(b) + run(t, h.Network.host.ns, "ip", "neigh", "show", "proxy")
	}
	run(t, h.Network.host.ns, "ip", "neigh", "add", "proxy", "192.0.2.99", "dev", "eth0") // somebody else's
	none := trace()
	h.apply(blue(42, nic("aaaaaaaaaaaa", 1, "10.0.1.10", h, h)))
	without := trace()
	h.lead(42, network.Public{Address: publicA, Inside: netip.MustParseAddr("10.0.1.10")})
	if with := trace(); !strings.Contains(with, "192.0.2.200 dev eth0") || !strings.Contains(with, "\n0\n") {
		t.Fatalf("there is\n%s", with)
	}
	// Another hand's flush does not make the host's own setting be forgotten.
	run(t, h.Network.host.ns, "nft", "flush", "ruleset")
	h.apply(h.want.Networks...)
	h.lead(42)
	if now := trace(); now != without {
		t.Errorf("before there was\n%s\nand after\n%s", without, now)
	}
	h.lead(42, network.Public{Address: publicA, Inside: netip.MustParseAddr("10.0.1.10")})
	h.apply()
	if now := trace(); now != none {
		t.Errorf("at first there was\n%s\nand after all\n%s", none, now)
	}
}

func TestFloating_isPutRight(t *testing.T) {
	w := newWorld(t)
	h := w.host()
	h.apply(blue(42, nic("aaaaaaaaaaaa", 1, "10.0.1.10", h, h)))
	h.lead(42, network.Public{Address: publicA, Inside: netip.MustParseAddr("10.0.1.10")})
	want := *h.want
	for _, spoil := range [][]string{
		{"ip", "route", "del", "192.0.2.200/32"},
		{"ip", "neigh", "del", "proxy", "192.0.2.200", "dev", "eth0"},
		{"sysctl", "-q", "net.ipv4.neigh.eth0.proxy_delay=80"},
		{"nft", "flush", "set", "inet", "cairn", "public"},
		{"nft", "flush", "ruleset"},
		{"ip", "link", "del", "cu00002a"},
	} {
		run(t, h.Network.host.ns, spoil[0], spoil[1:]...)
		if rest := h.rest(want); len(rest) == 0 {
			t.Errorf("%v: it is not seen", spoil)
		}
		if found, err := h.Apply(t.Context(), want); err != nil || len(found) == 0 {
			t.Errorf("%v: it found %v (%v)", spoil, found, err)
		}
		if rest := h.rest(want); len(rest) > 0 {
			t.Errorf("%v: there is left %q", spoil, rest)
		}
	}
	e := h.events()
	run(t, h.Network.host.ns, "ip", "route", "del", "192.0.2.200/32")
	if what := e.next(); !strings.Contains(what, "192.0.2.200/32") {
		t.Errorf("it is told as %q", what)
	}
}

// Without the uplink the rest of the network is made all the same.
func TestFloating_withoutItsUplink(t *testing.T) {
	w := newWorld(t)
	h := w.host()
	n := blue(42, nic("aaaaaaaaaaaa", 1, "10.0.1.10", h, h), nic("bbbbbbbbbbbb", 2, "10.0.1.11", h, h))
	n.Public = []network.Public{{Address: publicA, Inside: netip.MustParseAddr("10.0.1.10")}}
	d := h.desired(n)
	d.Uplink = "eth9"
	if _, err := h.Apply(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	h.guest(n, n.Ports[1]).reaches(beyond)
	e := h.events()
	run(t, h.Network.host.ns, "ip", "link", "add", "eth9", "type", "veth", "peer", "name", "other")
	if what := e.next(); !strings.Contains(what, "answer for 192.0.2.200 on eth9") {
		t.Errorf("when it comes, there is to do %q", what)
	}
}
