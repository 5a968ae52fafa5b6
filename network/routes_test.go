package network

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// What a route gives to a port is what of it is foreign to the network, all of it.
func TestRoutes_foreignIsTheRestOfARange(t *testing.T) {
	n := Network{Subnets: []Subnet{{CIDR: netip.MustParsePrefix("10.0.0.0/24")}, {CIDR: netip.MustParsePrefix("172.20.0.0/16")}, {CIDR: netip.MustParsePrefix("fd00::/64")}}}
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.IntRange(0, 32).Draw(t, "bits")
		b := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address")
		a, _ := netip.AddrFromSlice(b)
		to := netip.PrefixFrom(a, bits).Masked()
		parts := foreign(to, n)
		probe, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "probe"))
		own := func(a netip.Addr) bool {
			in := func(p netip.Prefix) bool { return p.Contains(a) }
			return in(n.Subnets[0].CIDR) || in(n.Subnets[1].CIDR) || slices.ContainsFunc(notRouted, in)
		}
		for _, x := range []netip.Addr{probe, to.Addr(), netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("10.0.1.7"), netip.MustParseAddr("169.254.169.254")} {
			times := 0
			for _, p := range parts {
				if p.Contains(x) {
					times++
				}
			}
			if want := to.Contains(x) && !own(x); (times == 1) != want || times > 1 {
				t.Fatalf("%s is %d times in what %s comes to: %v", x, times, to, parts)
			}
		}
	})
}

func TestRoutes_thatCannotBeHad(t *testing.T) {
	via := netip.MustParseAddr("10.0.1.10")
	for to, want := range map[string]int{
		"172.16.0.0/12": 1, "10.0.3.0/24": 1,
		"0.0.0.0/0": 0, "10.0.1.0/25": 0, "10.0.0.0/8": 0, "169.254.169.254/32": 0, "198.18.0.0/31": 0, "224.0.0.0/4": 0, "fd12::/48": 0,
	} {
		n := blue().Networks[0]
		n.Routes = []StaticRoute{{netip.MustParsePrefix(to), via}, {netip.MustParsePrefix(to), via}}
		if got := n.routes(); len(got) != want {
			t.Errorf("%s comes to %v", to, got)
		}
	}
	n := blue().Networks[0]
	n.Routes = []StaticRoute{{netip.MustParsePrefix("172.16.0.0/12"), netip.MustParseAddr("10.0.1.1")}, {netip.MustParsePrefix("172.16.0.0/12"), netip.MustParseAddr("192.0.2.1")}}
	if got := n.routes(); len(got) != 0 {
		t.Errorf("by the gateway and by who is outside: %v", got)
	}
	n.Closed, n.Routes = true, []StaticRoute{{netip.MustParsePrefix("0.0.0.0/0"), via}}
	if got := n.routes(); len(got) != 1 {
		t.Error("a closed network has no way out by a port")
	}
}
