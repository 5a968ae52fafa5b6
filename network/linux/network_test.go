package linux

import (
	"net"
	"net/netip"
	"testing"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/network"
)

var _ agent.Network = (*Network)(nil)

// blue is a network of two subnets, seen from the host with that address.
func blue(vni uint32, ports ...network.Port) network.Network {
	return network.Network{ID: "net_blue", VNI: vni, MTU: 1500, Ports: ports, Subnets: []network.Subnet{
		{ID: "sub_1", CIDR: netip.MustParsePrefix("10.0.1.0/24"), Gateway: netip.MustParseAddr("10.0.1.1")},
		{ID: "sub_2", CIDR: netip.MustParsePrefix("10.0.2.0/24"), Gateway: netip.MustParseAddr("10.0.2.1")},
	}}
}

// openGroup allows everything.
const openGroup = "sgr_open"

var openRules = []network.SecurityRule{
	{Protocols: network.AllProtocols, Details: network.AllDetails},
	{Egress: true, Protocols: network.AllProtocols, Details: network.AllDetails},
}

func nic(id string, last byte, address string, host *host, at *host) network.Port {
	p := network.Port{ID: "prt_" + id, MAC: net.HardwareAddr{2, 0, 0, 0, 0, last}, Addresses: []netip.Addr{netip.MustParseAddr(address)}, Groups: []string{openGroup}, Local: host == at}
	if host != at {
		p.Underlay = at.address
	}
	return p
}

func TestApply_twiceDoesNothingTheSecondTime(t *testing.T) {
	w := newWorld(t)
	h := w.host()
	want := h.desired(wide(42, h, w.host()))
	if found, err := h.Apply(t.Context(), want); err != nil || len(found) == 0 {
		t.Fatalf("it found %v (%v)", found, err)
	}
	if found, err := h.Apply(t.Context(), want); err != nil || len(found) > 0 {
		t.Fatalf("the second time it found %v (%v)", found, err)
	}
}
