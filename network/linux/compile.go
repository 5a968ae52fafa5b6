package linux

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// field is how the kernel gets at a part of a packet.
type field struct {
	meta   expr.MetaKey     // of what it knows itself
	conn   bool             // it is of the packet's connection,
	ct     expr.CtKey       // and this of it
	base   expr.PayloadBase // else: in which header,
	offset uint32           // where,
	size   uint32           // how many bytes,
	of     protocol         // and of which protocol it is
	parse  func(string) ([]byte, error)
}

// protocol is what a packet must be for a field to mean something.
type protocol int

const (
	anyProtocol protocol = iota
	protoARP
	protoIPv4
	protoIPv6
	protoICMP
	protoICMPv6
	protoUDP
	protoTCP
	protoEther
)

const (
	headerEther     = expr.PayloadBaseLLHeader
	headerNetwork   = expr.PayloadBaseNetworkHeader
	headerTransport = expr.PayloadBaseTransportHeader
)

var fields = map[network.Field]field{
	network.InLink:       {meta: expr.MetaKeyIIFNAME, size: unix.IFNAMSIZ, parse: linkName},
	network.OutLink:      {meta: expr.MetaKeyOIFNAME, size: unix.IFNAMSIZ, parse: linkName},
	network.EtherDest:    {base: headerEther, offset: 0, size: 6, of: protoEther, parse: macAddress},
	network.EtherSource:  {base: headerEther, offset: 6, size: 6, of: protoEther, parse: macAddress},
	network.EtherType:    {base: headerEther, offset: 12, size: 2, parse: number(2, map[string]uint64{"ip": unix.ETH_P_IP, "ip6": unix.ETH_P_IPV6, "arp": unix.ETH_P_ARP})},
	network.ARPHLen:      {base: headerNetwork, offset: 4, size: 1, of: protoARP, parse: number(1, nil)},
	network.ARPPLen:      {base: headerNetwork, offset: 5, size: 1, of: protoARP, parse: number(1, nil)},
	network.ARPOperation: {base: headerNetwork, offset: 6, size: 2, of: protoARP, parse: number(2, map[string]uint64{"request": 1, "reply": 2})},
	network.ARPSourceMAC: {base: headerNetwork, offset: 8, size: 6, of: protoARP, parse: macAddress},
	network.ARPSourceIP:  {base: headerNetwork, offset: 14, size: 4, of: protoARP, parse: ipAddress},
	network.IPSource:     {base: headerNetwork, offset: 12, size: 4, of: protoIPv4, parse: ipAddress},
	network.IPDest:       {base: headerNetwork, offset: 16, size: 4, of: protoIPv4, parse: ipAddress},
	network.ICMPType:     {base: headerTransport, offset: 0, size: 1, of: protoICMP, parse: number(1, map[string]uint64{"echo-request": 8})},
	network.IP6Length:    {base: headerNetwork, offset: 4, size: 2, of: protoIPv6, parse: number(2, nil)},
	network.IP6Next:      {base: headerNetwork, offset: 6, size: 1, of: protoIPv6, parse: number(1, map[string]uint64{"ipv6-frag": unix.IPPROTO_FRAGMENT, "ipv6-icmp": unix.IPPROTO_ICMPV6})},
	network.IP6Source:    {base: headerNetwork, offset: 8, size: 16, of: protoIPv6, parse: ipAddress},
	network.IP6Dest:      {base: headerNetwork, offset: 24, size: 16, of: protoIPv6, parse: ipAddress},
	network.FragmentNext: {base: headerNetwork, offset: 40, size: 1, of: protoIPv6, parse: number(1, nil)},
	network.ICMPv6Type:   {base: headerTransport, offset: 0, size: 1, of: protoICMPv6, parse: number(1, icmpv6Types)},
	network.NDTarget:     {base: headerTransport, offset: 8, size: 16, of: protoICMPv6, parse: ipAddress},
	network.NDOption:     {base: headerTransport, offset: 24, size: 2, of: protoICMPv6, parse: number(2, nil)},
	network.NDOptionMAC:  {base: headerTransport, offset: 26, size: 6, of: protoICMPv6, parse: macAddress},
	network.UDPSource:    {base: headerTransport, offset: 0, size: 2, of: protoUDP, parse: number(2, nil)},
	network.UDPDest:      {base: headerTransport, offset: 2, size: 2, of: protoUDP, parse: number(2, nil)},
	network.TCPDest:      {base: headerTransport, offset: 2, size: 2, of: protoTCP, parse: number(2, nil)},
	network.Protocols:    {meta: expr.MetaKeyL4PROTO, size: 1, parse: number(1, nil)},
	network.DestPort:     {base: headerTransport, offset: 2, size: 2, parse: number(2, nil)},
	network.TypeCode:     {base: headerTransport, offset: 0, size: 2, parse: number(2, nil)},
	network.PacketMark:   {meta: expr.MetaKeyMARK, size: 4},
	network.Priority:     {meta: expr.MetaKeyPRIORITY, size: 4},
	network.ConnZone:     {conn: true, ct: expr.CtKeyZONE, size: 2},
	network.ConnMark:     {conn: true, ct: expr.CtKeyMARK, size: 4},
	network.ConnWay:      {conn: true, ct: expr.CtKeyDIRECTION, size: 1, parse: number(1, map[string]uint64{"original": 0, "reply": 1})},
}

var icmpv6Types = map[string]uint64{
	"destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "parameter-problem": 4, "echo-request": 128, "echo-reply": 129,
	"nd-router-solicit": 133, "nd-router-advert": 134, "nd-neighbor-solicit": 135, "nd-neighbor-advert": 136, "nd-redirect": 137,
}

func linkName(s string) ([]byte, error) {
	if strings.HasSuffix(s, "*") {
		return []byte(s[:len(s)-1]), nil // what it begins with
	}
	b := make([]byte, unix.IFNAMSIZ)
	if copy(b, s) != len(s) || len(s) >= len(b) {
		return nil, fmt.Errorf("%q is too long for a link's name", s)
	}
	return b, nil
}

func macAddress(s string) ([]byte, error) { return net.ParseMAC(s) }

func ipAddress(s string) ([]byte, error) {
	a, err := netip.ParseAddr(s)
	return a.AsSlice(), err
}

func number(size int, names map[string]uint64) func(string) ([]byte, error) {
	return func(s string) ([]byte, error) {
		n, ok := names[s]
		if !ok {
			var err error
			if n, err = strconv.ParseUint(s, 0, size*8); err != nil {
				return nil, err
			}
		}
		b := binary.BigEndian.AppendUint64(nil, n)
		return b[8-size:], nil
	}
}

// compiler turns a rule's terms into the kernel's expressions.
type compiler struct {
	family network.Family
	is     map[protocol]bool // what was compared already
	out    []expr.Any
}

// compile writes a rule as the kernel takes it.
func compile(family network.Family, r network.Rule) ([]expr.Any, error) {
	c := compiler{family: family, is: map[protocol]bool{}}
	for _, t := range r {
		if err := c.term(t); err != nil {
			return nil, fmt.Errorf("%s: %w", t, err)
		}
	}
	return c.out, nil
}

func (c *compiler) add(e ...expr.Any) { c.out = append(c.out, e...) }

func (c *compiler) term(t network.Term) error {
	switch t := t.(type) {
	case network.Match:
		return c.match(t)
	case network.InSet:
		return c.lookup(t)
	case network.CTState:
		return c.state(string(t))
	case network.Verdict:
		kinds := map[network.Verdict]expr.VerdictKind{"accept": expr.VerdictAccept, "drop": expr.VerdictDrop, "return": expr.VerdictReturn}
		k, ok := kinds[t]
		if !ok {
			return fmt.Errorf("no such verdict")
		}
		c.add(&expr.Verdict{Kind: k})
	case network.Jump:
		c.add(&expr.Verdict{Kind: expr.VerdictJump, Chain: string(t)})
	case network.Masquerade:
		c.add(&expr.Masq{})
	case network.NAT:
		return c.translate(t)
	case network.SourceNAT:
		c.require(protoIPv4)
		c.add(&expr.Immediate{Register: 1, Data: netip.Addr(t).AsSlice()}, &expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1})
	case network.CTStatus:
		if t != "dnat" {
			return fmt.Errorf("the driver does not know the status %q", string(t))
		}
		c.bits(expr.CtKeySTATUS, ctStatusDNAT)
	case network.Bits:
		c.load(fields[t.Field], 1)
		op := expr.CmpOpEq
		if t.Not {
			op = expr.CmpOpNeq
		}
		if t.Mask != ^uint32(0) {
			c.add(bitwise(t.Mask, 0))
		}
		c.add(&expr.Cmp{Op: op, Register: 1, Data: binary.NativeEndian.AppendUint32(nil, t.Value)})
	case network.SetBits:
		return c.setBits(t)
	case network.SetFrom:
		return c.setFrom(t)
	case network.NoTrack:
		c.add(&expr.Notrack{})
	case network.SetEtherSource:
		f := fields[network.EtherSource]
		c.add(
			&expr.Immediate{Register: 1, Data: t[:]},
			&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: 1, Base: f.base, Offset: f.offset, Len: f.size},
		)
	default:
		return fmt.Errorf("the driver does not know it")
	}
	return nil
}

func (c *compiler) match(m network.Match) error {
	f, ok := fields[m.Field]
	if !ok {
		return fmt.Errorf("the driver does not know the field")
	}
	value, mask, cut := strings.Cut(m.Value, "/")
	b, err := f.parse(value)
	if err != nil {
		return err
	}
	c.require(f.of)
	c.load(f, 1)
	if cut {
		p, err := netip.ParsePrefix(m.Value)
		if err != nil {
			return fmt.Errorf("mask %s: %w", mask, err)
		}
		c.add(&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: f.size, Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()), Xor: make([]byte, f.size)})
		b = p.Masked().Addr().AsSlice()
	}
	op := expr.CmpOpEq
	if m.Not {
		op = expr.CmpOpNeq
	}
	c.add(&expr.Cmp{Op: op, Register: 1, Data: b})
	return nil
}

// lookup holds where the fields together are in a set.
func (c *compiler) lookup(s network.InSet) error {
	if err := c.key(s.Fields); err != nil {
		return err
	}
	c.add(&expr.Lookup{SourceRegister: unix.NFT_REG32_00, SetName: s.Set, Invert: s.Not})
	return nil
}

// key puts fields into registers one behind the other, each beginning at a
// register of four bytes, as a set has them in its keys.
func (c *compiler) key(names []network.Field) error {
	for _, name := range names {
		f, ok := fields[name]
		if !ok {
			return fmt.Errorf("the driver does not know the field %s", name)
		}
		c.require(f.of) // before any register is loaded, for it takes one
	}
	reg := uint32(unix.NFT_REG32_00)
	for _, name := range names {
		f := fields[name]
		c.load(f, reg)
		reg += (f.size + 3) / 4
	}
	return nil
}

// setFrom looks up what a field becomes; what is not in the map ends the rule.
func (c *compiler) setFrom(s network.SetFrom) error {
	if err := c.key(s.By); err != nil {
		return err
	}
	c.add(&expr.Lookup{SourceRegister: unix.NFT_REG32_00, DestRegister: 1, IsDestRegSet: true, SetName: s.Map})
	return c.store(s.Field)
}

// store gives a field what is in the first register.
func (c *compiler) store(name network.Field) error {
	f, ok := fields[name]
	switch {
	case !ok:
		return fmt.Errorf("the driver does not know the field %s", name)
	case f.conn:
		c.add(&expr.Ct{Key: f.ct, Register: 1, SourceRegister: true})
	default:
		c.add(&expr.Meta{Key: f.meta, Register: 1, SourceRegister: true})
	}
	return nil
}

func bitwise(mask, xor uint32) *expr.Bitwise {
	return &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binary.NativeEndian.AppendUint32(nil, mask), Xor: binary.NativeEndian.AppendUint32(nil, xor)}
}

func (c *compiler) setBits(b network.SetBits) error {
	if b.Mask == ^uint32(0) {
		c.add(&expr.Immediate{Register: 1, Data: binary.NativeEndian.AppendUint32(nil, b.Value)})
	} else {
		c.load(fields[b.Field], 1)
		c.add(bitwise(^b.Mask, b.Value))
	}
	return c.store(b.Field)
}

// load puts a field into a register.
func (c *compiler) load(f field, register uint32) {
	switch {
	case f.conn:
		c.add(&expr.Ct{Key: f.ct, Register: register})
		return
	case f.meta != 0:
		c.add(&expr.Meta{Key: f.meta, Register: register})
		return
	}
	c.add(&expr.Payload{DestRegister: register, Base: f.base, Offset: f.offset, Len: f.size})
}

// require goes on with packets of the protocol only.
func (c *compiler) require(p protocol) {
	if c.is[p] {
		return
	}
	c.is[p] = true
	compare := func(k expr.MetaKey, data ...byte) {
		c.add(&expr.Meta{Key: k, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data})
	}
	frame := func(t uint16) { compare(expr.MetaKeyPROTOCOL, byte(t>>8), byte(t)) }
	switch p {
	case anyProtocol:
	case protoEther: // a bridge has nothing else
		if c.family == network.FamilyInet {
			compare(expr.MetaKeyIIFTYPE, binary.NativeEndian.AppendUint16(nil, unix.ARPHRD_ETHER)...)
		}
	case protoARP:
		frame(unix.ETH_P_ARP)
	case protoIPv4:
		if c.family == network.FamilyInet {
			compare(expr.MetaKeyNFPROTO, unix.NFPROTO_IPV4)
		} else {
			frame(unix.ETH_P_IP)
		}
	case protoIPv6:
		if c.family == network.FamilyInet {
			compare(expr.MetaKeyNFPROTO, unix.NFPROTO_IPV6)
		} else {
			frame(unix.ETH_P_IPV6)
		}
	case protoICMPv6:
		c.require(protoIPv6)
		compare(expr.MetaKeyL4PROTO, unix.IPPROTO_ICMPV6)
	case protoICMP:
		c.require(protoIPv4)
		compare(expr.MetaKeyL4PROTO, unix.IPPROTO_ICMP)
	case protoUDP:
		compare(expr.MetaKeyL4PROTO, unix.IPPROTO_UDP)
	case protoTCP:
		compare(expr.MetaKeyL4PROTO, unix.IPPROTO_TCP)
	}
}

func (c *compiler) state(names string) error {
	bits := map[string]uint32{"new": expr.CtStateBitNEW, "established": expr.CtStateBitESTABLISHED, "related": expr.CtStateBitRELATED}
	var mask uint32
	for name := range strings.SplitSeq(names, ",") {
		b, ok := bits[name]
		if !ok {
			return fmt.Errorf("the driver does not know the state %q", name)
		}
		mask |= b
	}
	c.bits(expr.CtKeySTATE, mask)
	return nil
}

// ctStatusDNAT is IPS_DST_NAT of linux/netfilter/nf_conntrack_common.h.
const ctStatusDNAT = 1 << 5

// bits goes on where one of these bits is set.
func (c *compiler) bits(key expr.CtKey, mask uint32) {
	c.add(
		&expr.Ct{Key: key, Register: 1},
		bitwise(mask, 0),
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	)
}

// translate looks up what an address becomes; what is not in the map goes on.
func (c *compiler) translate(n network.NAT) error {
	kinds := map[string]expr.NATType{"snat": expr.NATTypeSourceNAT, "dnat": expr.NATTypeDestNAT}
	kind, ok := kinds[n.What]
	f, known := fields[n.By]
	if !ok || !known {
		return fmt.Errorf("the driver does not know it")
	}
	c.require(f.of)
	c.load(f, 1)
	c.add(
		&expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetName: n.Map},
		&expr.NAT{Type: kind, Family: unix.NFPROTO_IPV4, RegAddrMin: 1},
	)
	return nil
}
