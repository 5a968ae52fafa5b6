package linux

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/cairn-cloud/cairn/network"
)

// Rules as tests write them.
func ingress(protocol, first, last uint16) network.SecurityRule {
	return network.SecurityRule{Protocols: network.Range{First: protocol, Last: protocol}, Details: network.Range{First: first, Last: last}}
}

func from(cidr string, r network.SecurityRule) network.SecurityRule {
	r.CIDR = netip.MustParsePrefix(cidr)
	return r
}

func withGroup(group string, r network.SecurityRule) network.SecurityRule {
	r.Group = group
	return r
}

func egress(r network.SecurityRule) network.SecurityRule {
	r.Egress = true
	return r
}

var anything = network.SecurityRule{Protocols: network.AllProtocols, Details: network.AllDetails}

// group gives ports of a network, by their place, other groups, and hosts the rules of those.
func (r room) group(groups map[string][]network.SecurityRule, ports map[int][]string) {
	r.t.Helper()
	r.change(func(want *network.Desired) {
		for i, g := range ports {
			want.Networks[0].Ports[i].Groups = g
		}
		want.Groups = map[string]network.SecurityGroup{openGroup: {Rules: openRules}}
		for id, rules := range groups {
			want.Groups[id] = network.SecurityGroup{Rules: rules}
		}
	})
}

// change makes both hosts' networks what they are to be after a change, and
// nothing is left to do. The ports of the first network are its to write.
func (r room) change(change func(*network.Desired)) {
	r.t.Helper()
	for _, h := range []*host{r.one, r.two} {
		want := *h.want
		want.Networks = slices.Clone(want.Networks)
		want.Networks[0].Ports = slices.Clone(want.Networks[0].Ports)
		change(&want)
		if _, err := h.Apply(r.t.Context(), want); err != nil {
			r.t.Fatal(err)
		}
		if left := h.rest(want); len(left) > 0 {
			r.t.Fatalf("there is left to do %q", left)
		}
	}
}

// talk is two guests' sockets.
type talk struct {
	r            room
	from, to     *net.UDPConn
	fromAt, toAt netip.AddrPort
}

func (r room) talk(a *guest, fromPort uint16, b *guest, toPort uint16) talk {
	r.t.Helper()
	x := talk{r: r, fromAt: netip.AddrPortFrom(a.address, fromPort), toAt: netip.AddrPortFrom(b.address, toPort)}
	x.from, x.to = r.listenUDP(a.ns, x.fromAt), r.listenUDP(b.ns, x.toAt)
	return x
}

func (x talk) say(word string)    { x.send(x.from, word, x.toAt) }
func (x talk) answer(word string) { x.send(x.to, word, x.fromAt) }

func (x talk) send(by *net.UDPConn, word string, to netip.AddrPort) {
	x.r.t.Helper()
	if _, err := by.WriteToUDPAddrPort([]byte(word), to); err != nil {
		x.r.t.Fatal(err)
	}
}

// heard fails the test if the next that a socket gets is something else.
func (x talk) heard(by *net.UDPConn, word string) {
	x.r.t.Helper()
	if b, _ := x.r.read(by); string(b) != word {
		x.r.t.Fatalf("it hears %q and not %q", b, word)
	}
}

func TestGroups_answersPassAndNothingElse(t *testing.T) {
	for _, near := range []bool{true, false} {
		r := newRoom(t)
		other, at := r.b, 1
		if near {
			other, at = r.c, 2 // in another subnet, so by a router
		}
		r.group(map[string][]network.SecurityRule{
			"sgr_client": {egress(anything)},
			"sgr_server": {ingress(17, 53, 53)},
		}, map[int][]string{0: {"sgr_client"}, at: {"sgr_server"}})
		dns, ssh := r.talk(r.a, 5000, other, 53), r.talk(r.a, 5001, other, 22)
		ssh.say("not allowed")
		dns.say("allowed")
		dns.heard(dns.to, "allowed")
		dns.answer("its answer")
		dns.heard(dns.from, "its answer")
		ssh.answer("as if it were one")
		dns.answer("another")
		dns.heard(dns.from, "another")
		for name, c := range map[string]*net.UDPConn{"the server": ssh.to, "the client": ssh.from} {
			if silent(t, c); t.Failed() {
				t.Fatalf("%s gets what is not allowed", name)
			}
		}
	}
}

// silent fails the test if there is something to read already.
func silent(t *testing.T, c *net.UDPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		b := make([]byte, 64)
		if n, _, err := unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT); err == nil {
			t.Errorf("it hears %q", b[:n])
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What is forbidden ends at once, what is allowed still goes on, on both sides.
func TestGroups_establishedConnectionsAreJudgedAnew(t *testing.T) {
	r := newRoom(t)
	server := func(rules ...network.SecurityRule) {
		r.group(map[string][]network.SecurityRule{"sgr_server": rules}, map[int][]string{1: {"sgr_server"}})
	}
	server(ingress(17, 53, 53), ingress(17, 60, 70))
	a, b := r.talk(r.a, 5000, r.b, 53), r.talk(r.a, 5001, r.b, 65)
	for _, x := range []talk{a, b} {
		x.say("hello")
		x.heard(x.to, "hello")
		x.answer("hello too")
		x.heard(x.from, "hello too")
	}
	server(ingress(17, 65, 65)) // shrinks
	a.say("forbidden")
	a.answer("forbidden too")
	b.answer("still an answer")
	b.heard(b.from, "still an answer")
	b.say("still allowed")
	b.heard(b.to, "still allowed")
	silent(t, a.to)
	silent(t, a.from)
	// By the other side's groups as well: it is its own host that ends it.
	r.group(map[string][]network.SecurityRule{"sgr_server": {ingress(17, 65, 65)}, "sgr_mute": nil}, map[int][]string{0: {"sgr_mute"}})
	b.say("forbidden")
	b.answer("forbidden too")
	r.c.reaches(netip.MustParseAddr("10.0.2.1"))
	silent(t, b.to)
	silent(t, b.from)
}

// An agent that was away while something was forbidden judges all of it.
func TestGroups_anAgentThatStartsJudgesWhatIsThere(t *testing.T) {
	r := newRoom(t)
	x := r.talk(r.a, 5000, r.b, 53)
	x.say("hello")
	x.heard(x.to, "hello")
	want := *r.two.want
	want.Groups = map[string]network.SecurityGroup{openGroup: {Rules: []network.SecurityRule{egress(anything)}}}
	var again *Network
	err := within(r.two.Network.host.ns, func() (err error) {
		again, err = Open(r.two.o)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	// As if its rules had been changed, and it had ended before it judged.
	k := again.open()
	have, err := k.observe()
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range network.Plan(want, have) {
		if _, judges := op.(network.EndConnections); !judges {
			if err := k.do(op); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !bytes.Contains(r.two.tracked(), []byte("dport=53")) {
		t.Fatal("the connection is gone before it was judged")
	}
	if _, err := again.Apply(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(r.two.tracked(), []byte("dport=53")) {
		t.Errorf("the connection is still there:\n%s", r.two.tracked())
	}
}

// Two networks of the same addresses on one host: what one allows opens nothing in the other.
func TestGroups_connectionsOfAnotherNetworkOpenNothing(t *testing.T) {
	r := newRoom(t)
	a, b, c := r.network(43, 0x10)
	r.group(map[string][]network.SecurityRule{"sgr_closed": {egress(anything)}}, map[int][]string{1: {"sgr_closed"}})
	ours, theirs := r.talk(r.a, 5000, r.b, 53), r.talk(a, 5000, b, 53)
	theirs.say("hello")
	theirs.heard(theirs.to, "hello")
	ours.say("hello")
	theirs.say("again")
	theirs.heard(theirs.to, "again")
	r.c.reaches(netip.MustParseAddr("10.0.2.1"))
	c.reaches(b.address)
	silent(t, ours.to)
}

// Attacks of a guest who has one open neighbour on the host of another.
func TestGroups_attacks(t *testing.T) {
	h := newWorld(t).host()
	n := blue(42, nic("aaaaaaaaaaaa", 1, "10.0.1.10", h, h), nic("bbbbbbbbbbbb", 2, "10.0.1.11", h, h), nic("cccccccccccc", 3, "10.0.1.12", h, h))
	n.Ports[1].Groups = []string{"sgr_ping"}
	want := h.desired(n)
	want.Groups["sgr_ping"] = network.SecurityGroup{Rules: []network.SecurityRule{ingress(1, 0, 65535), egress(anything)}}
	if _, err := h.Apply(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	a, victim, open := h.guest(n, n.Ports[0]), h.guest(n, n.Ports[1]), h.guest(n, n.Ports[2])
	seen := victim.frames()
	udp := func(to netip.Addr, word string) []byte {
		return ipPacket(a.address, to, unix.IPPROTO_UDP, udpPacket(5000, 53, []byte(word)))
	}
	send := func(mac net.HardwareAddr, p []byte) { a.inject(etherFrame(mac, a.port.MAC, unix.ETH_P_IP, p)) }

	send(victim.port.MAC, udp(victim.address, "attack: as it is"))
	// A connection that the neighbour agrees to, and then the victim's MAC under its address.
	send(open.port.MAC, udp(open.address, "hello"))
	send(victim.port.MAC, udp(open.address, "attack: another's address"))
	// By the router, which makes the connection known before the victim is asked;
	// then an error about it, to which the victim agrees as it does to pings.
	send(network.GatewayMAC(), udp(victim.address, "attack: by the router"))
	send(network.GatewayMAC(), ipPacket(a.address, victim.address, unix.IPPROTO_ICMP, icmpError(udp(victim.address, "attack: in an error"))))
	send(network.GatewayMAC(), udp(victim.address, "attack: behind the error"))
	send(victim.port.MAC, udp(victim.address, "attack: past the router"))
	// To many at once.
	send(broadcast, udp(victim.address, "attack: to all"))
	send(net.HardwareAddr{1, 0, 0x5e, 0, 0, 1}, udp(netip.MustParseAddr("224.0.0.1"), "attack: to a group"))
	send(broadcast, udp(netip.MustParseAddr("10.0.1.255"), "attack: to the subnet"))
	// In pieces, of which the first is too short to be judged.
	whole := udp(victim.address, "attack: in pieces, in pieces")
	for i, piece := range [][]byte{whole[20:28], whole[28:]} {
		f := ipPacket(a.address, victim.address, unix.IPPROTO_UDP, piece)
		binary.BigEndian.PutUint16(f[6:], map[int]uint16{0: 0x2000, 1: 1}[i])
		sum4(f)
		send(victim.port.MAC, f)
	}
	a.reaches(victim.address) // which is allowed
	for _, f := range seen.until(func(f []byte) bool { return is(f, unix.IPPROTO_ICMP) && f[34] == 8 }) {
		if bytes.Contains(f, []byte("attack")) && !bytes.Contains(f, []byte("in an error")) {
			t.Errorf("there arrives %q", f)
		}
	}
}

// icmpError says that a packet was too long.
func icmpError(about []byte) []byte {
	b := append([]byte{3, 4, 0, 0, 0, 0, 5, 0}, about...)
	if len(b)%2 != 0 {
		b = append(b, 0)
	}
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// sum4 gives an IPv4 packet its checksum anew.
func sum4(p []byte) {
	p[10], p[11] = 0, 0
	binary.BigEndian.PutUint16(p[10:], checksum(p[:20]))
}

// Where the kernel does not bring what bridges pass on to the rules, nothing is
// passed on; and it is put right.
func TestGroups_withoutTheFilterNothingPasses(t *testing.T) {
	r := newRoom(t)
	for _, h := range []*host{r.one, r.two} { // it is not the host's sysctls that do it
		run(t, h.Network.host.ns, "sh", "-c", "for f in /proc/sys/net/bridge/bridge-nf-call-*; do echo 0 > $f; done")
	}
	x := r.talk(r.a, 5000, r.b, 53)
	x.say("by the filter")
	x.heard(x.to, "by the filter")
	run(t, r.two.Network.host.ns, "ip", "link", "set", "cb00002a", "type", "bridge", "nf_call_iptables", "0")
	arrived := func() uint64 { return r.received(r.two.Network.host.ns, "cx00002a").RxPackets }
	before := arrived()
	x.say("past the filter")
	for arrived() == before { // so that it is not on its way still when the filter is back
		runtime.Gosched()
	}
	if found, err := r.two.Apply(t.Context(), *r.two.want); err != nil || len(found) != 1 || found[0].Field != "link cb00002a filtered" {
		t.Errorf("it finds %v (%v)", found, err)
	}
	x.say("by it again")
	x.heard(x.to, "by it again")
}

// Packets that are too long for one frame are judged whole, and arrive so.
func TestGroups_fragmentsArriveWhole(t *testing.T) {
	r := newRoom(t)
	r.group(map[string][]network.SecurityRule{"sgr_server": {ingress(17, 53, 53)}}, map[int][]string{1: {"sgr_server"}, 2: {"sgr_server"}})
	for i, to := range []*guest{r.b, r.c} {
		port := uint16(5000 + 2*i)
		x, y := r.talk(r.a, port, to, 53), r.talk(r.a, port+1, to, 54)
		long := string(bytes.Repeat([]byte("long "), 1000))
		y.say(long)
		x.say(long)
		x.heard(x.to, long)
		silent(t, y.to)
	}
}

// A floating IP leads to what the groups of its port allow, by where it comes from.
func TestGroups_aFloatingIPIsNoWayAround(t *testing.T) {
	r := newRoom(t)
	r.one.lead(42, to(publicA, r.a))
	open := func(cidr string) {
		r.group(map[string][]network.SecurityRule{"sgr_web": {from(cidr, ingress(17, 53, 53)), egress(anything)}}, map[int][]string{0: {"sgr_web"}})
	}
	open("198.51.100.0/24")
	server := r.listenUDP(r.a.ns, netip.AddrPortFrom(r.a.address, 53))
	client := r.listenUDP(r.fabric, netip.AddrPortFrom(fabric, 0))
	say := func(word string) {
		if _, err := client.WriteToUDPAddrPort([]byte(word), netip.AddrPortFrom(publicA, 53)); err != nil {
			t.Fatal(err)
		}
	}
	say("from elsewhere")
	open("192.0.2.0/24")
	say("from there")
	if b, _ := r.read(server); string(b) != "from there" {
		t.Errorf("it hears %q", b)
	}
}

// matrix is ports of random groups, and what they try to send one another.
type matrix struct {
	groups map[string][]network.SecurityRule
	ports  [][]string
	probes []probe
}

type probe struct {
	from, to int
	six      bool
	network.Packet
}

// sentinel lets one kind of packet through, behind which all before it has arrived.
const sentinel, sentinelPort = "sgr_sentinel", 9

func matrices(ports int) *rapid.Generator[matrix] {
	ids := []string{"sgr_1", "sgr_2", "sgr_3"}
	return rapid.Custom(func(t *rapid.T) matrix {
		m := matrix{groups: map[string][]network.SecurityRule{sentinel: {ingress(17, sentinelPort, sentinelPort), egress(ingress(17, sentinelPort, sentinelPort))}}}
		for _, id := range ids {
			if rapid.IntRange(0, 3).Draw(t, "open") > 0 { // or hardly two would agree
				m.groups[id] = append(m.groups[id], egress(anything))
			}
			for range rapid.IntRange(1, 5).Draw(t, "rules") {
				r := rapid.SampledFrom([]network.SecurityRule{anything, ingress(6, 80, 80), ingress(17, 78, 82), ingress(6, 81, 90), ingress(1, 8<<8, 8<<8|255), ingress(58, 0, 65535)}).Draw(t, "what")
				switch rapid.IntRange(0, 3).Draw(t, "who") {
				case 0:
					r.Group = rapid.SampledFrom(ids).Draw(t, "group")
				case 1:
					r.CIDR = netip.MustParsePrefix(rapid.SampledFrom([]string{"10.0.0.0/16", "10.0.1.0/24", "10.0.1.11/32", "fd00:0:0:1::/64", "::/0"}).Draw(t, "cidr"))
				}
				r.Egress = rapid.Bool().Draw(t, "egress")
				m.groups[id] = append(m.groups[id], r)
			}
		}
		for range ports {
			g := rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 1, 2, rapid.ID).Draw(t, "groups")
			m.ports = append(m.ports, append(g, sentinel))
		}
		for range 12 {
			p := probe{from: rapid.IntRange(0, ports-1).Draw(t, "from"), to: rapid.IntRange(0, ports-2).Draw(t, "to"), six: rapid.Bool().Draw(t, "IPv6")}
			if p.to >= p.from {
				p.to++
			}
			p.Protocol = rapid.SampledFrom([]network.Protocol{network.TCP, network.UDP, network.Ping}).Draw(t, "protocol")
			p.DestPort = uint16(rapid.IntRange(79, 83).Draw(t, "port"))
			m.probes = append(m.probes, p)
		}
		return m
	})
}

// Who may reach whom: as the plan explains it, and with real packets.
func TestGroups_whatTraceSaysIsWhatPacketsDo(t *testing.T) {
	w := newWorld(t)
	r := room{world: w, one: w.host(), two: w.host()}
	at := []*host{r.one, r.two, r.two, r.one, r.one}
	on := func(h *host) network.Network {
		var ports []network.Port
		for i, a := range []string{"10.0.1.10", "10.0.1.11", "10.0.2.20", "10.0.1.12", "10.0.2.21"} {
			ports = append(ports, nic(fmt.Sprintf("aaaaaaaaaa%02d", i), byte(i+1), a, h, at[i]))
		}
		return dual(blue(42, ports...))
	}
	var guests []*guest
	for _, h := range []*host{r.one, r.two} {
		h.apply(on(h))
	}
	for i, h := range at {
		guests = append(guests, h.guest(on(h), on(h).Ports[i]))
	}
	hosts := func(underlay netip.Addr) (string, network.Desired, bool) {
		for _, h := range []*host{r.one, r.two} {
			if h.address == underlay {
				return underlay.String(), *h.want, true
			}
		}
		return "", network.Desired{}, false
	}
	id, passed, dropped := uint16(10000), 0, 0
	for seed := range 20 {
		m := matrices(len(at)).Example(seed)
		ports := map[int][]string{}
		for i, g := range m.ports {
			ports[i] = g
		}
		r.group(m.groups, ports)
		for _, p := range m.probes {
			id++
			a, b := guests[p.from], guests[p.to]
			p.Dest = b.address
			if p.six {
				p.Dest = b.six()
			}
			way := network.Trace(hosts, at[p.from].address, a.port.ID, p.Packet)
			seen := b.frames()
			word := fmt.Sprintf("probe %d of seed %d", id, seed)
			is := func(word string) func([]byte) bool {
				return func(f []byte) bool { return bytes.Contains(f, []byte(word)) }
			}
			a.inject(a.probe(b, p.Packet, id, word))
			if way.Passes {
				seen.until(is(word))
				passed++
			} else {
				a.inject(a.probe(b, network.Packet{Dest: b.address, Protocol: network.UDP, DestPort: sentinelPort}, id, "after "+word))
				for _, f := range seen.until(is("after " + word)) {
					if is(word)(f) {
						t.Fatalf("%s, groups %v, ports %v: %v arrives, and the trace says: %s", word, m.groups, m.ports, p, way.End)
					}
				}
				dropped++
			}
			_ = seen.Close()
		}
	}
	if passed < 30 || dropped < 30 {
		t.Errorf("of the probes %d pass and %d do not: too few to tell", passed, dropped)
	}
}

// probe is a frame as the guest sends it: to the other, or to its router.
func (g *guest) probe(to *guest, p network.Packet, id uint16, word string) []byte {
	mac := to.port.MAC
	if subnet6Of(g.port) != subnet6Of(to.port) {
		mac = network.GatewayMAC()
	}
	source := g.address
	if p.Dest.Is6() {
		source = g.six()
	}
	var protocol byte
	var b []byte
	switch p.Protocol {
	case network.UDP:
		protocol, b = unix.IPPROTO_UDP, udpPacket(id, p.DestPort, []byte(word))
	case network.TCP:
		protocol, b = unix.IPPROTO_TCP, append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, id), p.DestPort), 0, 0, 0, 1, 0, 0, 0, 0, 5<<4, 2, 1, 0, 0, 0, 0, 0)
		b = append(b, word...)
	default:
		protocol, b = unix.IPPROTO_ICMP, append([]byte{8, 0, 0, 0, byte(id >> 8), byte(id), 0, 1}, word...)
		if p.Dest.Is6() {
			protocol, b[0] = unix.IPPROTO_ICMPV6, 128
		}
	}
	if len(b)%2 != 0 {
		b = append(b, 0)
	}
	if protocol == unix.IPPROTO_UDP {
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	}
	if at := map[byte]int{unix.IPPROTO_UDP: 6, unix.IPPROTO_TCP: 16, unix.IPPROTO_ICMP: 2, unix.IPPROTO_ICMPV6: 2}[protocol]; true {
		pseudo := slices.Concat(source.AsSlice(), p.Dest.AsSlice(), []byte{0, protocol, byte(len(b) >> 8), byte(len(b))})
		if protocol == unix.IPPROTO_ICMP {
			pseudo = nil
		}
		binary.BigEndian.PutUint16(b[at:], 0)
		binary.BigEndian.PutUint16(b[at:], checksum(append(pseudo, b...)))
	}
	if p.Dest.Is6() {
		return etherFrame(mac, g.port.MAC, unix.ETH_P_IPV6, ip6Packet(source, p.Dest, protocol, b))
	}
	return etherFrame(mac, g.port.MAC, unix.ETH_P_IP, ipPacket(source, p.Dest, protocol, b))
}
