package controller

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

// port makes a port, and returns its addresses.
func (c *cloud) port(name string, s api.PortSpec) []api.PortAddress {
	c.Helper()
	p := &api.Port{}
	p.Name, p.Spec = name, s
	return c.create(p).(*api.Port).Spec.Addresses
}

func TestPort_getsTheAddressesThatItAsksFor(t *testing.T) {
	c := newCloud(t)
	back := c.subnet("back", "10.0.1.0/24")
	if got := c.port("any", api.PortSpec{Network: "net"}); len(got) != 1 || got[0].Subnet != back {
		t.Errorf("of a network of one family it got %v", got)
	}
	front := c.subnet("front", "10.0.0.0/29")
	in := func(subnet string, a api.PortAddress) {
		t.Helper()
		cidr := map[string]netip.Prefix{front: netip.MustParsePrefix("10.0.0.0/29"), back: netip.MustParsePrefix("10.0.1.0/24")}[subnet]
		if a.Subnet != subnet || !cidr.Contains(a.Address) {
			t.Errorf("it got %+v, not one of %s", a, subnet)
		}
	}
	got := c.port("two", api.PortSpec{Addresses: []api.PortAddress{{Subnet: "back"}, {Subnet: "back"}}})
	if len(got) != 2 || got[0].Address == got[1].Address {
		t.Fatalf("it got %v", got)
	}
	in(back, got[0])
	in(back, got[1])

	// What is named is not given away to the one before it: the subnet is used up.
	c.port("last", api.PortSpec{Network: "net", Addresses: at("10.0.0.6")})
	got = c.port("mixed", api.PortSpec{Network: "net", Addresses: []api.PortAddress{
		{Subnet: "front"}, {Subnet: "front"}, {Address: netip.MustParseAddr("10.0.0.4")}, {Address: netip.MustParseAddr("10.0.1.77")},
	}})
	in(front, got[0])
	in(front, got[1])
	if got[2] != (api.PortAddress{Subnet: front, Address: netip.MustParseAddr("10.0.0.4")}) || got[3] != (api.PortAddress{Subnet: back, Address: netip.MustParseAddr("10.0.1.77")}) {
		t.Errorf("it got %v", got)
	}

	none := &api.Port{}
	none.Name, none.Spec.Addresses = "none", []api.PortAddress{{Subnet: "back"}, {Subnet: "front"}, {Subnet: "front"}}
	_, err := c.try(c.write(), none)
	refused(t, err, 409, "subnet_exhausted", "spec.addresses[2].subnet")
}

func TestInstance_attachesAPortByWhatItHas(t *testing.T) {
	c := newCloud(t)
	c.subnet("front", "10.0.0.0/24")
	c.subnet("back", "10.0.1.0/24")
	c.port("p", api.PortSpec{Addresses: []api.PortAddress{{Subnet: "front", Address: netip.MustParseAddr("10.0.0.5")}, {Subnet: "back", Address: netip.MustParseAddr("10.0.1.5")}}})
	nic := func(as ...api.PortAddress) *api.Instance {
		i := instance("i")
		i.Spec.NICs = []api.NIC{{Port: "p", Network: "net", Addresses: as}}
		return i
	}
	for _, as := range [][]api.PortAddress{at("10.0.0.5", "10.0.0.6"), {{Subnet: "front"}, {Subnet: "front", Address: netip.MustParseAddr("10.0.1.5")}}, {{Subnet: "front"}, {Subnet: "elsewhere"}}} {
		_, err := c.try(c.write(), nic(as...))
		refused(t, err, 422, "invalid_value", "spec.nics[0].addresses[1]")
	}
	i := c.create(nic(api.PortAddress{Subnet: "back"}, api.PortAddress{Address: netip.MustParseAddr("10.0.0.5")})).(*api.Instance)
	if got := i.Spec.NICs[0].Addresses; len(got) != 2 || got[0].Address.String() != "10.0.0.5" {
		t.Errorf("the instance says %v", got)
	}
}

func TestPort_getsTheIPv6AddressOfItsMAC(t *testing.T) {
	c := newCloud(t)
	four, six := c.subnet("four", "10.0.0.0/24"), c.subnet("six", "fd00:0:0:1::/64")
	const made = "fd00::1:16:3eff:fe4a:5b6c" // as RFC 4291, appendix A, has it
	got := c.port("both", api.PortSpec{Network: "net", MAC: "02:16:3e:4a:5b:6c"})
	if len(got) != 2 || got[0].Subnet != four || got[1] != (api.PortAddress{Subnet: six, Address: netip.MustParseAddr(made)}) {
		t.Errorf("it got %v, want one of each family, and of IPv6 %s", got, made)
	}
	got = c.port("more", api.PortSpec{Addresses: []api.PortAddress{{Subnet: "four"}, {Subnet: "six"}, {Subnet: "six"}, {Address: netip.MustParseAddr("fd00::1:ffff:ffff:ffff:ffff")}}})
	if got[1].Address == got[2].Address || !netip.MustParsePrefix("fd00:0:0:1::/64").Contains(got[2].Address) || got[3].Subnet != six {
		t.Errorf("it got %v", got)
	}

	// An address that somebody took by hand is not given twice.
	c.port("thief", api.PortSpec{Network: "net", Addresses: []api.PortAddress{{Subnet: "four"}, {Address: netip.MustParseAddr("fd00::1:16:3eff:fe00:1")}}})
	got = c.port("robbed", api.PortSpec{Network: "net", MAC: "02:16:3e:00:00:01"})
	if got[1].Subnet != six || got[1].Address == netip.MustParseAddr("fd00::1:16:3eff:fe00:1") {
		t.Errorf("it got %v, whose second address is another's", got)
	}

	for address, why := range map[string]string{"fd00:0:0:1::": "the network's", "fd00:0:0:1::1": "the gateway"} {
		p := &api.Port{}
		p.Name, p.Spec.Network, p.Spec.Addresses = "kept", "net", []api.PortAddress{{Subnet: "four"}, {Address: netip.MustParseAddr(address)}}
		_, err := c.try(c.write(), p)
		refused(t, err, 422, "invalid_value", "spec.addresses[1].address")
		if !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want that it is %s", address, err, why)
		}
	}
	p := &api.Port{}
	p.Name, p.Spec.Addresses = "six-only", []api.PortAddress{{Subnet: "six"}}
	_, err := c.try(c.write(), p)
	refused(t, err, 422, "invalid_value", "spec.addresses")
}

func TestSubnet_ofIPv6OverlapsItsOwnKindOnly(t *testing.T) {
	c := newCloud(t)
	c.subnet("four", "10.0.0.0/24")
	c.subnet("six", "fd00:0:0:1::/64")
	c.subnet("beside", "fd00:0:0:2::/64")
	s := &api.Subnet{}
	s.Name, s.Spec = "twice", api.SubnetSpec{Network: "net", CIDR: netip.MustParsePrefix("fd00:0:0:1::/64")}
	_, err := c.try(c.write(), s)
	refused(t, err, 409, "subnet_overlap", "spec.cidr")
}
