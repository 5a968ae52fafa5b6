package network

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// seen is a packet at a hook, as rules see it. What a rule does to it is seen by
// the rules behind.
type seen struct {
	fields map[Field]string // in nft's syntax; the packet has no others
	state  string           // of its connection: "new", "established", "related" or untracked
	sets   map[string]Set   // of the table whose rules are asked
	dnat   bool             // its destination was translated
	mark   uint32
	conn   uint32 // its connection's mark

	priority uint32
	source   string // what its source is translated to: an address, or masqueraded
}

// masqueraded: the source becomes the address of the link that the packet leaves by.
const masqueraded = "masquerade"

// judgement is what the rules at a hook come to.
type judgement struct {
	table   TableKey
	chain   string
	rule    Rule // that decided; nil: the chain's policy
	verdict Verdict
}

// judge asks all chains of a hook, of tables of one family, in order of priority.
// The first drop ends it. told hears of every chain's end.
func judge(tables map[TableKey]Table, f Family, hook string, p *seen, told func(judgement)) Verdict {
	type entry struct {
		table Table
		chain Chain
	}
	var at []entry
	for key, t := range tables {
		for _, c := range t.Chains {
			if key.Family == f && c.Hook == hook {
				at = append(at, entry{t, c})
			}
		}
	}
	slices.SortFunc(at, func(a, b entry) int { return a.chain.Priority - b.chain.Priority })
	for _, e := range at {
		p.sets = map[string]Set{}
		for _, s := range e.table.Sets {
			p.sets[s.Name] = s
		}
		j := e.table.ask(e.chain, p)
		if j.verdict == "" {
			j = judgement{chain: e.chain.Name, verdict: Verdict(e.chain.Policy)}
		}
		j.table = e.table.TableKey
		told(j)
		if j.verdict == drop {
			return drop
		}
	}
	return accept
}

// ask goes through a chain. The verdict is empty when no rule gave one.
func (t Table) ask(c Chain, p *seen) judgement {
	for _, r := range c.Rules {
		j := judgement{chain: c.Name, rule: r}
		for _, term := range r {
			if !term.holds(p) {
				break
			}
			switch v := term.(type) {
			case Verdict:
				j.verdict = v
			case Masquerade, NAT, SourceNAT:
				j.verdict = accept
			case Jump:
				j = t.ask(t.chain(string(v)), p)
			default:
				continue
			}
			if j.verdict == returned {
				return judgement{}
			}
			if j.verdict != "" {
				return j
			}
		}
	}
	return judgement{}
}

func (t Table) chain(name string) Chain {
	for _, c := range t.Chains {
		if c.Name == name {
			return c
		}
	}
	return Chain{}
}

func (m Match) holds(p *seen) bool {
	have, ok := p.fields[m.Field]
	return ok && covers(m.Value, have) != m.Not
}

func (s InSet) holds(p *seen) bool {
	key, ok := p.key(s.Fields)
	return ok && p.sets[s.Set].has(key) != s.Not
}

// key is what a packet has in these fields.
func (p *seen) key(fields []Field) (key []string, ok bool) {
	for _, f := range fields {
		v, ok := p.fields[f]
		if f == PacketMark || f == Priority {
			v, ok = f.number(*p.bits(f)), true
		}
		if !ok {
			return nil, false
		}
		if f == InLink || f == OutLink {
			v = `"` + v + `"`
		}
		key = append(key, v)
	}
	return key, true
}

// lookup finds what a map has for fields.
func (p *seen) lookup(m string, by []Field) (value string, ok bool) {
	key, ok := p.key(by)
	if !ok {
		return "", false
	}
	at := strings.Join(key, " . ")
	for e := range p.sets[m].Elements {
		if k, v, _ := strings.Cut(e, " : "); k == at {
			return v, true
		}
	}
	return "", false
}

// bits is a mark of the packet or of its connection, or the priority; nil: it has none.
func (p *seen) bits(f Field) *uint32 {
	switch {
	case f == PacketMark:
		return &p.mark
	case f == Priority:
		return &p.priority
	case p.state == untracked:
		return nil
	default:
		return &p.conn
	}
}

func (b Bits) holds(p *seen) bool {
	at := p.bits(b.Field)
	return at != nil && (*at&b.Mask == b.Value) != b.Not
}

func (b SetBits) holds(p *seen) bool {
	if at := p.bits(b.Field); at != nil {
		*at = *at&^b.Mask | b.Value
	}
	return true
}

func (s SetFrom) holds(p *seen) bool {
	v, ok := p.lookup(s.Map, s.By)
	if at := p.bits(s.Field); ok && at != nil && s.Field != ConnZone {
		*at = number(v)
	}
	return ok
}

// number reads what Field.number writes.
func number(s string) uint32 {
	high, low, two := strings.Cut(s, ":")
	if !two {
		n, _ := strconv.ParseUint(s, 0, 32)
		return uint32(n)
	}
	h, _ := strconv.ParseUint(high, 16, 16)
	l, _ := strconv.ParseUint(low, 16, 16)
	return uint32(h<<16 | l)
}

// untracked is the state of a packet that has no connection.
const untracked = "untracked"

func (c CTState) holds(p *seen) bool { return slices.Contains(strings.Split(string(c), ","), p.state) }
func (Verdict) holds(*seen) bool     { return true }
func (Jump) holds(*seen) bool        { return true }

func (Masquerade) holds(p *seen) bool  { p.source = masqueraded; return true }
func (n SourceNAT) holds(p *seen) bool { p.source = netip.Addr(n).String(); return true }
func (c CTStatus) holds(p *seen) bool  { return c == "dnat" && p.dnat }

// holds translates: the destination at once, for it is before routing.
func (n NAT) holds(p *seen) bool {
	v, ok := p.lookup(n.Map, []Field{n.By})
	switch {
	case !ok:
	case n.What == "dnat":
		p.fields[IPDest], p.dnat = v, true
	default:
		p.source = v
	}
	return ok
}

func (NoTrack) holds(p *seen) bool {
	p.state = untracked
	delete(p.fields, ConnWay)
	return true
}

func (m SetEtherSource) holds(p *seen) bool {
	p.fields[EtherSource] = MAC(m).String()
	return true
}

// has tells whether a key, field by field, is in a set.
func (s Set) has(key []string) bool {
	if s.Elements[strings.Join(key, " . ")] {
		return true
	}
	for e := range s.Elements {
		if slices.EqualFunc(strings.Split(e, " . "), key, covers) {
			return true
		}
	}
	return false
}

// covers tells whether a value of a rule or an element, which may be a prefix, a
// range, or a name's beginning, is or contains what a packet has.
func covers(value, have string) bool {
	if value == have {
		return true
	}
	if begin, ok := strings.CutSuffix(value, "*"); ok {
		return strings.HasPrefix(have, begin)
	}
	if strings.Contains(value, "/") {
		within, err := netip.ParsePrefix(value)
		at, bad := netip.ParseAddr(have)
		return err == nil && bad == nil && within.Contains(at)
	}
	first, last, ok := strings.Cut(value, "-")
	if !ok {
		return false
	}
	if a, err := netip.ParseAddr(first); err == nil {
		b, err := netip.ParseAddr(last)
		at, bad := netip.ParseAddr(have)
		return err == nil && bad == nil && a.Compare(at) <= 0 && at.Compare(b) <= 0
	}
	a, err := strconv.ParseUint(first, 10, 32)
	b, err2 := strconv.ParseUint(last, 10, 32)
	at, err3 := strconv.ParseUint(have, 10, 32)
	return err == nil && err2 == nil && err3 == nil && a <= at && at <= b
}
