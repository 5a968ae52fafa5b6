package network

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Desired states of a few networks, which differ in everything that can differ.
func desiredStates() *rapid.Generator[Desired] {
	return rapid.Custom(func(t *rapid.T) Desired {
		d := Desired{Underlay: netip.MustParseAddr("192.0.2.1"), UnderlayMTU: 1550, Uplink: rapid.SampledFrom([]string{"eth0", "eth0", "eth0", "eth9", ""}).Draw(t, "uplink")}
		if rapid.IntRange(0, 9).Draw(t, "underlay") == 0 {
			d.Underlay = netip.MustParseAddr("192.0.2.99")
		}
		for vni := range uint32(4) {
			if rapid.Bool().Draw(t, "network") {
				d.Networks = append(d.Networks, drawNetwork(t, vni+1))
			}
		}
		d.Groups = drawGroups(t)
		return d
	})
}

func drawNetwork(t *rapid.T, vni uint32) Network {
	n := Network{ID: fmt.Sprint("net_", vni), VNI: vni, MTU: rapid.SampledFrom([]int{1500, 1400}).Draw(t, "mtu")}
	for i := range byte(rapid.IntRange(1, 2).Draw(t, "subnets")) {
		n.Subnets = append(n.Subnets, Subnet{
			CIDR:    netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, i, 0}), 24),
			Gateway: netip.AddrFrom4([4]byte{10, 0, i, byte(rapid.SampledFrom([]int{1, 254}).Draw(t, "gateway"))}),
		})
	}
	if rapid.Bool().Draw(t, "IPv6") {
		n.Subnets = append(n.Subnets, Subnet{CIDR: netip.MustParsePrefix("fd00::/64"), Gateway: netip.MustParseAddr("fd00::1")})
	}
	for range rapid.IntRange(0, 2).Draw(t, "routes") { // some of them cannot be had
		r := StaticRoute{To: rapid.SampledFrom([]netip.Prefix{
			netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("fd12::/48"), netip.MustParsePrefix("::/0"),
		}).Draw(t, "to"), Via: netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(1, 8).Draw(t, "via"))})}
		if rapid.IntRange(0, 2).Draw(t, "IPv6 route") == 0 {
			r.Via = netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(rapid.IntRange(1, 8).Draw(t, "via"))})
		}
		n.Routes = append(n.Routes, r)
	}
	n.Closed = rapid.IntRange(0, 3).Draw(t, "closed") == 0
	for i := range rapid.IntRange(0, 5).Draw(t, "ports") {
		p := Port{
			ID: fmt.Sprintf("prt_%06d%06d", vni, i), Local: rapid.Bool().Draw(t, "local"),
			// A few of them are what nobody may have.
			MAC: net.HardwareAddr{byte(rapid.SampledFrom([]int{2, 2, 2, 0, 1}).Draw(t, "oui")), 0, 0, 0, 0, byte(rapid.IntRange(0, 6).Draw(t, "mac"))},
		}
		for range rapid.IntRange(0, 2).Draw(t, "addresses") {
			p.Addresses = append(p.Addresses, netip.AddrFrom4([4]byte{10, 0, byte(rapid.IntRange(0, 2).Draw(t, "subnet")), byte(rapid.IntRange(1, 8).Draw(t, "address"))}))
		}
		if rapid.Bool().Draw(t, "IPv6") {
			p.Addresses = append(p.Addresses, netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(rapid.IntRange(1, 8).Draw(t, "address"))}))
		}
		p.Groups = rapid.SliceOfNDistinct(rapid.SampledFrom(groupIDs), 0, 3, rapid.ID).Draw(t, "groups")
		if !p.Local {
			p.Underlay = netip.AddrFrom4([4]byte{192, 0, 2, byte(rapid.IntRange(2, 4).Draw(t, "host"))})
		}
		p.Limits = Limits{ToGuest: rapid.SampledFrom([]int64{0, 0, Megabit, 8 * Megabit}).Draw(t, "to guest"), FromGuest: rapid.SampledFrom([]int64{0, 0, Megabit, 8 * Megabit}).Draw(t, "from guest")}
		n.Ports = append(n.Ports, p)
		if len(p.Addresses) > 0 && rapid.IntRange(0, 2).Draw(t, "public") == 0 { // some of them are another's, or the host's own
			n.Public = append(n.Public, Public{netip.AddrFrom4([4]byte{192, 0, 2, byte(rapid.SampledFrom([]int{1, 101, 102, 103, 104}).Draw(t, "floating"))}), p.Addresses[0]})
		}
	}
	return n
}

var groupIDs = []string{"sgr_1", "sgr_2", "sgr_3", "sgr_4"}

// drawGroups draws rules that meet one another: of few protocols, ports and ranges.
func drawGroups(t *rapid.T) map[string]SecurityGroup {
	out := map[string]SecurityGroup{}
	for _, id := range groupIDs {
		var g SecurityGroup
		for range rapid.IntRange(0, 4).Draw(t, "rules") {
			g.Rules = append(g.Rules, drawRule(t))
		}
		if rapid.IntRange(0, 4).Draw(t, "known") > 0 {
			out[id] = g
		}
	}
	return out
}

func drawRule(t *rapid.T) SecurityRule {
	r := SecurityRule{Egress: rapid.Bool().Draw(t, "egress"), Protocols: AllProtocols, Details: AllDetails}
	if p := rapid.SampledFrom([]uint16{0, 6, 17, 1, 58}).Draw(t, "protocol"); p > 0 {
		r.Protocols = Range{p, p}
		switch {
		case rapid.IntRange(0, 2).Draw(t, "details") == 0:
		case p == 1 || p == 58:
			r.Details = rapid.SampledFrom([]Range{{8 << 8, 8<<8 | 255}, {8 << 8, 8 << 8}, {128 << 8, 128<<8 | 255}}).Draw(t, "type")
		default:
			first := uint16(rapid.IntRange(78, 84).Draw(t, "first"))
			r.Details = Range{first, first + uint16(rapid.IntRange(0, 4).Draw(t, "more"))}
		}
	}
	switch rapid.IntRange(0, 2).Draw(t, "other side") {
	case 1:
		r.Group = rapid.SampledFrom(groupIDs).Draw(t, "group")
	case 2:
		r.CIDR = rapid.SampledFrom([]netip.Prefix{
			netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("10.0.0.4/30"), netip.MustParsePrefix("10.0.0.5/32"),
			netip.MustParsePrefix("::/0"), netip.MustParsePrefix("fd00::/64"), netip.MustParsePrefix("fd00::4/126"),
		}).Draw(t, "range")
	}
	return r
}

// damage does what another hand, a crash or a reboot can do.
func damage(t *rapid.T, m *model) {
	for range rapid.IntRange(0, 6).Draw(t, "damage") {
		spaces := append([]string{""}, slices.Sorted(maps.Keys(m.Routers))...)
		name := rapid.SampledFrom(spaces).Draw(t, "where")
		s, _ := m.space(name)
		switch rapid.IntRange(0, 10).Draw(t, "what") {
		case 0:
			if l := pick(t, s.Links, less); l != "" && l != "lo" {
				m.remove(name, l)
			}
		case 1:
			if l := pick(t, s.Links, less); l != "" {
				x := s.Links[l]
				x.Up, x.Port.Learning = false, x.Bridge != ""
				s.Links[l] = x
				forget(s.Neighbours, func(k NeighbourKey, _ MAC) bool { return k.Link == l })
				forget(s.Routes, func(_ netip.Prefix, r Route) bool { return r.Link == l })
				if rapid.Bool().Draw(t, "proxies") {
					clear(s.Proxies)
				}
			}
		case 2: // made, and not finished
			if l := pick(t, s.Links, less); l != "" && l != "lo" {
				x := s.Links[l]
				x.Alias, x.MTU = "", 1280
				s.Links[l] = x
			}
		case 3:
			k := pick(t, s.Forwards, func(a, b ForwardKey) bool { return a.String() < b.String() })
			delete(s.Forwards, k)
			if s.Links["cb000001"].Name != "" && s.Links["cx000001"].Bridge == "cb000001" {
				s.Forwards[ForwardKey{"cb000001", MAC{2, 5, 5}}] = "cx000001"
			}
		case 4:
			if k := pick(t, s.Settings, func(a, b SettingKey) bool { return a.File < b.File }); k != (SettingKey{}) && uplinkValue(k) == "" && (k != forwarding || s.Settings[k] == "1") {
				s.Settings[k] = map[string]string{"0": "1", "1": "0"}[s.Settings[k]]
			}
		case 5:
			for k := range s.Tables {
				delete(s.Tables, k)
			}
		case 6:
			for _, table := range s.Tables {
				for name, set := range table.Sets {
					if name != setOurs && name != setWere && name != mapZones { // what is in there nobody else knows
						delete(set, pick(t, set, less))
					}
				}
			}
		case 7:
			delete(s.Addresses, pick(t, s.Addresses, func(a, b AddressKey) bool { return a.String() < b.String() }))
			if _, ok := s.Links[GatewayLink]; ok {
				s.Addresses[AddressKey{GatewayLink, netip.MustParsePrefix("10.9.9.9/32")}] = true
			}
		case 8:
			if name != "" {
				for l := range s.Links { // the namespace lost its name, and lives on in a socket
					if peer := m.Host.Links[s.Links[l].Peer[min(1, len(s.Links[l].Peer)):]]; peer.Name != "" {
						peer.Peer = ""
						m.Host.Links[peer.Name] = peer
					}
				}
				delete(m.Routers, name)
			}
		case 9:
			for l, x := range m.Host.Links {
				if x.Kind == KindTap {
					m.unplug(m.Host, l)
					x.Bridge, x.Port = "", BridgePort{}
					m.Host.Links[l] = x
				}
			}
		case 10:
			if l := pick(t, s.Links, less); l != "" {
				s.Rates[l], s.Detours[l] = rapid.SampledFrom([]int64{0, 1}).Draw(t, "rate"), ""
			}
			delete(s.Rates, pick(t, s.Rates, less))
			delete(s.Detours, pick(t, s.Detours, less))
		}
		m.ForwardingWasOff = m.ForwardingWasOff || m.Host.Tables[hostKey].Sets[setOurs][elementForwarding]
	}
}

func less(a, b string) bool { return a < b }

func (k ForwardKey) String() string { return k.Bridge + k.MAC.String() }
func (k AddressKey) String() string { return k.Link + k.Address.String() }

// pick draws a key of a map; the zero key when there is none.
func pick[K comparable, V any](t *rapid.T, m map[K]V, less func(a, b K) bool) (zero K) {
	if len(m) == 0 {
		return zero
	}
	keys := slices.Collect(maps.Keys(m))
	slices.SortFunc(keys, func(a, b K) int {
		if less(a, b) {
			return -1
		}
		return 1
	})
	return rapid.SampledFrom(keys).Draw(t, "which")
}

// reaches checks that a plan's ops lead from what there is to what is wanted.
func reaches(t *rapid.T, m *model, want Desired) {
	ops := Plan(want, m.Observed)
	for _, op := range ops {
		for range 2 { // done twice is done once
			if err := m.do(op); err != nil {
				t.Fatalf("%v\nin the plan\n%s", err, lines(ops))
			}
		}
	}
	holds(t, m, want, ops)
}

func holds(t *rapid.T, m *model, want Desired, ops []Op) {
	if rest := Plan(want, m.Observed); len(rest) > 0 {
		t.Fatalf("after the plan there is left\n%s\nthe plan was\n%s", lines(rest), lines(ops))
	}
	w := lay(want, m.Observed).State
	for name, r := range w.Routers {
		same(t, name, m.Routers[name], r)
	}
	if len(m.Routers) != len(w.Routers) {
		t.Fatalf("there are %d routers, not %d", len(m.Routers), len(w.Routers))
	}
	on := map[bool]string{true: "1", false: "0"}[len(want.Networks) > 0]
	if h := m.Host.Settings[forwarding]; h != on {
		t.Fatalf("the host's forwarding is %q, not %q", h, on)
	}
	w.Host.Settings[forwarding] = on
	for k := range UplinkSettings("eth0") {
		if len(w.Host.Proxies) == 0 {
			w.Host.Settings[k] = "80" // as it was
		}
	}
	same(t, "host", m.Host, w.Host)
}

func same(t *rapid.T, name string, have, want Space) {
	for l, w := range want.Links {
		if h := have.Links[l]; !h.is(w) || !h.Up {
			t.Fatalf("%s has link %+v, not %+v", name, h, w)
		}
	}
	if len(have.Links) != len(want.Links) {
		t.Fatalf("%s has %d links, not %d", name, len(have.Links), len(want.Links))
	}
	have.Links, want.Links = nil, nil
	if !reflect.DeepEqual(have, want) {
		t.Fatalf("%s is\n%+v\nand not\n%+v", name, have, want)
	}
}

func lines(ops []Op) (s string) {
	for _, o := range ops {
		s += "  " + o.String() + "\n"
	}
	return s
}

func TestPlan_itsOpsMakeWhatIsWanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel()
		reaches(t, m, desiredStates().Draw(t, "first"))
		damage(t, m)
		reaches(t, m, desiredStates().Draw(t, "second"))
	})
}

func TestPlan_goesOnWhereACrashEndedIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel()
		want := desiredStates().Draw(t, "first")
		reaches(t, m, want)
		damage(t, m)
		second := desiredStates().Draw(t, "second")
		for range 3 {
			ops := Plan(second, m.Observed)
			for _, op := range ops[:rapid.IntRange(0, len(ops)).Draw(t, "done")] {
				if err := m.do(op); err != nil {
					t.Fatal(err)
				}
			}
		}
		reaches(t, m, second)
	})
}

func TestPlan_theSameEveryTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel()
		reaches(t, m, desiredStates().Draw(t, "first"))
		want := desiredStates().Draw(t, "second")
		if a, b := lines(Plan(want, m.Observed)), lines(Plan(want, m.Observed)); a != b {
			t.Fatalf("once the plan is\n%s\nand once\n%s", a, b)
		}
	})
}

// A tap passes packets only while its rules are there, and what leads to it is.
func TestPlan_noTapWithoutItsRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel()
		reaches(t, m, desiredStates().Draw(t, "first"))
		want := desiredStates().Draw(t, "second")
		wanted := lay(want, m.Observed).Host.Links
		for _, op := range Plan(want, m.Observed) {
			switch o := op.(type) {
			case SwitchOn:
				if l := m.Host.Links[o.Name]; o.Namespace == "" && l.Kind == KindTap {
					guarded(t, m, l)
				}
			case RemoveElements:
				if o.TableKey != guardKey {
					break
				}
				for _, e := range o.Elements {
					if _, stays := wanted[tapOf(e)]; !stays && strings.HasPrefix(tapOf(e), "ct") && m.Host.Links[tapOf(e)].Name != "" {
						t.Fatalf("%q comes before the tap's end", op)
					}
				}
			}
			if err := m.do(op); err != nil {
				t.Fatal(err)
			}
			for name, l := range m.Host.Links {
				if _, ok := m.Host.Tables[guardKey]; l.Kind == KindTap && l.Up && !ok {
					t.Fatalf("after %q the tap %s is on without a table", op, name)
				}
			}
		}
	})
}

func guarded(t *rapid.T, m *model, tap Link) {
	sets := m.Host.Tables[guardKey].Sets
	in := func(name string) bool {
		return slices.ContainsFunc(slices.Collect(maps.Keys(sets[name])), func(e string) bool { return tapOf(e) == tap.Name })
	}
	if !in(setMACs) || !in(setPorts) && !in(setPorts6) {
		t.Fatalf("the tap %s is switched on before it is in the sets", tap.Name)
	}
	if tap.Bridge == "" || tap.Port != (BridgePort{}) || m.Host.Settings[SettingKey{"net/ipv6/conf/" + tap.Name + "/disable_ipv6", tap.Name}] != "1" {
		t.Fatalf("the tap %+v is switched on too early", tap)
	}
	for _, to := range m.Host.Forwards {
		if to == tap.Name {
			return
		}
	}
	// Two ports of one MAC are the control plane's mistake: one of them has it.
}
