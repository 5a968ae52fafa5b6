package guest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/api"
)

// resolver opens a socket of a guest to a name server.
func (n *namespace) resolver(t *testing.T, by, server string) *dns.Conn {
	t.Helper()
	var c net.Conn
	n.mustRun(t, func() (err error) {
		c, err = (&net.Dialer{Timeout: patience}).DialContext(patient(t), by, net.JoinHostPort(server, "53"))
		return err
	})
	t.Cleanup(func() { c.Close() })
	return &dns.Conn{Conn: c, UDPSize: dns.MaxMsgSize}
}

// looksUp asks, and asks again until the answer comes: a datagram may be lost.
func (n *namespace) looksUp(t *testing.T, by, server string, q *dns.Msg) *dns.Msg {
	t.Helper()
	for ctx := patient(t); ctx.Err() == nil; {
		c := n.resolver(t, by, server)
		if err := errors.Join(c.SetDeadline(time.Now().Add(5*time.Second)), c.WriteMsg(q)); err != nil {
			t.Fatal(err)
		}
		if a, err := c.ReadMsg(); err == nil && a.Id == q.Id {
			return a
		}
	}
	t.Fatalf("no answer to %v", q.Question)
	return nil
}

func (n *namespace) reads(t *testing.T, server, name string, kind uint16) string {
	t.Helper()
	return said(n.looksUp(t, "udp", server, asked(name, kind)))
}

func TestDNS_answersOnEveryGatewayByUDPAndTCP(t *testing.T) {
	w := newWires(t)
	w.router(1, "10.10.0.1/24", "10.20.0.1/22")
	g := w.guest(1, macA)
	w.address(g, "10.10.0.11/24", "10.10.0.1")
	set(t, w.service(), manyNames())
	for _, gateway := range []string{"10.10.0.1", "10.20.0.1"} {
		for _, by := range []string{"udp", "tcp"} {
			for name, want := range map[string]string{
				"b.n.shop.internal.": "NOERROR; b.n.shop.internal. A 10.10.0.12; b.n.shop.internal. A 10.20.3.9",
				"b.":                 "NOERROR; b. A 10.10.0.12; b. A 10.20.3.9",
				"z.n.shop.internal.": "NXDOMAIN; authority n.shop.internal.",
				"www.example.com.":   "REFUSED", // there is nobody to ask
			} {
				if got := said(g.looksUp(t, by, gateway, asked(name, dns.TypeA))); got != want {
					t.Errorf("%s %s: %s is %s, want %s", by, gateway, name, got, want)
				}
			}
		}
	}
	// Many questions by one connection.
	c := g.resolver(t, "tcp", "10.10.0.1")
	for range 50 {
		q := asked("a.", dns.TypeA)
		if err := errors.Join(c.SetDeadline(time.Now().Add(patience)), c.WriteMsg(q)); err != nil {
			t.Fatal(err)
		}
		if a, err := c.ReadMsg(); err != nil || a.Id != q.Id || said(a) != "NOERROR; a. A 10.10.0.11" {
			t.Fatalf("%v %v", a, err)
		}
	}
}

func TestDNS_followsWhatIsDesired(t *testing.T) {
	w := newWires(t)
	w.router(1, "10.10.0.1/24")
	g := w.guest(1, macA)
	w.address(g, "10.10.0.11/24", "10.10.0.1")
	s := w.service()
	d := oneGuest()
	set(t, s, d)
	if got := g.reads(t, "10.10.0.1", "b.", dns.TypeA); got != "NXDOMAIN" {
		t.Error(got)
	}
	addInstance(d, "b", "n", macB, "10.10.0.12")
	set(t, s, d)
	if got := g.reads(t, "10.10.0.1", "b.", dns.TypeA); got != "NOERROR; b. A 10.10.0.12" {
		t.Error(got)
	}
	delete(d.Ports, "prt_b")
	set(t, s, d)
	if got := g.reads(t, "10.10.0.1", "12.0.10.10.in-addr.arpa.", dns.TypePTR); got != "NXDOMAIN; authority 0.10.10.in-addr.arpa." {
		t.Error(got)
	}
}

// Two networks with the same addresses and the same names, each with its own.
func TestDNS_networksDoNotSeeEachOther(t *testing.T) {
	w := newWires(t)
	d := nothing()
	guests := map[string]*namespace{}
	for i, n := range []string{"a", "b"} {
		vni := uint32(i + 1)
		w.router(vni, "10.10.0.1/24")
		addNetwork(d, n, vni)
		addInstance(d, "me"+n, n, macA, "10.10.0.11")
		p := d.Ports["prt_me"+n]
		p.Hostname = "me"
		d.Ports[p.ID] = p
		d.Ports["prt_db"+n] = api.HostPort{ID: "prt_db" + n, Network: "net_" + n, Hostname: "db", MAC: macB, Addresses: []api.PortAddress{{Subnet: "sub_" + n, Address: addr(fmt.Sprintf("10.10.0.%d", 100+i))}}, Underlay: addr("192.0.2.2")}
		guests[n] = w.guest(vni, macA)
		w.address(guests[n], "10.10.0.11/24", "10.10.0.1")
	}
	set(t, w.service(), d)
	for i, n := range []string{"a", "b"} {
		if got, want := guests[n].reads(t, "10.10.0.1", "db.", dns.TypeA), fmt.Sprintf("NOERROR; db. A 10.10.0.%d", 100+i); got != want {
			t.Errorf("%s: %s, want %s", n, got, want)
		}
		other := []string{"b", "a"}[i]
		if got := guests[n].reads(t, "10.10.0.1", "db."+other+".shop.internal.", dns.TypeA); got != "NXDOMAIN" && got != "REFUSED" {
			t.Errorf("%s learns of the other network: %s", n, got)
		}
	}
}

func TestDNS_forwardsFromTheHost(t *testing.T) {
	up := newWorld(t, "127.0.0.1:0", records("www.example.com. 60 IN A 192.0.2.80"))
	w := newWires(t)
	w.router(1, "10.10.0.1/24")
	g := w.guest(1, macA)
	w.address(g, "10.10.0.11/24", "10.10.0.1")
	set(t, w.serviceWith(Options{Forwarders: []netip.AddrPort{up.at}}), oneGuest())
	for _, by := range []string{"udp", "tcp"} {
		if got := said(g.looksUp(t, by, "10.10.0.1", asked("www.example.com.", dns.TypeA))); got != "NOERROR; www.example.com. A 192.0.2.80" {
			t.Errorf("%s: %s", by, got)
		}
	}
	if got := g.reads(t, "10.10.0.1", "z.n.shop.internal.", dns.TypeA); got != "NXDOMAIN; authority n.shop.internal." {
		t.Error(got)
	}
	if got := up.heard(); slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "internal") }) {
		t.Errorf("names of the network were asked for outside: %v", got)
	}
}

// While a name server is silent, a guest has only so many questions outside; its
// own network's names are answered all the while, and so are its neighbours.
func TestDNS_aSilentNameServerHoldsUpNothingElse(t *testing.T) {
	release := make(chan struct{})
	var held sync.WaitGroup
	up := newWorld(t, "127.0.0.1:0", func(w dns.ResponseWriter, q *dns.Msg) {
		if strings.HasPrefix(q.Question[0].Name, "slow") {
			held.Done()
			<-release
			return
		}
		records(q.Question[0].Name+" 60 IN A 192.0.2.80")(w, q)
	})
	t.Cleanup(func() { close(release) })
	w := newWires(t)
	w.router(1, "10.10.0.1/24")
	d := oneGuest()
	addInstance(d, "b", "n", macB, "10.10.0.12")
	a, b := w.guest(1, macA), w.guest(1, macB)
	w.address(a, "10.10.0.11/24", "10.10.0.1")
	w.address(b, "10.10.0.12/24", "10.10.0.1")
	s := w.serviceWith(Options{Forwarders: []netip.AddrPort{up.at}})
	set(t, s, d)

	held.Add(flightsGuest)
	c := a.resolver(t, "udp", "10.10.0.1")
	for i := range flightsGuest {
		if err := c.WriteMsg(asked(fmt.Sprintf("slow%d.example.", i), dns.TypeA)); err != nil {
			t.Fatal(err)
		}
	}
	held.Wait()
	if got := b.reads(t, "10.10.0.1", "www.example.", dns.TypeA); got != "NOERROR; www.example. A 192.0.2.80" {
		t.Errorf("the neighbour reads %s", got)
	}
	if got := a.reads(t, "10.10.0.1", "b.", dns.TypeA); got != "NOERROR; b. A 10.10.0.12" {
		t.Errorf("of its own network it reads %s", got)
	}
	n := &s.servers[1].names
	if n.depart(addr("10.10.0.11")) {
		n.arrive(addr("10.10.0.11"))
		t.Error("there was room for one more")
	}
	set(t, s, nothing()) // ends what is under way
}

func TestDNS_strangersAreNotHeard(t *testing.T) {
	w := newWires(t)
	r := w.router(1, "10.10.0.1/24")
	stranger, owner := w.guest(1, macB), w.guest(1, macA)
	w.address(stranger, "10.10.0.12/24", "10.10.0.1")
	w.address(owner, "10.10.0.11/24", "10.10.0.1")
	outside := newNamespace(t)
	w.uplink(r, outside, "10.10.0.99/32")
	d := oneGuest()
	d.Ports["prt_z"] = api.HostPort{ID: "prt_z", Network: "net_n", Hostname: "z", MAC: macB, Addresses: []api.PortAddress{{Subnet: "sub_n", Address: addr("10.10.0.12")}}, Underlay: addr("192.0.2.2")}
	set(t, w.service(), d)
	c := stranger.resolver(t, "udp", "10.10.0.1")
	if err := c.WriteMsg(asked("a.", dns.TypeA)); err != nil {
		t.Fatal(err)
	}
	// By TCP the end of the connection is what it hears.
	tcp := stranger.resolver(t, "tcp", "10.10.0.1")
	_ = tcp.WriteMsg(asked("a.", dns.TypeA))
	if a, err := tcp.ReadMsg(); err == nil {
		t.Errorf("a stranger is told %s", a)
	}
	// The server answers in order: after the owner's answer the stranger's would be there.
	if got := owner.reads(t, "10.10.0.1", "a.", dns.TypeA); got != "NOERROR; a. A 10.10.0.11" {
		t.Error(got)
	}
	if err := c.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if a, err := c.ReadMsg(); err == nil {
		t.Errorf("a stranger is told %s", a)
	}
	// To another address than a gateway's: the metadata's.
	c = owner.resolver(t, "udp", "169.254.169.254")
	if err := c.WriteMsg(asked("a.", dns.TypeA)); err != nil {
		t.Fatal(err)
	}
	_ = owner.reads(t, "10.10.0.1", "a.", dns.TypeA)
	if err := c.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if a, err := c.ReadMsg(); err == nil {
		t.Errorf("another address answers %s", a)
	}
}

// What a guest may send, at its worst: the server goes on.
func TestDNS_outlivesWhatGuestsSend(t *testing.T) {
	w := newWires(t)
	w.router(1, "10.10.0.1/24")
	g := w.guest(1, macA)
	w.address(g, "10.10.0.11/24", "10.10.0.1")
	set(t, w.service(), oneGuest())
	good := packed(t, asked("a.n.shop.internal.", dns.TypeA))
	long := make([]byte, 9000)
	copy(long, good)
	worst := [][]byte{{}, {0}, make([]byte, 12), long, []byte(strings.Repeat("\xc0\x0c", 200))}
	for cut := range good {
		worst = append(worst, good[:cut])
	}
	for at := range good {
		for _, bits := range []byte{0xff, 0x80, 0x01, 0x3f} {
			b := slices.Clone(good)
			b[at] ^= bits
			worst = append(worst, b)
		}
	}
	c := g.resolver(t, "udp", "10.10.0.1")
	for _, b := range worst {
		if _, err := c.Conn.Write(b); err != nil && !errors.Is(err, unix.EMSGSIZE) {
			t.Fatal(err)
		}
	}
	for _, b := range worst[:20] {
		tcp := g.resolver(t, "tcp", "10.10.0.1")
		_, _ = tcp.Conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b)+1)), b...)) // it says one byte more
		tcp.Close()
	}
	if got := g.reads(t, "10.10.0.1", "a.", dns.TypeA); got != "NOERROR; a. A 10.10.0.11" {
		t.Error(got)
	}
}

func TestDNS_aGuestWithManyConnectionsKeepsNobodyOut(t *testing.T) {
	w := newWires(t)
	w.router(1, "10.10.0.1/24")
	d := oneGuest()
	addInstance(d, "b", "n", macB, "10.10.0.12")
	greedy, modest := w.guest(1, macA), w.guest(1, macB)
	w.address(greedy, "10.10.0.11/24", "10.10.0.1")
	w.address(modest, "10.10.0.12/24", "10.10.0.1")
	s := w.service()
	set(t, s, d)
	for range connectionsEach {
		_ = greedy.resolver(t, "tcp", "10.10.0.1")
	}
	more := greedy.resolver(t, "tcp", "10.10.0.1")
	_ = more.WriteMsg(asked("a.", dns.TypeA))
	if a, err := more.ReadMsg(); err == nil {
		t.Errorf("one connection too many is told %s", a)
	}
	if got := said(modest.looksUp(t, "tcp", "10.10.0.1", asked("a.", dns.TypeA))); got != "NOERROR; a. A 10.10.0.11" {
		t.Errorf("the neighbour reads %s", got)
	}
	set(t, s, nothing()) // ends the connections that say nothing
}

// The resolver of small guests, as they have it after DHCP.
func TestDNS_servesNslookup(t *testing.T) {
	w := newWires(t)
	w.router(1, "10.10.0.1/24")
	g := w.guest(1, macA)
	w.address(g, "10.10.0.11/24", "10.10.0.1")
	set(t, w.service(), manyNames())
	for _, c := range [][2]string{{"b.n.shop.internal", "10.10.0.12"}, {"10.10.0.12", "b.n.shop.internal"}} {
		out, err := g.command(patient(t), "busybox", "nslookup", c[0], "10.10.0.1")
		if err != nil || !strings.Contains(string(out), c[1]) {
			t.Errorf("nslookup %s: %v\n%s", c[0], err, out)
		}
	}
	// By the short name, as a small guest whose root has nothing but busybox.
	root := t.TempDir()
	if out, err := exec.Command("sh", "-c", `mkdir "$0/bin" "$0/etc" && cp /bin/busybox "$0/bin/" && printf 'search shop.internal\nnameserver 10.10.0.1\n' >"$0/etc/resolv.conf"`, root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := g.command(patient(t), "chroot", root, "/bin/busybox", "ping", "-c", "3", "-W", "5", "n"); err != nil || !strings.Contains(string(out), "10.10.0.1") {
		t.Errorf("ping n: %v\n%s", err, out)
	}
	// And Go's own, by UDP, with its own EDNS.
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, by, _ string) (c net.Conn, err error) {
		err = g.run(func() error {
			c, err = (&net.Dialer{}).DialContext(ctx, by, "10.10.0.1:53")
			return err
		})
		return c, err
	}}
	got, err := r.LookupHost(patient(t), "b.n.shop.internal.")
	if slices.Sort(got); err != nil || !slices.Equal(got, []string{"10.10.0.12", "10.20.3.9"}) {
		t.Errorf("%v, %v", got, err)
	}
}
