package linux

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// MTU-size packets: what a guest may send less the headers of IPv4 and ICMP.
const largest = 1500 - 20 - 8

// room is two hosts with a network that is the same on both: a and b are in
// one subnet, c is in the other.
type room struct {
	*world
	one, two *host
	a, b, c  *guest
}

func newRoom(t *testing.T) room {
	t.Helper()
	w := newWorld(t)
	r := room{world: w, one: w.host(), two: w.host()}
	r.a, r.b, r.c = r.network(42, 0)
	return r
}

// network makes a network on both hosts, with three guests. salt tells their
// MACs and ports from those of another network; their addresses are the same.
func (r room) network(vni uint32, salt byte, also ...network.Network) (a, b, c *guest) {
	r.t.Helper()
	on := func(h *host) network.Network {
		return blue(vni,
			nic(fmt.Sprintf("aaaaaaaaaa%02x", salt), salt+1, "10.0.1.10", h, r.one),
			nic(fmt.Sprintf("bbbbbbbbbb%02x", salt), salt+2, "10.0.1.11", h, r.two),
			nic(fmt.Sprintf("cccccccccc%02x", salt), salt+3, "10.0.2.20", h, r.two))
	}
	for _, h := range []*host{r.one, r.two} {
		var all []network.Network
		if h.want != nil {
			all = h.want.Networks
		}
		h.apply(append(all[:len(all):len(all)], on(h))...)
	}
	n := on(r.one)
	p := on(r.two)
	return r.one.guest(n, n.Ports[0]), r.two.guest(p, p.Ports[1]), r.two.guest(p, p.Ports[2])
}

func TestPackets_guestsOfANetworkReachEachOtherAcrossHosts(t *testing.T) {
	r := newRoom(t)
	r.a.reaches(r.b.address)
	r.b.reaches(r.a.address)
	if err := r.a.ping(r.b.address, largest); err != nil {
		t.Error("packets of the MTU's size do not pass: ", err)
	}
}

func TestPackets_subnetsOfANetworkAreRoutedOnTheSendersHost(t *testing.T) {
	r := newRoom(t)
	at, back := r.c.frames(), r.a.frames()
	if err := r.a.ping(r.c.address, largest); err != nil {
		t.Fatal(err)
	}
	isPing := func(kind byte) func([]byte) bool {
		return func(f []byte) bool { return is(f, unix.IPPROTO_ICMP) && f[34] == kind }
	}
	var request []byte
	at.until(func(f []byte) bool { request = f; return isPing(8)(f) })
	if ttl := request[22]; ttl != 63 {
		t.Errorf("the TTL is %d: the packet did not go by one router", ttl)
	}
	if mac := net.HardwareAddr(request[6:12]).String(); mac != "02:cb:c0:00:02:0b" {
		t.Errorf("it comes from %s and not from its host's MAC: the gateway's must not travel", mac)
	}
	for _, f := range back.until(isPing(0)) {
		if isPing(5)(f) {
			t.Errorf("the router tells the guest to go round it: %x", f)
		}
	}
	r.c.reaches(r.a.address)
}

func TestPackets_anotherNetworkWithTheSameAddressesIsAnotherWorld(t *testing.T) {
	r := newRoom(t)
	a, b, c := r.network(43, 0x10)
	others := []*nicSocket{a.frames(), b.frames(), c.frames()}
	r.a.reaches(r.b.address)
	r.a.reaches(r.c.address)
	r.b.reaches(r.c.address)
	// What the other network's guests have seen until now is nothing; then it is their own.
	a.reaches(b.address)
	c.reaches(b.address)
	for i, s := range others {
		for _, f := range s.until(func(f []byte) bool { return is(f, unix.IPPROTO_ICMP) }) {
			for _, mine := range []*guest{r.a, r.b, r.c} {
				if bytes.Contains(f, mine.port.MAC) {
					t.Errorf("guest %d of the other network sees %x", i, f)
				}
			}
		}
	}
}

// Guests of two networks of the same addresses, on one host, must not meet in
// the host's tables either.
func TestPackets_bridgedPacketsAreTrackedInTheZoneOfTheirNetwork(t *testing.T) {
	w := newWorld(t)
	h := w.host()
	n := blue(42, nic("aaaaaaaaaaaa", 1, "10.0.1.10", h, h), nic("bbbbbbbbbbbb", 2, "10.0.1.11", h, h))
	m := blue(43, nic("cccccccccccc", 3, "10.0.1.10", h, h), nic("dddddddddddd", 4, "10.0.1.11", h, h))
	h.apply(n, m)
	a, b := h.guest(n, n.Ports[0]), h.guest(n, n.Ports[1])
	c, d := h.guest(m, m.Ports[0]), h.guest(m, m.Ports[1])
	a.reaches(b.address)
	c.reaches(d.address)
	zones := map[string]int{}
	for line := range strings.Lines(string(h.tracked())) {
		if strings.Contains(line, "10.0.1.") {
			_, zone, _ := strings.Cut(line, "zone=")
			zone, _, _ = strings.Cut(zone, " ")
			zones[zone]++
		}
	}
	if zones["1"] != 1 || zones["2"] != 1 || len(zones) != 2 {
		t.Errorf("the host tracks by zone %v:\n%s", zones, h.tracked())
	}
	a.reaches(beyond) // and this is how it would look
	if tracked := h.tracked(); !bytes.Contains(tracked, []byte("198.18.0.1")) {
		t.Errorf("the host does not track what it translates:\n%s", tracked)
	}
}

// A host has thousands of tunnels' packets a moment, and none is a connection.
func TestPackets_tunnelsAreNotTracked(t *testing.T) {
	r := newRoom(t)
	r.a.reaches(r.b.address)
	r.b.reaches(r.a.address)
	for _, h := range []*host{r.one, r.two} {
		if tracked := h.tracked(); bytes.Contains(tracked, []byte("dport=4789")) {
			t.Errorf("a host tracks its tunnels:\n%s", tracked)
		}
	}
}

func TestPackets_outOfTheCloudAsTheHost(t *testing.T) {
	r := newRoom(t)
	r.a.reaches(beyond)
	if err := r.a.ping(beyond, largest); err != nil {
		t.Error("packets of the MTU's size do not pass: ", err)
	}
	server := r.listenUDP(r.fabric, netip.AddrPortFrom(beyond, 9999))
	client := r.listenUDP(r.a.ns, netip.AddrPortFrom(r.a.address, 0))
	if _, err := client.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(beyond, 9999))); err != nil {
		t.Fatal(err)
	}
	_, from := r.read(server)
	if from.Addr() != r.one.address {
		t.Errorf("the guest is seen as %s and not as its host %s", from.Addr(), r.one.address)
	}
	if _, err := server.WriteTo([]byte("answer"), net.UDPAddrFromAddrPort(from)); err != nil {
		t.Fatal(err)
	}
	if b, _ := r.read(client); string(b) != "answer" {
		t.Errorf("the answer is %q", b)
	}
}

// A network that is closed keeps what is inside: its subnets, and its router.
func TestPackets_aClosedNetworkHasNoWayOut(t *testing.T) {
	r := newRoom(t)
	r.a.reaches(beyond)
	for _, h := range []*host{r.one, r.two} {
		n := h.want.Networks[0]
		n.Closed = true
		h.apply(n)
	}
	for _, to := range []netip.Addr{beyond, r.one.address} {
		c, err := r.a.echo(to, 8, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(soon)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1<<16)
		size, from, err := c.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := icmp.ParseMessage(1, b[:size]); err != nil || m.Type != ipv4.ICMPTypeDestinationUnreachable || from.String() != "10.0.1.1" {
			t.Errorf("to %s, %s says %v (%v), and not its router that there is no way", to, from, m, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	r.a.reaches(r.c.address)
	r.a.reaches(netip.MustParseAddr("10.0.1.1"))
	if found, err := r.one.Apply(t.Context(), *r.one.want); err != nil || len(found) > 0 {
		t.Errorf("what is there differs: %v (%v)", found, err)
	}
	for _, h := range []*host{r.one, r.two} {
		n := h.want.Networks[0]
		n.Closed = false
		h.apply(n)
	}
	r.a.reaches(beyond)
}

// What connection tracking finds invalid is not translated, so it must not leave.
func TestPackets_nothingLeavesUntranslated(t *testing.T) {
	r := newRoom(t)
	wire := framesOf(t, r.one.Network.host.ns, "eth0")
	odd := make([]byte, 20) // TCP without a flag
	odd[12] = 5 << 4
	r.a.inject(etherFrame(network.GatewayMAC(), r.a.port.MAC, unix.ETH_P_IP, ipPacket(r.a.address, beyond, unix.IPPROTO_TCP, odd)))
	r.a.reaches(beyond)
	for _, f := range wire.until(func(f []byte) bool { return is(f, unix.IPPROTO_ICMP) }) {
		if is(f, unix.IPPROTO_TCP) {
			t.Errorf("there leaves %x", f)
		}
	}
}

// Who is beside the host could send what is for a transit link to it.
func TestPackets_nobodyOutsideReachesARouter(t *testing.T) {
	r := newRoom(t)
	up := framesOf(t, r.router("cairn-00002a"), "up")
	run(t, r.fabric, "ip", "route", "add", "198.18.0.0/16", "via", r.one.address.String())
	outside := r.listenUDP(r.fabric, netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), 0))
	if _, err := outside.WriteTo([]byte("from outside"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("198.18.0.1:67"))); err != nil {
		t.Fatal(err)
	}
	host := r.one.Network.host.ns
	mark := r.listenUDP(host, netip.AddrPortFrom(r.one.address, 0))
	if _, err := outside.WriteTo([]byte("after it"), mark.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	r.read(mark)
	r.a.reaches(beyond)
	for _, f := range up.until(func(f []byte) bool { return is(f, unix.IPPROTO_ICMP) }) {
		if bytes.Contains(f, []byte("from outside")) {
			t.Errorf("a router gets %x", f)
		}
	}
	// Nor does the host itself reach a guest by its router.
	run(t, host, "ip", "route", "add", "10.0.1.0/24", "via", "198.18.0.1")
	guest := r.a.frames()
	if _, err := mark.WriteTo([]byte("from the host"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.a.address, 2000))); err != nil {
		t.Fatal(err)
	}
	r.a.reaches(beyond)
	for _, f := range guest.until(func(f []byte) bool { return is(f, unix.IPPROTO_ICMP) && f[34] == 0 }) {
		if bytes.Contains(f, []byte("from the host")) {
			t.Errorf("a guest gets %x", f)
		}
	}
}

// Whatever a guest asks for on the way is answered before what it asks for at
// the end of the way, if it is answered at all.
func TestPackets_aGuestReachesNothingOfTheHosts(t *testing.T) {
	r := newRoom(t)
	other, _, _ := r.network(43, 0x10)
	other.reaches(beyond)
	forbidden := []netip.Addr{
		r.one.address, r.two.address, // hosts
		netip.MustParseAddr("198.18.0.0"), netip.MustParseAddr("198.18.0.1"), // its own way out
		netip.MustParseAddr("198.18.0.2"), netip.MustParseAddr("198.18.0.3"), // another network's
		netip.MustParseAddr("169.254.169.253"),
	}
	nic, out := r.a.frames(), framesOf(t, r.router("cairn-00002a"), "up")
	for i, to := range forbidden {
		c, err := r.a.echo(to, 56, 100+i)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	r.a.reaches(netip.MustParseAddr("10.0.1.1"))
	c, err := r.a.echo(beyond, 56, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	from := beyond.As4()
	for _, f := range nic.until(func(f []byte) bool { return is(f, unix.IPPROTO_ICMP) && bytes.Equal(f[26:30], from[:]) && f[34] == 0 }) {
		for _, to := range forbidden {
			if a := to.As4(); is(f, unix.IPPROTO_ICMP) && bytes.Equal(f[26:30], a[:]) {
				t.Errorf("%s answers: %x", to, f)
			}
		}
	}
	// What is on no network beyond does not even leave the router.
	to := beyond.As4()
	for _, f := range out.until(func(f []byte) bool { return is(f, unix.IPPROTO_ICMP) && bytes.Equal(f[30:34], to[:]) }) {
		if d, _ := netip.AddrFromSlice(f[30:34]); is(f, unix.IPPROTO_ICMP) && f[34] == 8 && (network.TransitRange().Contains(d) || d.IsLinkLocalUnicast()) {
			t.Errorf("the router sends %x", f)
		}
	}
}

func TestPackets_theRouterOffersItsServicesAndNoMore(t *testing.T) {
	r := newRoom(t)
	router := r.router("cairn-00002a")
	metadata, gateway := network.MetadataAddress(), netip.MustParseAddr("10.0.1.1")
	at := netip.AddrPortFrom

	// The last that is asked for is offered: what was before it has been decided on.
	var hidden []*net.TCPListener
	for _, to := range []netip.AddrPort{at(metadata, 81), at(metadata, 22), at(gateway, 80), at(gateway, 22), at(gateway, 67)} {
		hidden = append(hidden, r.listenTCP(router, to).(*net.TCPListener))
		r.connect(r.a.ns, to)
	}
	for _, to := range []netip.AddrPort{at(gateway, 53), at(metadata, 53), at(metadata, 80)} {
		l := r.listenTCP(router, to)
		r.connect(r.a.ns, to)
		r.accept(l)
	}
	for _, l := range hidden {
		if r.pending(l) {
			t.Errorf("%s takes connections", l.Addr())
		}
	}

	guest := r.listenUDP(r.a.ns, at(r.a.address, 0))
	ask := func(to netip.AddrPort, word string) {
		t.Helper()
		if _, err := guest.WriteTo([]byte(word), net.UDPAddrFromAddrPort(to)); err != nil {
			t.Fatal(err)
		}
	}
	for _, port := range []uint16{67, 53} {
		server := r.listenUDP(router, at(gateway, port))
		ask(at(gateway, port), "a question")
		if got, _ := r.read(server); string(got) != "a question" {
			t.Errorf("port %d hears %q", port, got)
		}
	}
	closed := r.listenUDP(router, at(gateway, 69))
	ask(at(gateway, 69), "a question")
	r.a.reaches(gateway)
	itself := r.listenUDP(router, at(gateway, 0))
	if _, err := itself.WriteTo([]byte("from the router"), closed.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if got, _ := r.read(closed); string(got) != "from the router" {
		t.Errorf("port 69 hears %q", got)
	}
}

func TestPackets_aTapWithoutRulesPassesNothing(t *testing.T) {
	r := newRoom(t)
	seen := r.b.frames()
	frame := func(word string) []byte {
		return etherFrame(r.b.port.MAC, r.a.port.MAC, unix.ETH_P_IP, ipPacket(r.a.address, r.b.address, unix.IPPROTO_UDP, udpPacket(1000, 2000, []byte(word))))
	}
	tap := `"` + network.Tap(r.a.port.ID) + `" . ` + r.a.port.MAC.String() + " . " + r.a.address.String()
	key := network.TableKey{Family: network.FamilyBridge, Name: "cairn"}
	ports := network.SetType{Name: "ports", Types: []string{"ifname", "ether_addr", "ipv4_addr"}}
	change := func(do func(*rules) error) {
		if err := r.one.Network.host.rules(do); err != nil {
			t.Fatal(err)
		}
	}
	change(func(x *rules) error { return x.change(key, ports, []string{tap}, nil) })
	r.a.inject(frame("without"))
	change(func(x *rules) error { return x.change(key, ports, nil, []string{tap}) })
	r.a.inject(frame("with them"))
	for _, f := range seen.until(func(f []byte) bool { return bytes.Contains(f, []byte("with them")) }) {
		if bytes.Contains(f, []byte("without")) {
			t.Errorf("a frame has passed: %x", f)
		}
	}
}
