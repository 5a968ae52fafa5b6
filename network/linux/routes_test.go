package linux

import (
	"bytes"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

var (
	behind4 = netip.MustParseAddr("172.16.9.9")
	behind6 = netip.MustParseAddr("fd12::9")
)

// behind has two ranges led to b, and b have an address of each.
func (r room) behind(t *testing.T) {
	t.Helper()
	for _, h := range []*host{r.one, r.two} {
		want := *h.want
		n := want.Networks[0]
		n.Routes = []network.StaticRoute{
			{To: netip.MustParsePrefix("172.16.0.0/12"), Via: r.b.address},
			{To: netip.MustParsePrefix("fd12::/48"), Via: r.b.six()},
		}
		h.apply(n)
		if left := h.rest(h.desired(n)); len(left) > 0 {
			t.Fatalf("there is left to do %q", left)
		}
	}
	run(t, r.b.ns, "ip", "address", "add", behind4.String()+"/32", "dev", "lo")
	run(t, r.b.ns, "ip", "address", "add", behind6.String()+"/128", "dev", "lo")
	run(t, r.b.ns, "ip", "link", "set", "lo", "up")
	run(t, r.a.ns, "ip", "-6", "route", "add", "fd12::/48", "via", front6.Addr().Next().String())
}

func TestRoutes_aPortLeadsToWhatIsBehindIt(t *testing.T) {
	r := newRoom6(t)
	r.behind(t)
	r.a.reaches(behind4) // across hosts
	r.c.reaches(behind4) // on one
	r.a.ping6(behind6, 56)
	// And what is behind it reaches out, as itself.
	server := r.listenUDP(r.a.ns, netip.AddrPortFrom(r.a.address, 7000))
	client := r.listenUDP(r.b.ns, netip.AddrPortFrom(behind4, 7001))
	if _, err := client.WriteToUDPAddrPort([]byte("from behind"), netip.AddrPortFrom(r.a.address, 7000)); err != nil {
		t.Fatal(err)
	}
	if b, as := r.read(server); string(b) != "from behind" || as.Addr() != behind4 {
		t.Errorf("it hears %q from %s", b, as)
	}
	if _, err := server.WriteToUDPAddrPort([]byte("answer"), netip.AddrPortFrom(behind4, 7001)); err != nil {
		t.Fatal(err)
	}
	if b, _ := r.read(client); string(b) != "answer" {
		t.Errorf("it hears %q", b)
	}
}

// A route is a right of one port, and to that range.
func TestRoutes_nobodyElseSendsFromThere(t *testing.T) {
	r := newRoom6(t)
	r.behind(t)
	seen := r.c.frames()
	send := func(from *guest, source netip.Addr, word string) {
		p := ipPacket(source, r.c.address, unix.IPPROTO_UDP, udpPacket(1000, 2000, []byte(word)))
		mac := network.GatewayMAC()
		from.inject(etherFrame(mac, from.port.MAC, unix.ETH_P_IP, p))
	}
	send(r.a, behind4, "stolen")
	send(r.b, netip.MustParseAddr("172.32.0.1"), "stolen: beside the range")
	send(r.b, r.a.address, "stolen: another's address")
	send(r.b, netip.MustParseAddr("10.0.1.1"), "stolen: the gateway's")
	send(r.b, netip.MustParseAddr("172.16.0.77"), "its own range")
	for _, f := range seen.until(func(f []byte) bool { return bytes.Contains(f, []byte("its own range")) }) {
		if bytes.Contains(f, []byte("stolen")) {
			t.Errorf("there arrives %q", f)
		}
	}
	// Nor is anybody else sent what is for there.
	at := r.b.frames()
	r.a.inject(etherFrame(r.b.port.MAC, r.a.port.MAC, unix.ETH_P_IP, ipPacket(r.a.address, netip.MustParseAddr("172.32.0.1"), unix.IPPROTO_UDP, udpPacket(1, 2, []byte("beside")))))
	r.a.reaches(r.b.address)
	for _, f := range at.until(func(f []byte) bool { return is(f, unix.IPPROTO_ICMP) }) {
		if bytes.Contains(f, []byte("beside")) {
			t.Errorf("there arrives %q", f)
		}
	}
}

// In a closed network one of its own instances can be the way out.
func TestRoutes_aWayOutOfAClosedNetwork(t *testing.T) {
	r := newRoom(t)
	for _, h := range []*host{r.one, r.two} {
		n := h.want.Networks[0]
		n.Closed, n.Routes = true, []network.StaticRoute{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: r.b.address}}
		h.apply(n)
	}
	run(t, r.b.ns, "ip", "address", "add", beyond.String()+"/32", "dev", "lo")
	run(t, r.b.ns, "ip", "link", "set", "lo", "up")
	r.a.reaches(beyond)
	r.a.reaches(r.c.address)
	r.a.reaches(netip.MustParseAddr("10.0.1.1"))
}
