package network

import (
	"cmp"
	"crypto/sha256"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// SecurityGroup is what the ports that have it may send and be sent.
type SecurityGroup struct {
	Rules []SecurityRule
}

// SecurityRule allows connections of one kind. The other side is a range of
// addresses or the ports of a group; where neither is given, it is everybody.
type SecurityRule struct {
	Egress    bool
	Protocols Range // by number
	Details   Range // of what kind within the protocol, see Flow
	CIDR      netip.Prefix
	Group     string // ID
}

// Range is numbers from First to Last.
type Range struct{ First, Last uint16 }

// What stands for all.
var (
	AllProtocols = Range{0, 255}
	AllDetails   = Range{0, 65535}
)

func (r Range) contains(x Range) bool { return r.First <= x.First && x.Last <= r.Last }

func (r Range) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return strconv.Itoa(int(r.First)) + "-" + strconv.Itoa(int(r.Last))
}

// Flow is a connection, by the packet that began it.
type Flow struct {
	Zone         uint16 // of connection tracking
	Source, Dest netip.Addr
	Protocol     uint8
	// Details are the destination port of TCP and UDP, and the type and code of
	// ICMP (8 bits each); all, where it is not known or there is nothing of the kind.
	Details Range
	Agreed  uint32 // the mark that tells whose groups have agreed
}

// consentMark tells our marks from others'. Its lowest bits are the two sides: on
// a packet those whose groups are still to be asked, on a connection those that
// have agreed.
const (
	consentMark = 0xca190000
	markOwner   = 0xffff0000
	bySender    = 1 // of the port that began the connection
	byReceiver  = 2
	bothSides   = bySender | byReceiver
)

// identityOf stands for a set of groups, by a hash over their IDs.
func identityOf(groups []string) netip.Addr {
	sum := sha256.Sum256([]byte(strings.Join(slices.Sorted(slices.Values(groups)), "\n")))
	return netip.AddrFrom16([16]byte(sum[:16]))
}

// Sets of the host's table by which groups are asked. The local side is known by
// its MAC, the other by its address.
const (
	mapZones      = "zones"      // of each bridge
	mapIdentities = "identities" // the number of each identity on this host
	mapLocal      = "local"      // the identity of each port that is here, by its MAC
	mapOthers4    = "others4"    // the identity of each port of the networks that are here, by its address
	mapOthers6    = "others6"
	setPorted     = "ported" // protocols that have ports
)

// side is one direction of rules, as a port sees it.
type side struct {
	name   string // of the chain
	bit    uint32
	suffix string // of its sets
	egress bool
	local  Field // the MAC of the port whose groups are asked
	other4 Field
	other6 Field
}

var sides = []side{
	{"egress", bySender, "_out", true, EtherSource, IPDest, IP6Dest},
	{"ingress", byReceiver, "_in", false, EtherDest, IPSource, IP6Source},
}

func (s side) members() string { return "members" + s.suffix }
func (s side) ranges4() string { return "ranges4" + s.suffix }
func (s side) ranges6() string { return "ranges6" + s.suffix }

// consents are the elements by which a host asks the groups of its ports.
type consents struct {
	elements map[string]map[string]bool // by set
	taken    map[string]bool            // keys of maps
	numbers  map[netip.Addr]uint32      // of identities
}

func (c consents) add(set, element string) { c.elements[set][element] = true }

// put gives a key of a map its value, unless it has one: of two ports that claim
// the same, the first has it.
func (c consents) put(m, key, value string) {
	if at := m + "\n" + key; !c.taken[at] {
		c.taken[at] = true
		c.elements[m][key+" : "+value] = true
	}
}

// Limits of what the groups of one port may come to in a set: rules that would
// come to more allow what fits, and nothing else.
const (
	maxRanges  = 4 << 10
	maxMembers = 64 << 10
)

// consentSet tells whether what goes from a set can forbid what was allowed.
func consentSet(key TableKey, set string) bool {
	if key != hostKey {
		return false
	}
	switch set {
	case mapZones, mapLocal, mapOthers4, mapOthers6:
		return true
	}
	return slices.ContainsFunc(sides, func(s side) bool { return set == s.members() || set == s.ranges4() || set == s.ranges6() })
}

// UnjudgedAfter tells whether there may be connections that nobody would agree to
// any more, once an op was done.
func UnjudgedAfter(was bool, op Op) bool {
	switch o := op.(type) {
	case EndConnections:
		return false
	case PutTable:
		return was || o.Namespace == "" && o.Table.TableKey == hostKey
	case RemoveTable:
		return was || o.Namespace == "" && o.TableKey == hostKey
	case RemoveElements:
		return was || o.Namespace == "" && consentSet(o.TableKey, o.Set.Name)
	case ReplaceElements:
		return was || o.Namespace == "" && consentSet(o.TableKey, o.Set.Name)
	}
	return was
}

// consentsOf works out the elements for all networks.
func consentsOf(want Desired, zones map[uint32]uint16, numbers map[netip.Addr]uint32) consents {
	c := consents{numbers: numbers, taken: map[string]bool{}}
	c.elements = map[string]map[string]bool{mapZones: {}, mapIdentities: {}, mapLocal: {}, mapOthers4: {}, mapOthers6: {}}
	for _, s := range sides {
		for _, set := range []string{s.members(), s.ranges4(), s.ranges6()} {
			c.elements[set] = map[string]bool{}
		}
	}
	ranged := map[netip.Addr]bool{}
	for _, n := range want.Networks {
		bridge := `"` + Bridge(n.VNI) + `" . `
		if z, ok := zones[n.VNI]; ok {
			c.put(mapZones, `"`+Bridge(n.VNI)+`"`, PacketMark.number(uint32(z)))
		}
		local, all := map[netip.Addr][]string{}, map[netip.Addr][]string{}
		for _, p := range n.Ports {
			m, ok := usable(n, &p)
			if !ok {
				continue
			}
			id := identityOf(p.Groups)
			all[id] = p.Groups
			number := c.numbers[id]
			c.put(mapIdentities, id.String(), PacketMark.number(number))
			if p.Local || p.Tap {
				local[id] = p.Groups
				c.put(mapLocal, bridge+m.String(), PacketMark.number(number))
			}
			for _, a := range withLinkLocal(p) {
				c.put(map[bool]string{true: mapOthers4, false: mapOthers6}[a.Is4()], bridge+a.String(), Priority.number(number))
			}
		}
		for id, groups := range local {
			c.members(want.Groups, id, groups, all)
			if !ranged[id] {
				ranged[id] = true
				c.ranges(want.Groups, id, groups)
			}
		}
	}
	return c
}

// rules are those of a port with these groups.
func rulesOf(all map[string]SecurityGroup, groups []string, egress bool) (out []SecurityRule) {
	for _, g := range groups {
		for _, r := range all[g].Rules {
			if r.Egress == egress {
				out = append(out, r)
			}
		}
	}
	return out
}

// members adds what the groups of an identity allow with each other identity.
func (c consents) members(all map[string]SecurityGroup, id netip.Addr, groups []string, others map[netip.Addr][]string) {
	for _, s := range sides {
		by := map[string][]box{} // by the other side's group
		for _, r := range rulesOf(all, groups, s.egress) {
			if r.Group != "" {
				by[r.Group] = append(by[r.Group], box{r.Protocols, r.Details})
			}
		}
		if len(by) == 0 {
			continue
		}
		n := 0
		for _, other := range slices.SortedFunc(maps.Keys(others), netip.Addr.Compare) {
			var boxes []box
			for _, g := range others[other] {
				boxes = append(boxes, by[g]...)
			}
			for _, e := range elementsOf(merge(boxes)) {
				if n++; n > maxMembers {
					return
				}
				c.add(s.members(), PacketMark.number(c.numbers[id])+" . "+Priority.number(c.numbers[other])+" . "+e)
			}
		}
	}
}

// ranges adds what the groups of an identity allow with ranges of addresses. The
// elements of such a set must not overlap: what a wider range has already is
// taken from those within it.
func (c consents) ranges(all map[string]SecurityGroup, id netip.Addr, groups []string) {
	for _, s := range sides {
		four, six := map[netip.Prefix][]box{}, map[netip.Prefix][]box{}
		for _, r := range rulesOf(all, groups, s.egress) {
			b := box{r.Protocols, r.Details}
			switch {
			case r.Group != "":
			case !r.CIDR.IsValid():
				four[everybody4] = append(four[everybody4], b)
				six[everybody6] = append(six[everybody6], b)
			case r.CIDR.Addr().Is4():
				four[r.CIDR.Masked()] = append(four[r.CIDR.Masked()], b)
			default:
				six[r.CIDR.Masked()] = append(six[r.CIDR.Masked()], b)
			}
		}
		for set, by := range map[string]map[netip.Prefix][]box{s.ranges4(): four, s.ranges6(): six} {
			for _, e := range rangesOf(by) {
				c.add(set, PacketMark.number(c.numbers[id])+" . "+e)
			}
		}
	}
}

var (
	everybody4 = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	everybody6 = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
)

// rangesOf are elements that together are what is allowed with prefixes, and of
// which none overlaps another.
func rangesOf(by map[netip.Prefix][]box) (out []string) {
	prefixes := slices.SortedFunc(maps.Keys(by), func(a, b netip.Prefix) int {
		return cmp.Or(cmp.Compare(a.Bits(), b.Bits()), a.Addr().Compare(b.Addr()))
	})
	for i, p := range prefixes {
		var wider []box
		for _, w := range prefixes[:i] {
			if w.Contains(p.Addr()) {
				wider = append(wider, by[w]...)
			}
		}
		for _, e := range elementsOf(minus(merge(by[p]), merge(wider))) {
			if len(out) == maxRanges {
				return out
			}
			out = append(out, prefixElement(p)+" . "+e)
		}
	}
	return out
}

// prefixElement is how a prefix is written as an element.
func prefixElement(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// Judge says of connections whether they would be allowed now.
type Judge struct {
	want  Desired
	zones map[uint16]Network
	ports map[uint16]map[netip.Addr]Port
}

func newJudge(want Desired, zones map[uint32]uint16) *Judge {
	j := &Judge{want: want, zones: map[uint16]Network{}, ports: map[uint16]map[netip.Addr]Port{}}
	for _, n := range want.Networks {
		z, ok := zones[n.VNI]
		if !ok {
			continue
		}
		j.zones[z], j.ports[z] = n, portsOf(n)
	}
	return j
}

// portsOf finds the ports of a network by what they may send from.
func portsOf(n Network) map[netip.Addr]Port {
	out := map[netip.Addr]Port{}
	for _, p := range n.Ports {
		if _, ok := usable(n, &p); !ok {
			continue
		}
		for _, a := range withLinkLocal(p) {
			if _, taken := out[a]; !taken {
				out[a] = p
			}
		}
	}
	return out
}

// behind finds the port that a static route leads to for an address.
func behind(n Network, ports map[netip.Addr]Port, a netip.Addr) (p Port, ok bool) {
	best := -1
	for _, r := range n.routes() {
		if at, known := ports[r.Via]; known && r.To.Contains(a) && r.To.Bits() > best {
			p, ok, best = at, true, r.To.Bits()
		}
	}
	return p, ok
}

// Allows tells whether everybody who has agreed to a connection would do so now.
// It has no say about those of others.
func (j *Judge) Allows(f Flow) bool {
	if f.Agreed&markOwner != consentMark {
		return true
	}
	ports, ok := j.ports[f.Zone]
	if !ok {
		return false
	}
	agrees := func(bit uint32, own, other netip.Addr, egress bool) bool {
		if f.Agreed&bit == 0 {
			return true
		}
		p, ok := ports[own]
		if !ok {
			p, ok = behind(j.zones[f.Zone], ports, own)
		}
		if !ok || !p.Local && !p.Tap {
			return false
		}
		_, _, ok = allows(j.want.Groups, p, egress, other, ports[other].Groups, f)
		return ok
	}
	return agrees(bySender, f.Source, f.Dest, true) && agrees(byReceiver, f.Dest, f.Source, false)
}

// allows finds the rule by which a port may send to another address, or be sent
// from it; theirs are the groups of the port that has the other address.
func allows(all map[string]SecurityGroup, p Port, egress bool, other netip.Addr, theirs []string, f Flow) (group string, rule int, ok bool) {
	protocol := Range{uint16(f.Protocol), uint16(f.Protocol)}
	for _, g := range p.Groups {
		for i, r := range all[g].Rules {
			if r.Egress != egress || !r.Protocols.contains(protocol) || !r.Details.contains(f.Details) {
				continue
			}
			if r.Group != "" && slices.Contains(theirs, r.Group) || r.Group == "" && (!r.CIDR.IsValid() || r.CIDR.Contains(other)) {
				return g, i, true
			}
		}
	}
	return "", 0, false
}
