package network

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Packet is what a Trace follows: the first of a connection.
type Packet struct {
	Dest     netip.Addr
	Protocol Protocol
	DestPort uint16 // of TCP and UDP
}

// Protocol is what is above IP, in nft's words.
type Protocol string

// The protocols that can be followed. A ping is ICMP of the family of its destination.
const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	Ping Protocol = "ping"
)

// Hop is one step on a packet's way.
type Hop struct {
	Host  string // its name
	Where string // a link, or a chain of rules
	What  string // what is done there
}

func (h Hop) String() string { return fmt.Sprintf("%s: %s: %s", h.Host, h.Where, h.What) }

// Way is where a packet goes, and why.
type Way struct {
	Passes bool
	Port   string // where it arrives; empty: at no port
	End    string // where it ends, in words
	Hops   []Hop
}

// ephemeral is a source port as guests choose them.
const ephemeral = "49152"

// mostHops ends a packet that goes round.
const mostHops = 500

// Hosts finds a host by its underlay address: its name, and what its network is to be.
type Hosts func(underlay netip.Addr) (name string, want Desired, ok bool)

// Trace follows the first packet of a connection from a port of a host through
// what the hosts are made to be: links, entries, routes and rules. It looks at what
// is wanted, not at what there is, which Differences tells.
func Trace(hosts Hosts, underlay netip.Addr, port string, p Packet) Way {
	w := &walker{hosts: hosts}
	if !w.enter(underlay) {
		w.drop("host", "no host has the address %s", underlay)
		return w.way
	}
	w.send(port, p)
	return w.way
}

type walker struct {
	hosts Hosts
	way   Way
	// Where the packet is, and what is wanted there.
	at   string
	want Desired
	layout
	packet seen
	flow   Flow // that it begins
}

// enter goes on at another host.
func (w *walker) enter(underlay netip.Addr) bool {
	name, want, ok := w.hosts(underlay)
	if ok {
		w.packet.conn = 0 // each host tracks by itself
		w.at, w.want, w.layout = name, want, lay(want, Observed{State: State{Host: NewSpace()}})
	}
	return ok
}

func (w *walker) note(where, format string, args ...any) {
	w.way.Hops = append(w.way.Hops, Hop{w.at, where, fmt.Sprintf(format, args...)})
}

// drop ends the packet, ungranted.
func (w *walker) drop(where, format string, args ...any) {
	w.note(where, format, args...)
	w.way.End = fmt.Sprintf(format, args...)
}

// arrive ends it where it was to go.
func (w *walker) arrive(where, format string, args ...any) {
	w.drop(where, format, args...)
	w.way.Passes = true
}

// send is what the guest does: it asks for the next hop's MAC, and sends.
func (w *walker) send(port string, p Packet) {
	n, from, ok := findPort(w.want, port)
	if !ok || !from.Local {
		w.drop("port "+port, "it is not on the host")
		return
	}
	tap := Tap(port)
	mac, _ := macOf(from.MAC)
	source := sourceFor(n, from, p.Dest)
	to, via, ok := resolve(n, source, p.Dest)
	if !ok {
		w.drop("link "+tap, "nobody answers for %s, and there is no way to it", via)
		return
	}
	w.packet, w.flow = seen{state: "new", fields: headers(source, p)}, flowOf(source, p)
	w.packet.fields[EtherSource], w.packet.fields[EtherDest] = mac.String(), to.String()
	w.note("link "+tap, "the guest sends to %s, which is %s", via, to)
	w.bridge(tap)
}

func findPort(d Desired, id string) (Network, Port, bool) {
	for _, n := range d.Networks {
		for _, p := range n.Ports {
			if p.ID == id {
				return n, p, true
			}
		}
	}
	return Network{}, Port{}, false
}

// sourceFor is the address that a guest sends from: one of the destination's
// subnet, or else the first of its family.
func sourceFor(n Network, from Port, dest netip.Addr) (source netip.Addr) {
	for _, a := range from.Addresses {
		for _, s := range n.Subnets {
			if s.CIDR.Contains(a) && s.CIDR.Contains(dest) {
				return a
			}
		}
		if !source.IsValid() && a.Is4() == dest.Is4() {
			source = a
		}
	}
	return source
}

// resolve finds the MAC that a guest sends to, and of whom it is.
func resolve(n Network, source, dest netip.Addr) (to MAC, via netip.Addr, ok bool) {
	for _, s := range n.Subnets {
		if !s.CIDR.Contains(source) {
			continue
		}
		if !s.CIDR.Contains(dest) || dest == s.Gateway {
			return gatewayMAC(), s.Gateway, s.Gateway.IsValid()
		}
		for _, p := range n.Ports {
			if slices.Contains(p.Addresses, dest) {
				to, ok = macOf(p.MAC)
				return to, dest, ok
			}
		}
	}
	return to, dest, false
}

// headers are the fields of a packet above Ethernet.
func headers(source netip.Addr, p Packet) map[Field]string {
	f := map[Field]string{}
	if p.Dest.Is4() {
		f[EtherType], f[IPSource], f[IPDest] = "ip", source.String(), p.Dest.String()
	} else {
		f[EtherType], f[IP6Source], f[IP6Dest] = "ip6", source.String(), p.Dest.String()
		f[IP6Next] = map[Protocol]string{TCP: "6", UDP: "17", Ping: "ipv6-icmp"}[p.Protocol]
	}
	f[ConnWay] = "original"
	flow := flowOf(source, p)
	f[Protocols], f[DestPort], f[TypeCode] = strconv.Itoa(int(flow.Protocol)), flow.Details.String(), flow.Details.String()
	port := strconv.Itoa(int(p.DestPort))
	switch p.Protocol {
	case TCP:
		f[TCPDest] = port
	case UDP:
		f[UDPSource], f[UDPDest] = ephemeral, port
	case Ping:
		f[map[bool]Field{true: ICMPType, false: ICMPv6Type}[p.Dest.Is4()]] = "echo-request"
	}
	return f
}

// flowOf is the connection that a packet begins.
func flowOf(source netip.Addr, p Packet) Flow {
	f := Flow{Source: source, Dest: p.Dest, Details: Range{p.DestPort, p.DestPort}}
	switch {
	case p.Protocol == TCP:
		f.Protocol = 6
	case p.Protocol == UDP:
		f.Protocol = 17
	case p.Dest.Is4():
		f.Protocol, f.Details = 1, Range{8 << 8, 8 << 8}
	default:
		f.Protocol, f.Details = 58, Range{128 << 8, 128 << 8}
	}
	return f
}

func (w *walker) dest() netip.Addr { return w.address(IPDest, IP6Dest) }

// judge asks the rules of a namespace at a hook, and tells whether the packet goes on.
func (w *walker) judge(namespace string, f Family, hook string) bool {
	v := judge(w.tables[namespace], f, hook, &w.packet, func(j judgement) {
		if j.rule == nil && j.verdict == accept {
			return // nothing was said of it
		}
		why := "the chain's policy"
		if j.rule != nil {
			why = j.rule.String()
		}
		at := fmt.Sprintf("table %s %s, chain %s", j.table.Family, j.table.Name, j.chain)
		if namespace != "" {
			at = namespace + ", " + at
		}
		if w.note(at, "%s: %s", j.verdict, why); j.verdict == drop {
			w.way.End = fmt.Sprintf("%s: %s", at, why)
		}
	})
	return v == accept
}

// bridge follows a frame that enters a bridge of the host by one of its ports.
func (w *walker) bridge(in string) {
	if len(w.way.Hops) > mostHops {
		w.drop("link "+in, "it goes round")
		return
	}
	link := w.Host.Links[in]
	f := w.packet.fields
	f[InLink] = in
	delete(f, OutLink)
	if !w.judge("", FamilyBridge, "prerouting") {
		return
	}
	f[InLink] = link.Bridge
	if ok := w.judge("", FamilyInet, "prerouting"); !ok {
		return
	}
	mac := f[EtherDest]
	out := ""
	for k, to := range w.Host.Forwards {
		if k.Bridge == link.Bridge && k.MAC.String() == mac {
			out = to
		}
	}
	if out == "" || out == in && !link.Port.Hairpin {
		w.drop("bridge "+link.Bridge, "no other port of it has %s, and nothing is flooded", mac)
		return
	}
	w.note("bridge "+link.Bridge, "%s is at %s", mac, out)
	if !w.bridged(link.Bridge, in, out) {
		return
	}
	switch to := w.Host.Links[out]; to.Kind {
	case KindTap:
		w.tap(out)
	case KindVXLAN:
		w.tunnel(out)
	default:
		router, inside, _ := strings.Cut(to.Peer, "/")
		w.router(router, inside)
	}
}

// bridged asks the rules that a frame passes on its way through a bridge, and by
// br_netfilter those of the host, which see the bridge alone.
func (w *walker) bridged(bridge, in, out string) bool {
	f := w.packet.fields
	links := func(in, out string) { f[InLink], f[OutLink] = in, out }
	if links(in, out); !w.judge("", FamilyBridge, "forward") {
		return false
	}
	asked := w.packet.mark & bothSides
	links(bridge, bridge)
	ok := w.judge("", FamilyInet, "forward")
	w.told(bridge, asked)
	links(in, out)
	return ok && w.judge("", FamilyBridge, "postrouting")
}

// told says which rule of whose group has agreed, or that none has.
func (w *walker) told(bridge string, asked uint32) {
	f := w.packet.fields
	for _, n := range w.want.Networks {
		if Bridge(n.VNI) != bridge {
			continue
		}
		for _, s := range sides {
			if asked&s.bit == 0 {
				continue
			}
			p, other := w.party(n, f[s.local]), w.address(s.other4, s.other6)
			g, rule, ok := allows(w.want.Groups, p, s.egress, other, portsOf(n)[other].Groups, w.flow)
			where, what := "port "+p.ID, map[bool]string{true: "send to", false: "be sent this by"}[s.egress]
			if ok {
				w.note(where, "it may %s %s, by %s rule %d of %s", what, other, s.name, rule, g)
			} else {
				why := fmt.Sprintf("it may not %s %s: no %s rule of its security groups %v allows it", what, other, s.name, p.Groups)
				if w.note(where, "%s", why); w.way.End != "" {
					w.way.End = where + ": " + why
				}
			}
		}
	}
}

// party is the port that has a MAC.
func (w *walker) party(n Network, mac string) Port {
	for _, p := range n.Ports {
		if p.MAC.String() == mac {
			return p
		}
	}
	return Port{}
}

func (w *walker) address(four, six Field) netip.Addr {
	a, _ := netip.ParseAddr(cmp.Or(w.packet.fields[four], w.packet.fields[six]))
	return a
}

// tap ends a packet at a guest, which takes what is for its MAC and address.
func (w *walker) tap(tap string) {
	for _, n := range w.want.Networks {
		for _, p := range n.Ports {
			if Tap(p.ID) != tap {
				continue
			}
			beyond := slices.ContainsFunc(n.beyond(p), func(r netip.Prefix) bool { return r.Contains(w.dest()) })
			if !slices.Contains(p.Addresses, w.dest()) && !beyond {
				w.drop("link "+tap, "the guest of port %s is not %s", p.ID, w.dest())
				return
			}
			if w.way.Port = p.ID; beyond {
				w.arrive("link "+tap, "it arrives at port %s, by which %s is reached", p.ID, w.dest())
				return
			}
			w.arrive("link "+tap, "it arrives at port %s", p.ID)
			return
		}
	}
	w.drop("link "+tap, "no port has it")
}

// tunnel follows a frame to the host at the other end.
func (w *walker) tunnel(device string) {
	var to netip.Addr
	for k, host := range w.Host.Tunnels {
		if k.Link == device && k.MAC.String() == w.packet.fields[EtherDest] {
			to = host
		}
	}
	from := w.want.Underlay
	here := w.at
	if !w.enter(to) {
		w.drop("link "+device, "%s is at no host that is known", w.packet.fields[EtherDest])
		return
	}
	w.way.Hops = append(w.way.Hops, Hop{here, "link " + device, "it goes through the tunnel to " + w.at})
	inner := w.packet
	w.packet = seen{state: untracked, fields: headers(from, Packet{Dest: to, Protocol: UDP, DestPort: VXLANPort})}
	w.packet.fields[InLink] = uplinkName
	ok := w.judge("", FamilyInet, "input")
	w.packet = inner
	if !ok {
		return
	}
	if _, ok := w.Host.Links[device]; !ok {
		w.drop("link "+device, "the network is not on this host")
		return
	}
	w.bridge(device)
}

// uplinkName stands for the links of the host that are not ours.
const uplinkName = "uplink"

// router follows a packet that enters a router.
func (w *walker) router(namespace, in string) {
	x := w.Routers[namespace]
	out, next, ok := w.route(namespace, x, in)
	if !ok {
		return
	}
	if out == "" {
		w.drop(namespace, "it has no route to %s", w.dest())
		return
	}
	w.leave(namespace, x, out)
	if w.way.End != "" {
		return
	}
	link := x.Links[out]
	f := w.packet.fields
	f[EtherSource] = link.MAC.String()
	_, outside, _ := strings.Cut(link.Peer, "/")
	if out == UplinkLink {
		w.host(outside)
		return
	}
	mac, there := x.Neighbours[NeighbourKey{out, next}]
	if !there {
		w.drop(namespace, "nobody has the address %s", next)
		return
	}
	f[EtherDest] = mac.String()
	w.bridge(outside)
}

// route asks where a packet goes that enters a namespace; false when it ends there.
func (w *walker) route(namespace string, x Space, in string) (out string, next netip.Addr, ok bool) {
	f := w.packet.fields
	f[InLink] = in
	delete(f, OutLink)
	if !w.judge(namespace, FamilyInet, "prerouting") {
		return "", next, false
	}
	dest := w.dest()
	out, next, own := x.way(dest)
	if namespace == "" && dest == w.want.Underlay {
		own = true
	}
	if own {
		if w.judge(namespace, FamilyInet, "input") {
			w.arrive(cmp.Or(namespace, "host"), "it is for %s itself", dest)
		}
		return "", next, false
	}
	if namespace == "" && out == "" {
		out = uplinkName
	}
	if out != "" {
		f[OutLink] = out
		w.note(cmp.Or(namespace, "host"), "%s is routed to %s", dest, out)
		if !w.judge(namespace, FamilyInet, "forward") {
			return "", next, false
		}
	}
	return out, next, true
}

// leave asks the rules behind routing, and translates.
func (w *walker) leave(namespace string, x Space, out string) {
	w.packet.source = ""
	if !w.judge(namespace, FamilyInet, "postrouting") || w.packet.source == "" {
		return
	}
	as := w.packet.source
	switch {
	case as != masqueraded:
	case out == uplinkName:
		as = w.want.Underlay.String()
	default: // which the host gives by itself
		w.note(namespace, "its source becomes the address of %s", out)
		for k := range x.Addresses {
			if k.Link == out {
				w.packet.fields[IPSource] = k.Address.Addr().String()
			}
		}
		return
	}
	w.note(cmp.Or(namespace, "host"), "its source %s becomes %s", w.packet.fields[IPSource], as)
	w.packet.fields[IPSource] = as
}

// way looks an address up among what a namespace has and knows: the longest
// prefix decides. own: it is one of its own addresses.
func (x Space) way(dest netip.Addr) (out string, next netip.Addr, own bool) {
	best := -1
	for k := range x.Addresses {
		if k.Address.Addr() == dest {
			return k.Link, dest, true
		}
		if k.Address.Masked().Contains(dest) && k.Address.Bits() > best {
			best, out, next = k.Address.Bits(), k.Link, dest
		}
	}
	for to, r := range x.Routes {
		if to.Contains(dest) && to.Bits() > best {
			best, out, next = to.Bits(), r.Link, r.Via
			if !next.IsValid() {
				next = dest
			}
		}
	}
	return out, next, false
}

// host follows a packet that comes out of a router.
func (w *walker) host(cable string) {
	x := w.Host
	out, _, ok := w.route("", x, cable)
	if !ok {
		return
	}
	w.leave("", x, out)
	switch {
	case w.way.End != "":
	case out == uplinkName:
		w.arrive("host", "it leaves the cloud as %s", w.packet.fields[IPSource])
	default:
		router, inside, _ := strings.Cut(x.Links[out].Peer, "/")
		w.router(router, inside)
	}
}
