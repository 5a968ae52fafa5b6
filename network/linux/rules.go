package linux

import (
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// A ruleset is what a table is made of. Each rule has a comment that says what
// it does; by the comments a table is known to be whole.
type ruleset struct {
	family nftables.TableFamily
	chains []chain
}

type chain struct {
	name  string
	hook  *nftables.ChainHook // nil: it is jumped to
	kind  nftables.ChainType
	prio  *nftables.ChainPriority
	rules []rule
}

type rule struct {
	comment string
	exprs   []expr.Any
}

// tableName is that of all our tables.
const tableName = "cairn"

// The sets that rules look into. Keys of more than one field are concatenations,
// in which each begins at a register of 4 bytes.
const (
	setPorts = "ports" // tap, MAC and address that go together
	setMACs  = "macs"  // tap and MAC that go together
)

// Registers of 4 bytes, where a key is put together: the tap's name takes four,
// a MAC two.
const (
	regName    = unix.NFT_REG32_00
	regMAC     = regName + 4
	regAddress = regMAC + 2
)

// Ethernet types and offsets in the headers of frames and packets, in bytes.
const (
	typeIPv4, typeARP            = 0x0800, 0x0806
	etherSource, etherType       = 6, 12
	arpSenderMAC, arpSenderIP    = 8, 14
	ipSource, ipDestination      = 12, 16
	sourcePort, destinationPort  = 0, 2
	icmpType, icmpEchoRequest    = 0, 8
	portDHCPServer, portMetadata = 67, 80
)

var (
	accept = &expr.Verdict{Kind: expr.VerdictAccept}
	drop   = &expr.Verdict{Kind: expr.VerdictDrop}
)

func all(parts ...[]expr.Any) (out []expr.Any) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func one(e ...expr.Any) []expr.Any { return e }

func jump(to string) []expr.Any {
	return one(&expr.Verdict{Kind: expr.VerdictJump, Chain: to})
}

// nameBegins compares the beginning of a link's name.
func nameBegins(key expr.MetaKey, op expr.CmpOp, prefix string) []expr.Any {
	return one(&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: []byte(prefix)})
}

func nameIs(key expr.MetaKey, name string) []expr.Any {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return one(&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: b})
}

func payload(base expr.PayloadBase, offset uint32, data ...byte) []expr.Any {
	return one(&expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: uint32(len(data))}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data})
}

// frameType compares the type as it is in the frame: of one with a VLAN's tag
// it is the tag's.
func frameType(t uint16) []expr.Any {
	return payload(expr.PayloadBaseLLHeader, etherType, binaryutil.BigEndian.PutUint16(t)...)
}

func protocol(p byte) []expr.Any {
	return one(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{p}})
}

func ipv4() []expr.Any {
	return one(&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.NFPROTO_IPV4}})
}

func port(p byte, offset uint32, number uint16) []expr.Any {
	return all(protocol(p), payload(expr.PayloadBaseTransportHeader, offset, binaryutil.BigEndian.PutUint16(number)...))
}

func established() []expr.Any {
	return one(
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	)
}

// toTransit and fromTransit compare with the range of the transit links.
func transit(offset uint32) []expr.Any {
	p := network.Transit()
	n := p.Bits() / 8 // it ends at a byte
	a := p.Addr().As4()
	return all(ipv4(), payload(expr.PayloadBaseNetworkHeader, offset, a[:n]...))
}

// key puts a key together and looks it up: the tap, a MAC, and an address
// unless the set has none.
func key(set string, mac, address *expr.Payload) []expr.Any {
	out := one(&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: regName})
	m := *mac
	m.DestRegister, m.Len = regMAC, 6
	out = append(out, &m)
	if address != nil {
		a := *address
		a.DestRegister, a.Len = regAddress, 4
		out = append(out, &a)
	}
	return append(out, &expr.Lookup{SourceRegister: regName, SetName: set})
}

func at(base expr.PayloadBase, offset uint32) *expr.Payload {
	return &expr.Payload{Base: base, Offset: offset}
}

// bridgeRules let a guest send only as itself. What is not said to be allowed is
// dropped, also while the sets are empty.
func bridgeRules() ruleset {
	frameMAC := at(expr.PayloadBaseLLHeader, etherSource)
	arpMAC, arpIP := at(expr.PayloadBaseNetworkHeader, arpSenderMAC), at(expr.PayloadBaseNetworkHeader, arpSenderIP)
	source := at(expr.PayloadBaseNetworkHeader, ipSource)
	anyAddress := make([]byte, 4)
	return ruleset{family: nftables.TableFamilyBridge, chains: []chain{
		{name: "arp", rules: []rule{
			{"an ARP packet of a port's MAC and address", all(key(setPorts, frameMAC, arpIP), key(setPorts, arpMAC, arpIP), one(accept))},
			{"a probe whether an address is free", all(key(setMACs, frameMAC, nil), key(setMACs, arpMAC, nil), payload(expr.PayloadBaseNetworkHeader, arpSenderIP, anyAddress...), one(accept))},
			{"no other ARP", one(drop)},
		}},
		{name: "ip", rules: []rule{
			{"guests are no DHCP servers", all(port(unix.IPPROTO_UDP, sourcePort, portDHCPServer), one(drop))},
			{"a packet of a port's MAC and address", all(key(setPorts, frameMAC, source), one(accept))},
			{"a DHCP client that has no address yet", all(key(setMACs, frameMAC, nil), payload(expr.PayloadBaseNetworkHeader, ipSource, anyAddress...), port(unix.IPPROTO_UDP, destinationPort, portDHCPServer), one(accept))},
			{"no other IPv4", one(drop)},
		}},
		{name: "guest", rules: []rule{
			{"ARP", all(frameType(typeARP), jump("arp"))},
			{"IPv4", all(frameType(typeIPv4), jump("ip"))},
			{"nothing else", one(drop)},
		}},
		{name: "prerouting", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookPrerouting, prio: nftables.ChainPriorityRef(-300), rules: []rule{
			{"what guests send", all(nameBegins(expr.MetaKeyIIFNAME, expr.CmpOpEq, "ct"), jump("guest"))},
		}},
		{name: "input", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookInput, prio: nftables.ChainPriorityFilter, rules: []rule{
			{"guests do not meet the host on their bridge", all(nameBegins(expr.MetaKeyIIFNAME, expr.CmpOpEq, "ct"), one(drop))},
			{"nor do other hosts", all(nameBegins(expr.MetaKeyIIFNAME, expr.CmpOpEq, "cx"), one(drop))},
			{"nor routers", all(nameBegins(expr.MetaKeyIIFNAME, expr.CmpOpEq, "cg"), one(drop))},
		}},
	}}
}

// hostRules keep networks from the host and from one another, and let them out.
func hostRules() ruleset {
	fromRouter := nameBegins(expr.MetaKeyIIFNAME, expr.CmpOpEq, "cu")
	toRouter := nameBegins(expr.MetaKeyOIFNAME, expr.CmpOpEq, "cu")
	return ruleset{family: nftables.TableFamilyINet, chains: []chain{
		{name: "input", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookInput, prio: nftables.ChainPriorityFilter, rules: []rule{
			{"answers to the host", all(fromRouter, established(), one(accept))},
			{"no network reaches the host", all(fromRouter, one(drop))},
		}},
		{name: "forward", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookForward, prio: nftables.ChainPriorityFilter, rules: []rule{
			{"no network reaches another", all(fromRouter, toRouter, one(drop))},
			{"answers to networks", all(toRouter, established(), one(accept))},
			{"nobody reaches networks", all(toRouter, one(drop))},
		}},
		{name: "postrouting", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPostrouting, prio: nftables.ChainPriorityNATSource, rules: []rule{
			{"networks go out as the host", all(nameBegins(expr.MetaKeyOIFNAME, expr.CmpOpNeq, "cu"), transit(ipSource), one(&expr.Masq{}))},
		}},
	}}
}

// routerRules are those in a router's namespace.
func routerRules() ruleset {
	fromGuests, outside := nameIs(expr.MetaKeyIIFNAME, network.GatewayLink), nameIs(expr.MetaKeyOIFNAME, network.UplinkLink)
	metadata := network.MetadataAddress().As4()
	return ruleset{family: nftables.TableFamilyINet, chains: []chain{
		{name: "input", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookInput, prio: nftables.ChainPriorityFilter, rules: []rule{
			{"answers to the router", all(established(), one(accept))},
			{"DHCP", all(fromGuests, port(unix.IPPROTO_UDP, destinationPort, portDHCPServer), one(accept))},
			{"metadata", all(fromGuests, ipv4(), payload(expr.PayloadBaseNetworkHeader, ipDestination, metadata[:]...), port(unix.IPPROTO_TCP, destinationPort, portMetadata), one(accept))},
			{"nothing of the transit links", all(fromGuests, transit(ipDestination), one(drop))},
			{"pings of the gateway", all(fromGuests, protocol(unix.IPPROTO_ICMP), payload(expr.PayloadBaseTransportHeader, icmpType, icmpEchoRequest), one(accept))},
			{"its own", all(nameIs(expr.MetaKeyIIFNAME, "lo"), one(accept))},
			{"nothing else", one(drop)},
		}},
		{name: "forward", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookForward, prio: nftables.ChainPriorityFilter, rules: []rule{
			{"nothing of the transit links", all(fromGuests, transit(ipDestination), one(drop))},
		}},
		{name: "postrouting", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPostrouting, prio: nftables.ChainPriorityNATSource, rules: []rule{
			{"guests go out as the router", all(outside, one(&expr.Masq{}))},
		}},
	}}
}
