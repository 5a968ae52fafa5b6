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
	setMACs  = "macs"  // guard: the MAC of each tap
	setPorts = "ports" // guard: the MAC and address of each tap
	setHosts = "hosts" // host: the other ends of tunnels
	setOurs  = "ours"  // host: what of the host was switched on by us
)

// elementForwarding in setOurs: the host did not forward packets before us.
const elementForwarding = `"ip_forward"`

const (
	accept = Verdict("accept")
	drop   = Verdict("drop")
)

func is(f Field, value string) Match    { return Match{Field: f, Value: value} }
func isNot(f Field, value string) Match { return Match{Field: f, Value: value, Not: true} }
func in(set string, f ...Field) InSet   { return InSet{Fields: f, Set: set} }
func notIn(set string, f ...Field) InSet {
	return InSet{Fields: f, Set: set, Not: true}
}

// guardTable is what a frame of a guest has to pass. It is closed: a tap that is
// in no set can send nothing, and neither can a kind of frame that no rule
// names: IPv6, VLAN tags, whatever comes next.
func guardTable(underlay netip.Addr, macs, ports map[string]bool) Table {
	gateway := gatewayMAC().String()
	return Table{
		TableKey: guardKey,
		Sets: []Set{
			{Name: setMACs, Types: []string{"ifname", "ether_addr"}, Elements: macs},
			{Name: setPorts, Types: []string{"ifname", "ether_addr", "ipv4_addr"}, Elements: ports},
		},
		Chains: []Chain{
			{Name: "tap_arp", Rules: []Rule{
				{isNot(ARPHLen, "6"), drop},
				{isNot(ARPPLen, "4"), drop},
				{notIn(setMACs, InLink, ARPSourceMAC), drop},
				// A probe before an address is used (RFC 5227) claims nothing.
				{is(ARPOperation, "request"), is(ARPSourceIP, "0.0.0.0"), accept},
				{in(setPorts, InLink, ARPSourceMAC, ARPSourceIP), accept},
				{drop},
			}},
			{Name: "tap", Rules: []Rule{
				{notIn(setMACs, InLink, EtherSource), drop},
				{is(EtherType, "arp"), Jump("tap_arp")},
				{isNot(EtherType, "ip"), drop},
				// Nobody but the agent answers DHCP.
				{is(UDPSource, "67"), drop},
				{is(UDPDest, "68"), drop},
				{is(IPSource, "0.0.0.0"), is(IPDest, "255.255.255.255"), is(UDPSource, "68"), is(UDPDest, "67"), accept},
				{in(setPorts, InLink, EtherSource, IPSource), accept},
				{drop},
			}},
			// What comes from another host was checked there. ARP comes from the
			// VXLAN device itself, which answers for the ports behind it.
			{Name: "tunnel", Rules: []Rule{
				{is(EtherSource, gateway), drop},
				{is(EtherDest, gateway), drop},
				{is(EtherType, "ip"), accept},
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
			// What a router sends to another host leaves under the host's MAC: the
			// gateway's is the same everywhere and must mean the local one only.
			{Name: "postrouting", Type: "filter", Hook: "postrouting", Priority: 300, Policy: "accept", Rules: []Rule{
				{is(OutLink, "cx*"), is(EtherSource, gateway), SetEtherSource(hostMAC(underlay))},
			}},
		},
	}
}

// hostTable is the way between routers, the host and the world.
func hostTable(hosts, ours map[string]bool) Table {
	vxlan := fmt.Sprint(VXLANPort)
	transit := TransitRange().String()
	return Table{
		TableKey: hostKey,
		Sets: []Set{
			{Name: setHosts, Types: []string{"ipv4_addr"}, Elements: hosts},
			{Name: setOurs, Types: []string{"ifname"}, Elements: ours},
		},
		Chains: []Chain{
			// Where br_netfilter is on, frames on our bridges come by here too.
			// Different networks use the same addresses, so they must meet neither
			// in connection tracking nor in the reassembly that comes before it.
			{Name: "bridged", Type: "filter", Hook: "prerouting", Priority: -450, Policy: "accept", Rules: []Rule{
				{is(InLink, "cb*"), NoTrack{}},
			}},
			// A tunnel is no connection; tracking it would fill the host's table.
			{Name: "tunnels_in", Type: "filter", Hook: "prerouting", Priority: -300, Policy: "accept", Rules: []Rule{
				{is(UDPDest, vxlan), NoTrack{}},
			}},
			{Name: "tunnels_out", Type: "filter", Hook: "output", Priority: -300, Policy: "accept", Rules: []Rule{
				{is(UDPDest, vxlan), NoTrack{}},
			}},
			{Name: "input", Type: "filter", Hook: "input", Priority: 0, Policy: "accept", Rules: []Rule{
				{is(InLink, "cu*"), CTState("established,related"), accept},
				{is(InLink, "cu*"), drop},
				{is(InLink, "cb*"), drop},
				{is(InLink, "ct*"), drop},
				{is(InLink, "cx*"), drop},
				{is(InLink, "cg*"), drop},
				{in(setHosts, IPSource), is(UDPDest, vxlan), accept},
				{is(UDPDest, vxlan), drop},
			}},
			{Name: "forward", Type: "filter", Hook: "forward", Priority: 0, Policy: "accept", Rules: []Rule{
				{is(InLink, "cu*"), is(OutLink, "cu*"), drop},
				// A guest's packet leaves with this host's address, and other hosts
				// take tunnels from that: what could be one never leaves.
				{is(InLink, "cu*"), is(UDPDest, vxlan), drop},
				{is(InLink, "cu*"), in(setHosts, IPDest), drop},
				{is(InLink, "cu*"), isNot(IPSource, transit), drop},
				{is(OutLink, "cu*"), CTState("established,related"), accept},
				{is(OutLink, "cu*"), drop},
			}},
			{Name: "postrouting", Type: "nat", Hook: "postrouting", Priority: 100, Policy: "accept", Rules: []Rule{
				{is(IPSource, transit), isNot(OutLink, "cu*"), Masquerade{}},
			}},
		},
	}
}

// routerTable is in every router, and the same in each.
func routerTable() Table {
	gw, up, transit := is(InLink, GatewayLink), is(InLink, UplinkLink), is(IPDest, TransitRange().String())
	return Table{
		TableKey: routerKey,
		Chains: []Chain{
			{Name: "input", Type: "filter", Hook: "input", Priority: 0, Policy: "drop", Rules: []Rule{
				{is(InLink, "lo"), accept},
				{gw, transit, drop},
				{gw, is(UDPDest, "67"), accept},
				{gw, is(UDPDest, "53"), accept},
				{gw, is(TCPDest, "53"), accept},
				{gw, is(IPDest, MetadataAddress().String()), is(TCPDest, "80"), accept},
				{gw, is(ICMPType, "echo-request"), accept},
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
			}},
			{Name: "postrouting", Type: "nat", Hook: "postrouting", Priority: 100, Policy: "accept", Rules: []Rule{
				{is(OutLink, UplinkLink), Masquerade{}},
			}},
		},
	}
}
