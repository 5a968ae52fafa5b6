package linux

import (
	"net"
	"net/netip"
	"testing"

	"github.com/cairn-cloud/cairn/network"
)

// blue is a network of two subnets, seen from the host with that address.
func blue(vni uint32, ports ...network.Port) network.Network {
	return network.Network{ID: "net_blue", VNI: vni, MTU: 1500, Ports: ports, Subnets: []network.Subnet{
		{ID: "sub_1", CIDR: netip.MustParsePrefix("10.0.1.0/24"), Gateway: netip.MustParseAddr("10.0.1.1")},
		{ID: "sub_2", CIDR: netip.MustParsePrefix("10.0.2.0/24"), Gateway: netip.MustParseAddr("10.0.2.1")},
	}}
}

func nic(id string, last byte, address string, host *host, at *host) network.Port {
	p := network.Port{ID: "prt_" + id, MAC: net.HardwareAddr{2, 0, 0, 0, 0, last}, Address: netip.MustParseAddr(address), Local: host == at}
	if host != at {
		p.Underlay = at.address
	}
	return p
}

func TestApply_twiceDoesNothingTheSecondTime(t *testing.T) {
	w := newWorld(t)
	a, b := w.host(), w.host()
	n := blue(42, nic("aaaaaaaaaaaa", 1, "10.0.1.10", a, a), nic("bbbbbbbbbbbb", 2, "10.0.1.11", a, b))
	done, err := a.Apply(t.Context(), a.desired(n))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range done {
		t.Log(d)
	}
	done, err = a.Apply(t.Context(), a.desired(n))
	if err != nil || len(done) > 0 {
		t.Fatalf("the second time did %q (%v)", done, err)
	}
	if done, err = a.Apply(t.Context(), network.Desired{}); err != nil {
		t.Fatal(err)
	}
	for _, d := range done {
		t.Log(d)
	}
}
