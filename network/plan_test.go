package network

import (
	"flag"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("it is not as in %s (write it anew with -update, and read the difference); now it is\n%s", file, got)
	}
}

// blue is a network with a port here, one elsewhere, and two subnets.
func blue() Desired {
	return Desired{Underlay: netip.MustParseAddr("192.0.2.1"), UnderlayMTU: 1550, Networks: []Network{{
		ID: "net_blue", VNI: 42, MTU: 1500,
		Subnets: []Subnet{
			{ID: "sub_1", CIDR: netip.MustParsePrefix("10.0.1.0/24"), Gateway: netip.MustParseAddr("10.0.1.1")},
			{ID: "sub_2", CIDR: netip.MustParsePrefix("10.0.2.0/24"), Gateway: netip.MustParseAddr("10.0.2.1")},
		},
		Ports: []Port{
			{ID: "prt_aaaaaaaaaaaa", Groups: []string{"sgr_default"}, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Addresses: []netip.Addr{netip.MustParseAddr("10.0.1.10")}, Local: true},
			{ID: "prt_bbbbbbbbbbbb", Groups: []string{"sgr_default"}, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, Addresses: []netip.Addr{netip.MustParseAddr("10.0.2.10")}, Underlay: netip.MustParseAddr("192.0.2.2")},
		},
	}}, Groups: map[string]SecurityGroup{"sgr_default": {Rules: []SecurityRule{
		{Protocols: AllProtocols, Details: AllDetails, Group: "sgr_default"},
		{Egress: true, Protocols: AllProtocols, Details: AllDetails},
	}}}}
}

func TestPlan_golden(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Desired)
	}{
		{"a network", nil},
		{"nothing to do", func(*Desired) {}},
		{"a port more elsewhere", func(d *Desired) {
			d.Networks[0].Ports = append(d.Networks[0].Ports, Port{ID: "prt_cccccccccccc", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 3}, Addresses: []netip.Addr{netip.MustParseAddr("10.0.1.11")}, Underlay: netip.MustParseAddr("192.0.2.3")})
		}},
		{"a port comes here", func(d *Desired) { d.Networks[0].Ports[1].Local = true }},
		{"a port goes elsewhere", func(d *Desired) {
			d.Networks[0].Ports[0].Local, d.Networks[0].Ports[0].Underlay = false, netip.MustParseAddr("192.0.2.2")
		}},
		{"a port is gone", func(d *Desired) { d.Networks[0].Ports = d.Networks[0].Ports[1:] }},
		{"another address", func(d *Desired) { d.Networks[0].Ports[0].Addresses = []netip.Addr{netip.MustParseAddr("10.0.1.12")} }},
		{"an address more", func(d *Desired) {
			for i := range d.Networks[0].Ports {
				p := &d.Networks[0].Ports[i]
				p.Addresses = append(p.Addresses, netip.AddrFrom4([4]byte{10, 0, 1, byte(20 + i)}))
			}
		}},
		{"a subnet of IPv6 more", func(d *Desired) {
			n := &d.Networks[0]
			n.Subnets = append(n.Subnets, Subnet{ID: "sub_6", CIDR: netip.MustParsePrefix("fd00::/64"), Gateway: netip.MustParseAddr("fd00::1")})
			for i := range n.Ports {
				n.Ports[i].Addresses = append(n.Ports[i].Addresses, EUI64(n.Subnets[2].CIDR, n.Ports[i].MAC))
			}
		}},
		{"another group", func(d *Desired) {
			d.Networks[0].Ports[0].Groups = []string{"sgr_default", "sgr_web"}
			d.Groups["sgr_web"] = SecurityGroup{Rules: []SecurityRule{{Protocols: Range{6, 6}, Details: Range{80, 80}}}}
		}},
		{"a rule less", func(d *Desired) { d.Groups["sgr_default"] = SecurityGroup{Rules: d.Groups["sgr_default"].Rules[1:]} }},
		{"another MTU", func(d *Desired) { d.Networks[0].MTU = 1400 }},
		{"another underlay", func(d *Desired) { d.Underlay = netip.MustParseAddr("192.0.2.9") }},
		{"a subnet less", func(d *Desired) { d.Networks[0].Subnets = d.Networks[0].Subnets[:1] }},
		{"no network", func(d *Desired) { *d = Desired{} }},
	} {
		m, want := newModel(), blue()
		if c.change != nil {
			for _, op := range Plan(want, m.Observed) {
				if err := m.do(op); err != nil {
					t.Fatal(err)
				}
			}
			c.change(&want)
		}
		golden(t, strings.ReplaceAll(c.name, " ", "-"), lines(Plan(want, m.Observed)))
	}
}

// The rules, as nft lists them.
func TestTables_golden(t *testing.T) {
	l := lay(blue(), Observed{State: State{Host: NewSpace()}})
	golden(t, "rules", l.tables[""][guardKey].String()+l.tables[""][hostKey].String()+l.tables[Namespace(42)][routerKey].String())
}

// What a tenant asks for must not become an entry that means something else.
func TestPlan_leavesOutPortsThatCannotBe(t *testing.T) {
	for name, spoil := range map[string]func(*Port){
		"the MAC that stands for all":     func(p *Port) { p.MAC = make(net.HardwareAddr, 6) },
		"a MAC of many":                   func(p *Port) { p.MAC = net.HardwareAddr{1, 0, 0x5e, 0, 0, 1} },
		"everybody's MAC":                 func(p *Port) { p.MAC = net.HardwareAddr{255, 255, 255, 255, 255, 255} },
		"the gateway's MAC":               func(p *Port) { p.MAC = GatewayMAC() },
		"a MAC of eight bytes":            func(p *Port) { p.MAC = net.HardwareAddr{2, 0, 0, 0, 0, 0, 0, 1} },
		"no MAC":                          func(p *Port) { p.MAC = nil },
		"the gateway's address":           func(p *Port) { p.Addresses = []netip.Addr{netip.MustParseAddr("10.0.1.1")} },
		"another subnet's gateway":        func(p *Port) { p.Addresses = []netip.Addr{netip.MustParseAddr("10.0.2.1")} },
		"an address of no subnet":         func(p *Port) { p.Addresses = []netip.Addr{netip.MustParseAddr("10.0.3.1")} },
		"the metadata service's address":  func(p *Port) { p.Addresses = []netip.Addr{MetadataAddress()} },
		"no address":                      func(p *Port) { p.Addresses = nil },
		"an IPv6 address":                 func(p *Port) { p.Addresses = []netip.Addr{netip.MustParseAddr("fd00::1")} },
		"an IPv4 address in IPv6's dress": func(p *Port) { p.Addresses = []netip.Addr{netip.MustParseAddr("::ffff:10.0.1.10")} },
	} {
		for _, port := range []int{0, 1} {
			want, without := blue(), blue()
			spoil(&want.Networks[0].Ports[port])
			without.Networks[0].Ports = slices.Delete(without.Networks[0].Ports, port, port+1)
			if got, expect := lines(Plan(want, newModel().Observed)), lines(Plan(without, newModel().Observed)); got != expect {
				t.Errorf("%s: the plan is\n%s", name, got)
			}
		}
	}
	// Of a port that can be had, the addresses that it cannot have are left out.
	some := blue()
	for i := range some.Networks[0].Ports {
		p := &some.Networks[0].Ports[i]
		p.Addresses = append(p.Addresses, netip.MustParseAddr("10.0.1.1"), netip.MustParseAddr("10.0.3.1"), netip.Addr{}, netip.IPv4Unspecified())
	}
	if got, expect := lines(Plan(some, newModel().Observed)), lines(Plan(blue(), newModel().Observed)); got != expect {
		t.Errorf("addresses that cannot be had make the plan\n%s", got)
	}
	want := blue()
	want.Networks[0].Ports[1].Underlay = netip.Addr{}
	if plan := lines(Plan(want, newModel().Observed)); strings.Contains(plan, "02:00:00:00:00:02") {
		t.Errorf("a port without a host is planned:\n%s", plan)
	}
}

func TestPlan_giveTransitLinksThatStay(t *testing.T) {
	network := func(vni uint32) Network { return Network{VNI: vni, MTU: 1500} }
	at := func(cable, address string) AddressKey { return AddressKey{cable, netip.MustParsePrefix(address)} }
	for _, c := range []struct {
		name  string
		vnis  []uint32
		have  []AddressKey
		taken []string
		want  map[uint32]transit
	}{
		{"the lowest", []uint32{1, 2, 3}, nil, nil, map[uint32]transit{1: 0, 2: 1, 3: 2}},
		{"what one has", []uint32{1, 2}, []AddressKey{at("cu000002", "198.18.0.0/31")}, nil, map[uint32]transit{1: 1, 2: 0}},
		{"the lowest that is free", []uint32{1, 2, 3}, []AddressKey{at("cu000001", "198.18.0.4/31")}, nil, map[uint32]transit{1: 2, 2: 0, 3: 1}},
		{"two that have the same", []uint32{1, 2}, []AddressKey{at("cu000001", "198.18.0.6/31"), at("cu000002", "198.18.0.6/31")}, nil, map[uint32]transit{1: 3, 2: 0}},
		{"the router's end", []uint32{1}, []AddressKey{at("cu000001", "198.18.0.7/31")}, nil, map[uint32]transit{1: 0}},
		{"another length", []uint32{1}, []AddressKey{at("cu000001", "198.18.0.6/30")}, nil, map[uint32]transit{1: 0}},
		{"not the range", []uint32{1}, []AddressKey{at("cu000001", "10.0.0.6/31")}, nil, map[uint32]transit{1: 0}},
		{"what others have", []uint32{1, 2}, nil, []string{"198.18.0.1/32", "198.18.0.4/30"}, map[uint32]transit{1: 1, 2: 4}},
		{"what others came to have", []uint32{1}, []AddressKey{at("cu000001", "198.18.0.0/31")}, []string{"198.18.0.0/24"}, map[uint32]transit{1: 128}},
		{"nothing is free", []uint32{1}, nil, []string{"198.18.0.0/17", "198.18.128.0/17"}, map[uint32]transit{}},
	} {
		have := newModel().Observed
		for _, a := range c.have {
			have.Host.Links[a.Link] = Link{Name: a.Link, Kind: KindCable}
			have.Host.Addresses[a] = true
		}
		for _, p := range c.taken {
			have.Taken = append(have.Taken, netip.MustParsePrefix(p))
		}
		var networks []Network
		for _, vni := range c.vnis {
			networks = append(networks, network(vni))
		}
		got := allocateTransits(networks, have)
		for _, vni := range c.vnis {
			if g, ok := got[vni]; ok != (len(c.want) > 0) || g != c.want[vni] {
				t.Errorf("%s: network %d has link %d (%v), not %d", c.name, vni, g, ok, c.want[vni])
			}
		}
	}
}

func TestNames_tellWhatIsOurs(t *testing.T) {
	for _, c := range []struct {
		name, alias string
		group       uint32
		ours        bool
	}{
		{"cb00002a", Mark, 0, true},
		{"cx00002a", Mark, Group, true},
		{"cuffffff", "", Group, true},
		{"ctaaaaaaaaaaaa", Mark, 0, true},
		{"cb00002a", "", 0, false},
		{"cb00002a", "mine", Group, false},
		{"cb00002a", "cairn lab x", 0, false},
		{"cbridge0", Mark, 0, false},
		{"cb00002", Mark, 0, false},
		{"cb+0002a", Mark, 0, false},
		{"cl-lab", Mark, 0, false},
		{"eth0", Mark, Group, false},
	} {
		if got := OwnedLink(c.name, c.alias, c.group); got != c.ours {
			t.Errorf("%s with alias %q and group %d is ours: %v", c.name, c.alias, c.group, got)
		}
	}
	for name, ours := range map[string]bool{"cairn-00002a": true, "cairn-00002A": false, "cairn-2a": false, "cairn-lab": false, "other": false, "cairn-00002a1": false} {
		if OwnedNamespace(name) != ours {
			t.Errorf("the namespace %s is ours: %v", name, !ours)
		}
	}
	for _, name := range []string{Bridge(0xffffff), VXLAN(0xffffff), GatewayCable(0xffffff), UplinkCable(0xffffff), Tap("prt_01234567890123456789")} {
		if len(name) > 15 || !OwnedLink(name, Mark, 0) {
			t.Errorf("the name %s is too long or not ours", name)
		}
	}
}

// The API keeps tenants from the MAC that we give to gateways.
func TestGatewayMAC_isTheOneThatTheAPIKeeps(t *testing.T) {
	if GatewayMAC().String() != api.GatewayMAC {
		t.Errorf("it is %s here and %s there", GatewayMAC(), api.GatewayMAC)
	}
}

func TestSummary_countsWhatIsMany(t *testing.T) {
	var ops []Op
	for i := range byte(9) {
		ops = append(ops, PutTunnel{Of{}, TunnelKey{"cx00002a", MAC{2, i}}, netip.MustParseAddr("192.0.2.2")})
	}
	ops = append(ops, SwitchOn{Of{}, "cx00002a"}, SwitchOn{Of{}, "cb00002a"})
	want := []string{"host: tunnel 02:00:00:00:00:00 to 192.0.2.2 by cx00002a", "… and 8 more like it", "host: switch on cx00002a", "host: switch on cb00002a"}
	if got := Summary(ops); !slices.Equal(got, want) {
		t.Errorf("it says %q", got)
	}
}

// A closed network takes no transit link, loses the one that it had, and has the
// tables of any other.
func TestPlan_aClosedNetworkHasNoWayOut(t *testing.T) {
	want := blue()
	want.Networks[0].Closed = true
	other := blue().Networks[0]
	other.VNI, other.Ports = 43, nil
	want.Networks = append(want.Networks, other)
	l := lay(want, Observed{State: lay(blue(), Observed{State: State{Host: NewSpace()}}).State})
	if _, ok := l.Host.Links[UplinkCable(42)]; ok {
		t.Error("it has a cable to the host")
	}
	if !l.Host.Addresses[AddressKey{UplinkCable(43), transit(0).host()}] {
		t.Errorf("the other network has not the first transit link: %v", l.Host.Addresses)
	}
	shut, open := l.Routers[Namespace(42)], l.Routers[Namespace(43)]
	if len(shut.Routes) != 0 || len(open.Routes) != 1 {
		t.Errorf("routes %v, and %v of the other", shut.Routes, open.Routes)
	}
	if a, b := shut.Tables[routerKey], open.Tables[routerKey]; !reflect.DeepEqual(a, b) {
		t.Errorf("its router's table is %v, and not %v", a, b)
	}
}
