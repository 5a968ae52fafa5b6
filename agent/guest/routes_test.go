package guest

import (
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/mdlayher/ndp"

	"github.com/cairn-cloud/cairn/api"
)

// withRoutes has static routes in all networks.
func withRoutes(d api.HostDesired) api.HostDesired {
	for id, n := range d.Networks {
		n.Routes = []api.Route{
			{Destination: netip.MustParsePrefix("172.16.0.0/12"), Via: addr("10.20.1.5")},
			{Destination: netip.MustParsePrefix("fd12::/48"), Via: addr("fd00:0:0:6::5")},
		}
		d.Networks[id] = n
	}
	return d
}

func TestRoutes_guestsHearOfStaticOnes(t *testing.T) {
	m := hw(macB)
	q := query(dhcpv4.MessageTypeDiscover, dhcpv4.WithHwAddr(m[:]))
	a, _ := answerDHCP(viewOf(t, withRoutes(twoNICs()), 2), m, q.ToBytes())
	if got, want := dhcpv4.Routes(a.ClasslessStaticRoute()).String(), "route to 10.20.2.0/26 via 10.20.1.1; route to 172.16.0.0/12 via 10.20.1.1"; got != want {
		t.Errorf("DHCP says %q, want %q", got, want)
	}
	n := viewOf(t, withRoutes(dualStack()), 1).byMAC[hw(macA)]
	said := 0
	for _, o := range raOf(t, n).Options {
		if r, ok := o.(*ndp.RouteInformation); ok && r.Prefix == addr("fd12::") && r.PrefixLength == 48 {
			said++
		}
	}
	if said != 1 {
		t.Errorf("the router advertisement says it %d times", said)
	}
	for _, r := range n.routes {
		if r.to == netip.MustParsePrefix("fd12::/48") {
			said++
		}
	}
	if said != 2 {
		t.Errorf("cloud-init is told %v", n.routes)
	}
}
