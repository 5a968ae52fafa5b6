package controller

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

// Ports get addresses of the subnet's ranges, and whoever asks for one of another
// gets it; nobody gets a reserved one. What a port has it keeps.
func TestSubnet_rangesAndReservedAddresses(t *testing.T) {
	c := newCloud(t)
	n := &api.Network{}
	n.Name = "lan"
	c.create(n)
	s := subnetOf("lan", "10.0.0.0/24")
	s.Spec.Ranges, s.Spec.Reserved = []string{"10.0.0.254/31", "10.0.0.0/30", "10.0.0.9"}, []string{"10.0.0.3", "10.0.0.64/26"}
	s = c.create(s).(*api.Subnet)
	port := func(name, address string) (string, error) {
		p := &api.Port{}
		p.Name, p.Spec = name, api.PortSpec{Network: "lan"}
		if address != "" {
			p.Spec.Addresses = []api.PortAddress{{Address: netip.MustParseAddr(address)}}
		}
		o, err := c.try(c.write(), p)
		if err != nil {
			return "", err
		}
		return o.Object.(*api.Port).Spec.Addresses[0].Address.String(), nil
	}
	var got []string
	for _, name := range []string{"a", "b", "c"} { // without the network's, the gateway's, the broadcast and the reserved one
		a, err := port(name, "")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, a)
	}
	if slices.Sort(got); !slices.Equal(got, []string{"10.0.0.2", "10.0.0.254", "10.0.0.9"}) {
		t.Errorf("ports get %q", got)
	}
	_, err := port("d", "")
	refused(t, err, 409, "subnet_exhausted", "spec.network")
	if a, err := port("e", "10.0.0.40"); err != nil || a != "10.0.0.40" {
		t.Errorf("who asks gets %q (%v)", a, err)
	}
	for _, a := range []string{"10.0.0.3", "10.0.0.64", "10.0.0.127"} {
		_, err = port("f", a)
		refused(t, err, 422, "invalid_value", "spec.addresses[0].address")
	}
	if _, err := c.update(api.KindSubnet, s.ID, func(o api.Object) {
		o.(*api.Subnet).Spec.Ranges, o.(*api.Subnet).Spec.Reserved = []string{"10.0.0.64/32"}, []string{"10.0.0.40"}
	}); err != nil {
		t.Fatal(err)
	}
	if a, err := port("g", ""); err != nil || a != "10.0.0.64" {
		t.Errorf("after the change there is %q (%v)", a, err)
	}
}
