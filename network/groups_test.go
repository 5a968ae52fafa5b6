package network

import (
	"net/netip"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/cairn-cloud/cairn/api"
)

// What a set says of a packet is what the rules of the groups say.
func TestConsents_areWhatTheGroupsAllow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Desired{Groups: drawGroups(t), Underlay: netip.MustParseAddr("192.0.2.1")}
		d.Networks = []Network{drawNetwork(t, 1)}
		n := d.Networks[0]
		c := consentsOf(d, nil, allocateNumbers(d.Networks, Observed{}))
		ports := portsOf(n)
		others := []netip.Addr{netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("2001:db8::9")}
		for a := range ports {
			others = append(others, a)
		}
		for own, p := range ports {
			if !p.Local && !p.Tap {
				continue
			}
			for _, other := range others {
				if own.Is4() != other.Is4() {
					continue
				}
				for _, protocol := range []uint8{1, 6, 17, 47, 58} {
					for _, detail := range []uint16{0, 77, 78, 80, 82, 84, 86, 88, 8 << 8, 8<<8 | 1, 128 << 8} {
						f := Flow{Protocol: protocol, Details: Range{detail, detail}}
						for _, s := range sides {
							_, _, want := allows(d.Groups, p, s.egress, other, ports[other].Groups, f)
							if got := c.allow(s, p, other, ports, f); got != want {
								t.Fatalf("%s of %s with %s (%v), protocol %d of %d: the sets say %v, the groups %v", s.name, own, other, ports[other].Groups, protocol, detail, got, want)
							}
						}
					}
				}
			}
		}
	})
}

func (c consents) allow(s side, p Port, other netip.Addr, ports map[netip.Addr]Port, f Flow) bool {
	set := func(name string) Set { return Set{Elements: c.elements[name]} }
	id, rest := PacketMark.number(c.numbers[identityOf(p.Groups)]), []string{strconv.Itoa(int(f.Protocol)), f.Details.String()}
	ranges := s.ranges6()
	if other.Is4() {
		ranges = s.ranges4()
	}
	if set(ranges).has(append([]string{id, other.String()}, rest...)) {
		return true
	}
	q, ok := ports[other]
	return ok && set(s.members()).has(append([]string{id, Priority.number(c.numbers[identityOf(q.Groups)])}, rest...))
}

// The kernel takes no elements that overlap.
func TestConsents_doNotOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Desired{Groups: drawGroups(t), Networks: []Network{drawNetwork(t, 1), drawNetwork(t, 2)}}
		c := consentsOf(d, nil, allocateNumbers(d.Networks, Observed{}))
		for _, s := range sides {
			for _, name := range []string{s.members(), s.ranges4(), s.ranges6()} {
				var before []string
				for e := range c.elements[name] {
					for _, b := range before {
						if overlap(b, e) {
							t.Fatalf("%s has %s and %s", name, b, e)
						}
					}
					before = append(before, e)
				}
			}
		}
	})
}

// A tenant cannot fill a host's tables: what is over the limit is not allowed.
func TestConsents_ofATenantWhoWantsMany(t *testing.T) {
	g := SecurityGroup{}
	for i := range uint16(400) {
		g.Rules = append(g.Rules, SecurityRule{Protocols: Range{6, 6}, Details: Range{i * 2, i * 2}})
		g.Rules = append(g.Rules, SecurityRule{Protocols: AllProtocols, Details: AllDetails, CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)})
	}
	d := blue()
	d.Groups = map[string]SecurityGroup{"sgr_1": g}
	d.Networks[0].Ports[0].Groups = []string{"sgr_1"}
	c := consentsOf(d, nil, allocateNumbers(d.Networks, Observed{}))
	if n := len(c.elements["ranges4_in"]); n != maxRanges {
		t.Errorf("there are %d elements, not %d", n, maxRanges)
	}
	if !(Set{Elements: c.elements["ranges4_in"]}).has([]string{PacketMark.number(c.numbers[identityOf([]string{"sgr_1"})]), "192.0.2.7", "6", "798"}) {
		t.Error("the widest range is not among them")
	}
}

func TestZones_areNotTheirsWhoHadThem(t *testing.T) {
	have := Observed{State: State{Host: NewSpace()}}
	zones := func(vnis ...uint32) map[uint32]uint16 {
		var ns []Network
		for _, v := range vnis {
			ns = append(ns, Network{VNI: v})
		}
		out := allocateZones(ns, have)
		have.Host.Tables[hostKey] = TableState{Sets: map[string]map[string]bool{mapZones: consentsOf(Desired{Networks: ns}, out, nil).elements[mapZones]}}
		return out
	}
	if z := zones(5, 7); z[5] != 1 || z[7] != 2 {
		t.Errorf("the zones are %v", z)
	}
	if z := zones(7, 9); z[7] != 2 || z[9] != 3 {
		t.Errorf("the zones are %v", z)
	}
	if z := zones(5, 7, 9); z[5] != 1 || z[7] != 2 || z[9] != 3 {
		t.Errorf("the zones are %v", z)
	}
}

// Who has agreed must still agree, and each for itself.
func TestJudge_endsWhatIsNotAllowedAnyMore(t *testing.T) {
	a := netip.MustParseAddr
	d := blue()
	d.Groups = map[string]SecurityGroup{
		"sgr_web": {Rules: []SecurityRule{{Protocols: Range{6, 6}, Details: Range{80, 90}}, {Egress: true, Protocols: AllProtocols, Details: AllDetails, Group: "sgr_db"}}},
		"sgr_db":  {Rules: []SecurityRule{{Protocols: Range{6, 6}, Details: Range{5432, 5432}, Group: "sgr_web"}}},
	}
	d.Networks[0].Ports[0].Groups = []string{"sgr_web"}
	d.Networks[0].Ports[1].Groups = []string{"sgr_db"}
	j := newJudge(d, map[uint32]uint16{42: 3})
	web, db, world := a("10.0.1.10"), a("10.0.2.10"), a("203.0.113.1")
	for _, c := range []struct {
		name string
		flow Flow
		want bool
	}{
		{"a port that is allowed", Flow{3, world, web, 6, Range{80, 80}, consentMark | byReceiver}, true},
		{"a port that is not", Flow{3, world, web, 6, Range{91, 91}, consentMark | byReceiver}, false},
		{"another protocol", Flow{3, world, web, 17, Range{80, 80}, consentMark | byReceiver}, false},
		{"nobody has agreed", Flow{3, world, web, 17, Range{80, 80}, consentMark}, true},
		{"to a member", Flow{3, web, db, 6, Range{5432, 5432}, consentMark | bySender}, true},
		{"to who is none", Flow{3, web, world, 6, Range{5432, 5432}, consentMark | bySender}, false},
		{"to a port that is not here", Flow{3, web, db, 6, Range{5432, 5432}, consentMark | bothSides}, false},
		{"all of a protocol", Flow{3, web, db, 1, AllDetails, consentMark | bySender}, true},
		{"in a zone of nobody", Flow{4, web, db, 6, Range{5432, 5432}, consentMark | bySender}, false},
		{"another's connection", Flow{4, web, db, 6, Range{1, 1}, 0x4001}, true},
	} {
		if got := j.Allows(c.flow); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestFromHost_rulesOfGroups(t *testing.T) {
	kind, code := 8, 1
	g := api.HostGroup{ID: "sgr_1", Rules: []api.SecurityRule{
		{Direction: api.Ingress, Protocol: "any"},
		{Direction: api.Egress, Protocol: "tcp", Ports: &api.PortRange{First: 80, Last: 90}, CIDR: netip.MustParsePrefix("10.0.0.0/8")},
		{Direction: api.Ingress, Protocol: "icmp", ICMPType: &kind},
		{Direction: api.Ingress, Protocol: "icmp", ICMPType: &kind, ICMPCode: &code},
		{Direction: api.Ingress, Protocol: "47", Group: "sgr_2"},
	}}
	d, err := FromHost(netip.MustParseAddr("192.0.2.1"), 1550, api.HostDesired{Groups: map[string]api.HostGroup{"sgr_1": g}})
	want := []SecurityRule{
		{Protocols: AllProtocols, Details: AllDetails},
		{Egress: true, Protocols: Range{6, 6}, Details: Range{80, 90}, CIDR: netip.MustParsePrefix("10.0.0.0/8")},
		{Protocols: Range{1, 1}, Details: Range{8 << 8, 8<<8 | 255}},
		{Protocols: Range{1, 1}, Details: Range{8<<8 | 1, 8<<8 | 1}},
		{Protocols: Range{47, 47}, Details: AllDetails, Group: "sgr_2"},
	}
	if got := d.Groups["sgr_1"].Rules; err != nil || !slices.Equal(got, want) {
		t.Errorf("they are\n%+v\nand not\n%+v (%v)", got, want, err)
	}
}
