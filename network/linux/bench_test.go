package linux

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/cairn-cloud/cairn/network"
)

// full is a host with 50 networks, 5,000 ports elsewhere and 200 here.
func full(h *host) network.Desired {
	d := h.desired()
	id := 0
	for n := range 50 {
		x := blue(uint32(n + 1))
		x.Subnets[0].CIDR = netip.MustParsePrefix("10.0.0.0/16")
		x.Subnets = x.Subnets[:1]
		for i := range 104 {
			id++
			p := network.Port{ID: fmt.Sprintf("prt_%012d", id), MAC: net.HardwareAddr{2, 0, 0, 0, byte(id >> 8), byte(id)}, Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 2, byte(i)})}, Local: i < 4}
			if !p.Local {
				p.Underlay = netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)})
			}
			x.Ports = append(x.Ports, p)
		}
		d.Networks = append(d.Networks, x)
	}
	return d
}

func BenchmarkApply_50Networks5000RemotePorts(b *testing.B) {
	h := newWorld(b).host()
	want := full(h)
	more := full(h)
	more.Networks[7].Ports = append(more.Networks[7].Ports, network.Port{
		ID: "prt_more", MAC: net.HardwareAddr{2, 9, 9, 9, 9, 9}, Addresses: []netip.Addr{netip.MustParseAddr("10.0.3.1")}, Underlay: netip.MustParseAddr("192.0.2.9"),
	})
	apply := func(b *testing.B, d network.Desired) []network.Difference {
		done, err := h.Apply(b.Context(), d)
		if err != nil {
			b.Fatal(err)
		}
		return done
	}
	b.Run("all and nothing", func(b *testing.B) {
		for b.Loop() {
			apply(b, want)
			b.StopTimer()
			apply(b, h.desired())
			b.StartTimer()
		}
	})
	apply(b, want)
	b.Run("nothing to do", func(b *testing.B) {
		for b.Loop() {
			if done := apply(b, want); len(done) > 0 {
				b.Fatalf("it did %q", done)
			}
		}
	})
	both := []network.Desired{more, want}
	b.Run("one port more or less", func(b *testing.B) {
		for b.Loop() {
			if done := apply(b, both[0]); len(done) == 0 || len(done) > 5 {
				b.Fatalf("it did %q", done)
			}
			slices.Reverse(both)
		}
	})
}
