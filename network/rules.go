package network

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Table is a table of nftables as it is to be. It prints itself in nft's own
// language, so that a person who reads a plan, a golden file or the output of
// `nft list ruleset` reads the same.
type Table struct {
	TableKey
	Sets   []Set
	Chains []Chain
}

// Family is whose packets a table sees.
type Family string

// The families that are used here.
const (
	FamilyBridge Family = "bridge"
	FamilyInet   Family = "inet"
)

// Set is a set of keys, each a concatenation of fields. It is what lets a
// packet's cost stay the same however many ports there are.
type Set struct {
	SetType
	Elements map[string]bool // each in nft's syntax: "a . b", and "a . b : c" of a map
}

// SetType is a set but for its elements.
type SetType struct {
	Name     string
	Types    []string // nft's names of types, in order
	Data     string   // of a map: the type of its values
	Interval bool     // its elements may be ranges, which do not overlap
}

// Chain is a list of rules; with a hook, packets enter it from the kernel.
type Chain struct {
	Name     string
	Type     string // "filter" or "nat"
	Hook     string // empty: it is entered by jumps only
	Priority int
	Policy   string // "accept" or "drop"
	Rules    []Rule
}

// Rule is terms that are tried in order, as long as they hold.
type Rule []Term

// Term is a match or a statement; the list of them is closed.
type Term interface {
	fmt.Stringer
	// holds tells whether a packet matches, and does to it what a statement does,
	// as the kernel would: it is how a packet is explained (see Trace).
	holds(p *seen) bool
}

// Match holds when a field has (or has not) the value, which is in nft's
// syntax. A link's name may end in "*".
type Match struct {
	Field Field
	Not   bool
	Value string
}

// InSet holds when the fields together are (or are not) in a set.
type InSet struct {
	Fields []Field
	Not    bool
	Set    string
}

// CTState holds when the connection's state is one of these, with commas.
type CTState string

// Verdict ends the rule: "accept" or "drop"; with "return" the rules behind the
// jump go on.
type Verdict string

// Jump goes on in another chain.
type Jump string

// Masquerade translates the source to the address of the link that the packet leaves by.
type Masquerade struct{}

// NAT translates a source or destination to what a map has for it.
type NAT struct {
	What string // "snat" or "dnat"
	By   Field
	Map  string
}

// SourceNAT translates the source to an address.
type SourceNAT netip.Addr

// CTStatus holds when the connection has this bit of its status: "dnat".
type CTStatus string

// Bits holds when a mark, of the packet or of its connection, has this value
// under the mask (or has another).
type Bits struct {
	Field Field
	Mask  uint32
	Not   bool
	Value uint32
}

// SetBits gives the bits of the mask this value, in a mark or the priority.
type SetBits struct {
	Field Field
	Mask  uint32
	Value uint32
}

// SetFrom gives a field the value that a map has for others; it holds where it has one.
type SetFrom struct {
	Field Field
	By    []Field
	Map   string
}

// NoTrack keeps the packet away from connection tracking.
type NoTrack struct{}

// SetEtherSource writes the frame's source.
type SetEtherSource MAC

func (m Match) String() string {
	v := m.Value
	if m.Field == InLink || m.Field == OutLink {
		v = `"` + v + `"`
	}
	return string(m.Field) + not(m.Not) + v
}

func (s InSet) String() string {
	return fieldNames(s.Fields) + not(s.Not) + "@" + s.Set
}

func fieldNames(fields []Field) string {
	var names []string
	for _, f := range fields {
		names = append(names, string(f))
	}
	return strings.Join(names, " . ")
}

func not(n bool) string {
	if n {
		return " != "
	}
	return " "
}

func (c CTState) String() string   { return "ct state " + string(c) }
func (v Verdict) String() string   { return string(v) }
func (j Jump) String() string      { return "jump " + string(j) }
func (Masquerade) String() string  { return "masquerade" }
func (n NAT) String() string       { return n.What + " ip to " + string(n.By) + " map @" + n.Map }
func (n SourceNAT) String() string { return "snat ip to " + netip.Addr(n).String() }
func (c CTStatus) String() string  { return "ct status " + string(c) }
func (NoTrack) String() string     { return "notrack" }

func (f SetFrom) String() string {
	return string(f.Field) + " set " + fieldNames(f.By) + " map @" + f.Map
}

func (b Bits) String() string {
	is := "=="
	if b.Not {
		is = "!="
	}
	switch b.Mask {
	case allBits:
		return string(b.Field) + not(b.Not) + b.Field.number(b.Value)
	case markOwner:
		return string(b.Field) + not(b.Not) + b.Field.number(b.Value) + "/16"
	}
	return fmt.Sprintf("%s & 0x%08x %s 0x%08x", b.Field, b.Mask, is, b.Value)
}

func (b SetBits) String() string {
	to := string(b.Field)
	switch {
	case b.Mask == allBits:
		to = b.Field.number(b.Value)
	case b.Value == 0:
		to += fmt.Sprintf(" & 0x%08x", ^b.Mask)
	case b.Value == b.Mask:
		to += fmt.Sprintf(" | 0x%08x", b.Value)
	default:
		to += fmt.Sprintf(" & 0x%08x | 0x%08x", ^b.Mask, b.Value)
	}
	return string(b.Field) + " set " + to
}

const allBits = 0xffffffff

// number is how nft writes a value of one of the fields that SetBits sets.
func (f Field) number(n uint32) string {
	switch {
	case f == Priority && n == 0:
		return "none"
	case f == Priority:
		return fmt.Sprintf("%x:%x", n>>16, n&0xffff)
	}
	return fmt.Sprintf("0x%08x", n)
}

func (m SetEtherSource) String() string { return "ether saddr set " + MAC(m).String() }

// Field is a part of a packet or what the kernel knows of it, in nft's words.
type Field string

// The fields that rules look at.
const (
	InLink       Field = "iifname"
	OutLink      Field = "oifname"
	EtherSource  Field = "ether saddr"
	EtherDest    Field = "ether daddr"
	EtherType    Field = "ether type"
	ARPHLen      Field = "arp hlen"
	ARPPLen      Field = "arp plen"
	ARPOperation Field = "arp operation"
	ARPSourceMAC Field = "arp saddr ether"
	ARPSourceIP  Field = "arp saddr ip"
	IPSource     Field = "ip saddr"
	IPDest       Field = "ip daddr"
	IP6Source    Field = "ip6 saddr"
	IP6Dest      Field = "ip6 daddr"
	IP6Next      Field = "ip6 nexthdr"
	IP6Length    Field = "ip6 length" // of what follows the header, in bytes
	FragmentNext Field = "@nh,320,8"  // where a fragment's header follows: what it is a fragment of
	NDTarget     Field = "@th,64,128" // the address that neighbour discovery is about
	NDOption     Field = "@th,192,16" // its first option: type and length (in 8 bytes)
	NDOptionMAC  Field = "@th,208,48" // the address in that option
	ICMPType     Field = "icmp type"
	ICMPv6Type   Field = "icmpv6 type"
	UDPSource    Field = "udp sport"
	UDPDest      Field = "udp dport"
	TCPDest      Field = "tcp dport"
	Protocols    Field = "meta l4proto"
	DestPort     Field = "th dport"
	TypeCode     Field = "th sport" // of ICMP, which has its type and code there
	PacketMark   Field = "meta mark"
	Priority     Field = "meta priority"
	ConnMark     Field = "ct mark"
	ConnZone     Field = "ct zone"
	ConnWay      Field = "ct direction" // "original" or "reply"
)

func (r Rule) String() string {
	var terms []string
	for _, t := range r {
		terms = append(terms, t.String())
	}
	return strings.Join(terms, " ")
}

// Digest is kept as the rule's comment in the kernel, and is how a rule is
// recognized: the kernel's own form of a rule differs from release to release.
func (r Rule) Digest() string {
	sum := sha256.Sum256([]byte(r.String()))
	return hex.EncodeToString(sum[:8])
}

// Head is the chain's first line.
func (c Chain) Head() string {
	if c.Hook == "" {
		return "chain " + c.Name
	}
	return fmt.Sprintf("chain %s type %s hook %s priority %d policy %s", c.Name, c.Type, c.Hook, c.Priority, c.Policy)
}

// Skeleton writes a table down by its sets, chains and the digests of their
// rules: two tables that have the same one differ in elements only.
func Skeleton(sets []Set, chains []Chain, digests func(Chain) []string) string {
	var lines []string
	for _, s := range sets {
		lines = append(lines, s.head())
	}
	for _, c := range chains {
		lines = append(lines, strings.Join(append([]string{c.Head()}, digests(c)...), "\n  "))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (s SetType) head() string {
	if s.Data != "" {
		return fmt.Sprintf("map %s type %s : %s", s.Name, strings.Join(s.Types, " . "), s.Data)
	}
	head := fmt.Sprintf("set %s type %s", s.Name, strings.Join(s.Types, " . "))
	if s.Interval {
		head += " flags interval"
	}
	return head
}

// State returns what an observer sees once the table is there.
func (t Table) State() TableState {
	s := TableState{Sets: map[string]map[string]bool{}, Skeleton: Skeleton(t.Sets, t.Chains, func(c Chain) (out []string) {
		for _, r := range c.Rules {
			out = append(out, r.Digest())
		}
		return out
	})}
	for _, set := range t.Sets {
		s.Sets[set.Name] = set.Elements
	}
	return s
}

// String is the table as nft would list it, but for the order of its sets.
func (t Table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s %s {\n", t.Family, t.Name)
	for _, s := range t.Sets {
		what, typ, _ := strings.Cut(s.head(), " type ")
		fmt.Fprintf(&b, "\t%s {\n\t\ttype %s\n", what, typ)
		for _, e := range slices.Sorted(maps.Keys(s.Elements)) {
			fmt.Fprintf(&b, "\t\telement %s\n", e)
		}
		b.WriteString("\t}\n")
	}
	for _, c := range t.Chains {
		fmt.Fprintf(&b, "\tchain %s {\n", c.Name)
		if c.Hook != "" {
			fmt.Fprintf(&b, "\t\ttype %s hook %s priority %d; policy %s;\n", c.Type, c.Hook, c.Priority, c.Policy)
		}
		for _, r := range c.Rules {
			fmt.Fprintf(&b, "\t\t%s\n", r)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}
