package network

import (
	"fmt"
	"net/netip"
)

// The tables that we make. Their name is their mark. Rules never name a port:
// they look it up in a set, so that a packet's cost and the rules are the same
// whether a host has one port or a thousand.
var (
	guardKey  = TableKey{FamilyBridge, "cairn"} // on the host: what guests may send
	hostKey   = TableKey{FamilyInet, "cairn"}   // on the host: the ways in and out
	routerKey = TableKey{FamilyInet, "cairn"}   // in each router
)

// Sets of the tables.
const (
	setMACs      = "macs"       // guard: the MAC of each tap
	setPorts     = "ports"      // guard: the MAC and address of each tap
	setPorts6    = "ports6"     // guard: the MAC and IPv6 address of each tap, with its link-local one
	setBeyond4   = "beyond4"    // guard: ranges that routes lead to a tap
	setBeyond6   = "beyond6"    // guard: the same of IPv6
	setHiding    = "hiding"     // guard: headers that something could hide behind
	setWhole     = "whole"      // guard: what must not come in fragments
	setSaid      = "said"       // guard: the ICMPv6 that guests may send as they like
	setDiscovery = "discovery"  // guard: the ICMPv6 that no group is asked about
	setRouters4  = "routers4"   // guard: the addresses of each router, by its cable
	setRouters6  = "routers6"   // guard: the same of IPv6
	setHosts     = "hosts"      // host: the other ends of tunnels
	setOurs      = "ours"       // host: what of the host was switched on by us
	setWere      = "were"       // host: settings of the uplink before us
	setPublic    = "public"     // host: the cable of each public address
	mapPublicIn  = "public_in"  // router: the port's address of a public one
	mapPublicOut = "public_out" // router: the reverse
)

// elementForwarding in setOurs: the host did not forward packets before us.
const elementForwarding = `"ip_forward"`

const (
	accept   = Verdict("accept")
	drop     = Verdict("drop")
	returned = Verdict("return")
)

func is(f Field, value string) Match    { return Match{Field: f, Value: value} }
func isNot(f Field, value string) Match { return Match{Field: f, Value: value, Not: true} }
func in(set string, f ...Field) InSet   { return InSet{Fields: f, Set: set} }
func notIn(set string, f ...Field) InSet {
	return InSet{Fields: f, Set: set, Not: true}
}

func setOf(elements ...string) map[string]bool {
	out := map[string]bool{}
	for _, e := range elements {
		out[e] = true
	}
	return out
}

// undecided holds while somebody's groups are still to be asked.
var undecided = Bits{Field: PacketMark, Mask: bothSides, Not: true}

// mark gives the packet a mark.
func mark(value uint32) SetBits { return SetBits{PacketMark, allBits, value} }

// asks holds when it is the groups of these sides that are to be asked.
func asks(sides uint32) Bits { return Bits{PacketMark, allBits, false, consentMark | sides} }

// agreed holds when these sides of the connection have.
func agreed(sides uint32) Bits {
	return Bits{ConnMark, markOwner | sides, false, consentMark | sides}
}

// guardElements are what the sets of the guard's table hold.
type guardElements struct{ macs, ports, ports6, beyond4, beyond6, routers4, routers6 map[string]bool }

func newGuardElements() guardElements {
	return guardElements{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}}
}

// guardTable is what a frame of a guest has to pass. It is closed: a tap that is
// in no set can send nothing, and neither can a kind of frame that no rule
// names: VLAN tags, whatever comes next.
func guardTable(underlay netip.Addr, e guardElements) Table {
	gateway := gatewayMAC().String()
	return Table{
		TableKey: guardKey,
		Sets: []Set{
			{SetType{Name: setMACs, Types: []string{"ifname", "ether_addr"}}, e.macs},
			{SetType{Name: setPorts, Types: []string{"ifname", "ether_addr", "ipv4_addr"}}, e.ports},
			{SetType{Name: setPorts6, Types: []string{"ifname", "ether_addr", "ipv6_addr"}}, e.ports6},
			{SetType{Name: setBeyond4, Types: []string{"ifname", "ether_addr", "ipv4_addr"}, Interval: true}, e.beyond4},
			{SetType{Name: setBeyond6, Types: []string{"ifname", "ether_addr", "ipv6_addr"}, Interval: true}, e.beyond6},
			// Hop-by-hop and destination options, routing, authentication, mobility, HIP, shim.
			{SetType{Name: setHiding, Types: []string{"inet_proto"}}, setOf("0", "43", "51", "60", "135", "139", "140")},
			{SetType{Name: setWhole, Types: []string{"inet_proto"}}, setOf("0", "43", "44", "51", "58", "60", "135", "139", "140")},
			{SetType{Name: setSaid, Types: []string{"icmpv6_type"}}, setOf("destination-unreachable", "packet-too-big", "time-exceeded", "parameter-problem", "echo-request", "echo-reply")},
			{SetType{Name: setDiscovery, Types: []string{"icmpv6_type"}}, setOf("nd-neighbor-solicit", "nd-neighbor-advert")},
			{SetType{Name: setRouters4, Types: []string{"ifname", "ipv4_addr"}}, e.routers4},
			{SetType{Name: setRouters6, Types: []string{"ifname", "ipv6_addr"}}, e.routers6},
		},
		Chains: []Chain{
			{Name: "tap_arp", Rules: []Rule{
				{isNot(ARPHLen, "6"), drop},
				{isNot(ARPPLen, "4"), drop},
				{notIn(setMACs, InLink, ARPSourceMAC), drop},
				// A probe before an address is used (RFC 5227) claims nothing.
				{is(ARPOperation, "request"), is(ARPSourceIP, "0.0.0.0"), accept},
				{in(setPorts, InLink, ARPSourceMAC, ARPSourceIP), accept},
				{in(setBeyond4, InLink, ARPSourceMAC, ARPSourceIP), accept}, // asks by what it is about to send
				{drop},
			}},
			{Name: "tap", Rules: []Rule{
				{is(EtherType, "ip"), Jump("tap_ip")},
				{notIn(setMACs, InLink, EtherSource), drop},
				{is(EtherType, "arp"), Jump("tap_arp")},
				{is(EtherType, "ip6"), Jump("tap_ip6")},
				{drop},
			}},
			{Name: "tap_ip", Rules: []Rule{
				// Nobody but the agent answers DHCP.
				{is(UDPSource, "67"), drop},
				{is(UDPDest, "68"), drop},
				{in(setPorts, InLink, EtherSource, IPSource), accept},
				{in(setBeyond4, InLink, EtherSource, IPSource), accept},
				{is(IPSource, "0.0.0.0"), is(IPDest, "255.255.255.255"), is(UDPSource, "68"), is(UDPDest, "67"), in(setMACs, InLink, EtherSource), accept},
				{drop},
			}},
			// Every packet is judged by what follows its first header, so nothing may
			// be in between but a fragment's, of what can be judged by its first part.
			// What MLD says goes with that: our bridges do not listen to it.
			{Name: "tap_ip6", Rules: []Rule{
				{in(setHiding, IP6Next), drop},
				{is(IP6Next, "ipv6-frag"), in(setWhole, FragmentNext), drop},
				{is(IP6Next, "ipv6-icmp"), Jump("tap_icmp6")},
				// Nobody but the agent answers DHCPv6.
				{is(UDPSource, "547"), drop},
				{is(UDPDest, "546"), drop},
				{in(setPorts6, InLink, EtherSource, IP6Source), accept},
				{in(setBeyond6, InLink, EtherSource, IP6Source), accept},
				{drop},
			}},
			// Of neighbour discovery, what is the port's own. Router advertisements
			// and redirects are nobody's.
			{Name: "tap_icmp6", Rules: []Rule{
				{is(ICMPv6Type, "nd-router-solicit"), is(IP6Source, "::"), accept},
				{is(ICMPv6Type, "nd-neighbor-solicit"), is(IP6Source, "::"), Jump("tap_probe")},
				{in(setSaid, ICMPv6Type), in(setBeyond6, InLink, EtherSource, IP6Source), accept},
				{notIn(setPorts6, InLink, EtherSource, IP6Source), drop},
				{in(setSaid, ICMPv6Type), accept},
				{is(ICMPv6Type, "nd-router-solicit"), accept},
				{is(ICMPv6Type, "nd-neighbor-solicit"), is(IP6Length, "24"), accept},
				{is(ICMPv6Type, "nd-neighbor-solicit"), is(IP6Length, "32"), is(NDOption, "0x101"), in(setMACs, InLink, NDOptionMAC), accept},
				{is(ICMPv6Type, "nd-neighbor-advert"), notIn(setPorts6, InLink, EtherSource, NDTarget), drop},
				{is(ICMPv6Type, "nd-neighbor-advert"), is(IP6Length, "24"), accept},
				{is(ICMPv6Type, "nd-neighbor-advert"), is(IP6Length, "32"), is(NDOption, "0x201"), in(setMACs, InLink, NDOptionMAC), accept},
				{drop},
			}},
			// Before it uses an address, a guest asks whether anybody has it; it may
			// put a nonce in (RFC 7527).
			{Name: "tap_probe", Rules: []Rule{
				{is(ICMPv6Type, "nd-neighbor-solicit"), notIn(setPorts6, InLink, EtherSource, NDTarget), drop},
				{is(ICMPv6Type, "nd-neighbor-solicit"), is(IP6Length, "24"), accept},
				{is(ICMPv6Type, "nd-neighbor-solicit"), is(IP6Length, "32"), is(NDOption, "0xe01"), accept},
				{drop},
			}},
			// What comes from another host was checked there. ARP comes from the
			// VXLAN device itself, which answers for the ports behind it.
			{Name: "tunnel", Rules: []Rule{
				{is(EtherSource, gateway), drop},
				{is(EtherDest, gateway), drop},
				{is(EtherType, "ip"), accept},
				{is(EtherType, "ip6"), accept},
				{is(EtherType, "arp"), is(ARPOperation, "reply"), accept},
				{drop},
			}},
			{Name: "prerouting", Type: "filter", Hook: "prerouting", Priority: -300, Policy: "accept", Rules: []Rule{
				{is(InLink, "ct*"), Jump("tap")},
				{is(InLink, "cx*"), Jump("tunnel")},
			}},
			// The host itself is on none of our bridges.
			{Name: "input", Type: "filter", Hook: "input", Priority: -300, Policy: "accept", Rules: []Rule{
				{is(InLink, "ct*"), drop},
				{is(InLink, "cx*"), drop},
				{is(InLink, "cg*"), drop},
			}},
			{Name: "output", Type: "filter", Hook: "output", Priority: -300, Policy: "accept", Rules: []Rule{
				{is(OutLink, "ct*"), drop},
				{is(OutLink, "cx*"), drop},
				{is(OutLink, "cg*"), drop},
			}},
			// Before br_netfilter brings the packet to the host's table: whose groups are
			// to be asked there, where taps are not seen.
			{Name: "forward", Type: "filter", Hook: "forward", Priority: -10, Policy: "accept", Rules: []Rule{
				{is(InLink, "ct*"), Jump("from_tap")},
				{is(InLink, "cx*"), Jump("from_tunnel")},
				{is(InLink, "cg*"), Jump("from_router")},
			}},
			{Name: "from_tap", Rules: []Rule{
				{mark(consentMark | bySender)},
				{is(OutLink, "cx*"), is(EtherType, "ip"), returned},
				{is(EtherType, "arp"), mark(consentMark), returned},
				// What is said to find neighbours was judged when it came in.
				{in(setDiscovery, ICMPv6Type), mark(consentMark), returned},
				{is(OutLink, "ct*"), Jump("to_tap")},
				{is(OutLink, "cg*"), Jump("to_router")},
			}},
			{Name: "from_tunnel", Rules: []Rule{
				{mark(consentMark)},
				{is(OutLink, "ct*"), Jump("to_tap")},
			}},
			{Name: "from_router", Rules: []Rule{
				{mark(consentMark)},
				{is(EtherType, "arp"), returned},
				{in(setDiscovery, ICMPv6Type), returned},
				{in(setRouters4, InLink, IPSource), returned},
				{in(setRouters6, InLink, IP6Source), returned},
				{is(OutLink, "ct*"), mark(consentMark | byReceiver)},
			}},
			// A guest's groups are asked by its MAC: nothing may come to it under
			// another's address, to which others agree.
			{Name: "to_tap", Rules: []Rule{
				{in(setPorts, OutLink, EtherDest, IPDest), SetBits{PacketMark, byReceiver, byReceiver}, returned},
				{is(EtherType, "arp"), returned},
				{in(setDiscovery, ICMPv6Type), returned},
				{in(setPorts6, OutLink, EtherDest, IP6Dest), SetBits{PacketMark, byReceiver, byReceiver}, returned},
				{in(setBeyond4, OutLink, EtherDest, IPDest), SetBits{PacketMark, byReceiver, byReceiver}, returned},
				{in(setBeyond6, OutLink, EtherDest, IP6Dest), SetBits{PacketMark, byReceiver, byReceiver}, returned},
				{drop},
			}},
			// Nothing is asked of what is for the router itself.
			{Name: "to_router", Rules: []Rule{
				{in(setRouters4, OutLink, IPDest), mark(consentMark)},
				{in(setRouters6, OutLink, IP6Dest), mark(consentMark)},
				{is(IPDest, "224.0.0.0/3"), mark(consentMark)},
				{is(IP6Dest, "ff00::/8"), mark(consentMark)},
			}},
			{Name: "postrouting", Type: "filter", Hook: "postrouting", Priority: 300, Policy: "accept", Rules: []Rule{
				{undecided, Jump("undecided")},
				{is(OutLink, "cx*"), Jump("to_tunnel")},
			}},
			// It is closed here too: what did not come by the host's table was not judged.
			{Name: "undecided", Rules: []Rule{
				{is(OutLink, "ct*"), drop},
				{is(OutLink, "cx*"), drop},
				{is(OutLink, "cg*"), drop},
			}},
			// What a router sends to another host leaves under the host's MAC: the
			// gateway's is the same everywhere and must mean the local one only.
			{Name: "to_tunnel", Rules: []Rule{
				{mark(0)},
				{is(EtherSource, gateway), SetEtherSource(hostMAC(underlay))},
			}},
		},
	}
}

// hostElements are what the sets of the host's table hold.
type hostElements struct {
	hosts, ours, were, public map[string]bool
	consents
}

// hostTable is the way between routers, the host and the world.
func hostTable(underlay netip.Addr, e hostElements) Table {
	vxlan := fmt.Sprint(VXLANPort)
	transit := TransitRange().String()
	t := Table{
		TableKey: hostKey,
		Sets: []Set{
			{SetType{Name: setHosts, Types: []string{"ipv4_addr"}}, e.hosts},
			{SetType{Name: setOurs, Types: []string{"ifname"}}, e.ours},
			{SetType{Name: setWere, Types: []string{"ifname", "ifname", "ifname"}}, e.were},
			{SetType{Name: setPublic, Types: []string{"ifname", "ipv4_addr"}}, e.public},
		},
		Chains: []Chain{
			// By br_netfilter, what is on our bridges comes by here too. Different
			// networks use the same addresses, so they must meet neither in connection
			// tracking nor in the reassembly that comes before it.
			{Name: "bridged", Type: "filter", Hook: "prerouting", Priority: -450, Policy: "accept", Rules: []Rule{
				{is(InLink, "cb*"), SetFrom{ConnZone, []Field{InLink}, mapZones}, accept},
				{is(InLink, "cb*"), NoTrack{}},
			}},
			// A tunnel is no connection; tracking it would fill the host's table.
			{Name: "tunnels_in", Type: "filter", Hook: "prerouting", Priority: -300, Policy: "accept", Rules: []Rule{
				{isNot(InLink, "cb*"), is(UDPDest, vxlan), NoTrack{}},
			}},
			{Name: "tunnels_out", Type: "filter", Hook: "output", Priority: -300, Policy: "accept", Rules: []Rule{
				{is(UDPDest, vxlan), NoTrack{}},
			}},
			{Name: "input", Type: "filter", Hook: "input", Priority: 0, Policy: "accept", Rules: []Rule{
				// From a router there may come what claims to be a host.
				{is(UDPDest, vxlan), isNot(InLink, "cu*"), in(setHosts, IPSource), accept},
				{is(UDPDest, vxlan), drop},
				{is(InLink, "cu*"), CTState("established,related"), accept},
				{is(InLink, "cu*"), drop},
				{is(InLink, "cb*"), drop},
				{is(InLink, "ct*"), drop},
				{is(InLink, "cx*"), drop},
				{is(InLink, "cg*"), drop},
			}},
			{Name: "forward", Type: "filter", Hook: "forward", Priority: 0, Policy: "accept", Rules: []Rule{
				{is(InLink, "cb*"), Jump("groups")},
				// A guest's packet leaves with this host's address, and other hosts
				// take tunnels from that: what could be one never leaves.
				{is(InLink, "cu*"), is(UDPDest, vxlan), drop},
				// What leaves a router has its end of the cable, or a public address that is there.
				{is(InLink, "cu*"), isNot(IPSource, transit), notIn(setPublic, InLink, IPSource), drop},
				{is(InLink, "cu*"), CTState("established,related"), accept},
				{is(InLink, "cu*"), in(setHosts, IPDest), drop},
				{is(OutLink, "cu*"), CTState("established,related"), accept},
				{is(OutLink, "cu*"), in(setPublic, OutLink, IPDest), accept},
				{is(OutLink, "cu*"), drop},
			}},
			{Name: "postrouting", Type: "nat", Hook: "postrouting", Priority: 100, Policy: "accept", Rules: []Rule{
				{is(OutLink, "cb*"), accept},
				// To a public address on this host: as it would look on another.
				{is(IPSource, transit), is(OutLink, "cu*"), SourceNAT(underlay)},
				{is(IPSource, transit), Masquerade{}},
			}},
		},
	}
	sets, chains := groupRules(e.consents)
	t.Sets, t.Chains = append(t.Sets, sets...), append(t.Chains, chains...)
	return t
}

// groupRules ask the security groups of a packet's sender and receiver, where
// they are here and have not agreed to its connection before. They are the same
// whatever the groups are.
func groupRules(c consents) (sets []Set, chains []Chain) {
	sets = []Set{
		{SetType{Name: mapZones, Types: []string{"ifname"}, Data: "mark"}, c.elements[mapZones]},
		{SetType{Name: mapIdentities, Types: []string{"ipv6_addr"}, Data: "mark"}, c.elements[mapIdentities]},
		{SetType{Name: mapLocal, Types: []string{"ifname", "ether_addr"}, Data: "mark"}, c.elements[mapLocal]},
		{SetType{Name: mapOthers4, Types: []string{"ifname", "ipv4_addr"}, Data: "classid"}, c.elements[mapOthers4]},
		{SetType{Name: mapOthers6, Types: []string{"ifname", "ipv6_addr"}, Data: "classid"}, c.elements[mapOthers6]},
		{SetType{Name: setPorted, Types: []string{"inet_proto"}}, setOf("6", "17")},
	}
	original, reply := is(ConnWay, "original"), is(ConnWay, "reply")
	chains = []Chain{
		{Name: "groups", Rules: []Rule{
			// Who has agreed to a connection has agreed to its answers.
			{asks(bySender), original, agreed(bySender), mark(consentMark), accept},
			{asks(byReceiver), reply, agreed(bySender), mark(consentMark), accept},
			{asks(byReceiver), original, agreed(byReceiver), mark(consentMark), accept},
			{asks(bySender), reply, agreed(byReceiver), mark(consentMark), accept},
			{asks(bothSides), agreed(bothSides), mark(consentMark), accept},
			{asks(0), accept},
			{Bits{ConnMark, markOwner, true, consentMark}, SetBits{ConnMark, allBits, consentMark}},
			{asks(bySender), Jump("egress")},
			{asks(byReceiver), Jump("ingress")},
			{asks(bothSides), Jump("both")},
			{asks(0), accept},
			{drop},
		}},
		{Name: "both", Rules: []Rule{{Jump("egress")}, {Jump("ingress")}}},
	}
	for _, s := range sides {
		sets = append(sets,
			Set{SetType{Name: s.members(), Types: []string{"mark", "classid", "inet_proto", "inet_service"}, Interval: true}, c.elements[s.members()]},
			Set{SetType{Name: s.ranges4(), Types: []string{"mark", "ipv4_addr", "inet_proto", "inet_service"}, Interval: true}, c.elements[s.ranges4()]},
			Set{SetType{Name: s.ranges6(), Types: []string{"mark", "ipv6_addr", "inet_proto", "inet_service"}, Interval: true}, c.elements[s.ranges6()]},
		)
		ports, types := s.name+"_ports", s.name+"_types"
		chains = append(chains, Chain{Name: s.name, Rules: []Rule{
			// The mark and the priority hold who they are, while they are asked.
			{mark(0), SetBits{Priority, allBits, 0}},
			{SetFrom{PacketMark, []Field{InLink, s.local}, mapLocal}},
			{SetFrom{Priority, []Field{InLink, s.other4}, mapOthers4}},
			{SetFrom{Priority, []Field{InLink, s.other6}, mapOthers6}},
			{in(setPorted, Protocols), Jump(ports)},
			{notIn(setPorted, Protocols), Jump(types)},
			// An error about a connection may be agreed to where the connection is not.
			{asks(0), original, CTState("established,new"), SetBits{ConnMark, s.bit, s.bit}},
			{asks(0), SetBits{Priority, allBits, 0}, returned},
			{drop},
		}})
		lookups := func(detail Field) []Rule {
			ask := func(set string, other Field) Rule {
				return Rule{in(set, PacketMark, other, Protocols, detail), mark(consentMark), returned}
			}
			return []Rule{ask(s.members(), Priority), ask(s.ranges4(), s.other4), ask(s.ranges6(), s.other6)}
		}
		chains = append(chains, Chain{Name: ports, Rules: lookups(DestPort)}, Chain{Name: types, Rules: lookups(TypeCode)})
	}
	return sets, chains
}

// routerTable is in every router, and the same in each but for the elements.
func routerTable(publicIn, publicOut map[string]bool) Table {
	gw, up, transit := is(InLink, GatewayLink), is(InLink, UplinkLink), is(IPDest, TransitRange().String())
	return Table{
		TableKey: routerKey,
		Sets: []Set{
			{SetType{Name: mapPublicIn, Types: []string{"ipv4_addr"}, Data: "ipv4_addr"}, publicIn},
			{SetType{Name: mapPublicOut, Types: []string{"ipv4_addr"}, Data: "ipv4_addr"}, publicOut},
		},
		Chains: []Chain{
			{Name: "prerouting", Type: "nat", Hook: "prerouting", Priority: -100, Policy: "accept", Rules: []Rule{
				{up, NAT{"dnat", IPDest, mapPublicIn}},
			}},
			{Name: "input", Type: "filter", Hook: "input", Priority: 0, Policy: "drop", Rules: []Rule{
				{is(InLink, "lo"), accept},
				{gw, transit, drop},
				{gw, is(UDPDest, "67"), accept},
				{gw, is(UDPDest, "53"), accept},
				{gw, is(TCPDest, "53"), accept},
				{gw, is(IPDest, MetadataAddress().String()), is(TCPDest, "80"), accept},
				{gw, is(ICMPType, "echo-request"), accept},
				{gw, is(IP6Dest, MetadataAddress6().String()), is(TCPDest, "80"), accept},
				{gw, is(ICMPv6Type, "nd-neighbor-solicit"), accept},
				{gw, is(ICMPv6Type, "echo-request"), accept},
				{CTState("established,related"), accept},
			}},
			{Name: "forward", Type: "filter", Hook: "forward", Priority: 0, Policy: "drop", Rules: []Rule{
				// Between subnets each direction has its own router, on the
				// sender's host, so that neither sees a whole connection.
				{gw, is(OutLink, GatewayLink), accept},
				{gw, transit, drop},
				{gw, is(IPDest, "169.254.0.0/16"), drop},
				{gw, is(OutLink, UplinkLink), accept},
				{up, is(OutLink, GatewayLink), CTState("established,related"), accept},
				{up, is(OutLink, GatewayLink), CTStatus("dnat"), accept},
			}},
			// Subnets share a link, but guests are not to talk past the router.
			{Name: "output", Type: "filter", Hook: "output", Priority: 0, Policy: "accept", Rules: []Rule{
				{is(ICMPv6Type, "nd-redirect"), drop},
			}},
			{Name: "postrouting", Type: "nat", Hook: "postrouting", Priority: 100, Policy: "accept", Rules: []Rule{
				{is(OutLink, UplinkLink), NAT{"snat", IPSource, mapPublicOut}},
				{is(OutLink, UplinkLink), Masquerade{}},
			}},
		},
	}
}
