package network

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
)

// full is a host with 50 networks, and that many ports elsewhere and here.
func full(remote, local int) Desired {
	const networks = 50
	d := Desired{Underlay: netip.MustParseAddr("192.0.2.1"), UnderlayMTU: 1550}
	id := 0
	for n := range networks {
		x := Network{ID: fmt.Sprint("net_", n), VNI: uint32(n + 1), MTU: 1500, Subnets: []Subnet{
			{ID: "sub_1", CIDR: netip.MustParsePrefix("10.0.0.0/16"), Gateway: netip.MustParseAddr("10.0.0.1")},
		}}
		for i := range (remote + local) / networks {
			id++
			p := Port{ID: fmt.Sprintf("prt_%012d", id), MAC: net.HardwareAddr{2, 0, byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}, Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i>>8) + 1, byte(i)})}}
			if p.Local = i < local/networks; !p.Local {
				p.Underlay = netip.AddrFrom4([4]byte{192, 0, 3, byte(i)})
			}
			x.Ports = append(x.Ports, p)
		}
		d.Networks = append(d.Networks, x)
	}
	return d
}

func BenchmarkPlan_10000Ports(b *testing.B) {
	const ports = 10_000
	want := full(ports-200, 200)
	empty := newModel()
	whole := newModel()
	for _, op := range Plan(want, whole.Observed) {
		if err := whole.do(op); err != nil {
			b.Fatal(err)
		}
	}
	more := full(ports-200, 200)
	more.Networks[7].Ports = append(more.Networks[7].Ports, Port{
		ID: "prt_more", MAC: net.HardwareAddr{2, 9, 9, 9, 9, 9}, Addresses: []netip.Addr{netip.MustParseAddr("10.0.200.1")}, Underlay: netip.MustParseAddr("192.0.3.9"),
	})
	for _, c := range []struct {
		name string
		want Desired
		have Observed
		ops  func(int) bool
	}{
		{"from nothing", want, empty.Observed, func(n int) bool { return n > 3*ports }},
		{"nothing to do", want, whole.Observed, func(n int) bool { return n == 0 }},
		{"one port more", more, whole.Observed, func(n int) bool { return n == 4 }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if n := len(Plan(c.want, c.have)); !c.ops(n) {
					b.Fatalf("the plan has %d operations", n)
				}
			}
		})
	}
}
