package agent

import (
	"net/netip"
	"testing"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// A floating IP is where its port is: not before the guest has come, and no
// longer once it has left.
func TestFloating_isInPlaceWhereItsPortIs(t *testing.T) {
	d := testDesired(testInstance("ins_a"), testInstance("ins_b"))
	inside := d.Ports["prt_ins_a"].Addresses[0].Address
	outside := netip.MustParseAddr("203.0.113.20")
	d.Floating["fip_a"] = api.HostFloating{ID: "fip_a", Address: outside, Port: "prt_ins_a", Inside: inside}
	d.Floating["fip_b"] = api.HostFloating{ID: "fip_b", Address: outside.Next(), Port: "prt_ins_a", Inside: netip.MustParseAddr("10.0.0.99")} // that it has no more
	u := testUnderlay
	u.Uplink = "eth0"
	public := func() []network.Public {
		t.Helper()
		n, err := networkDesired(u, d)
		if err != nil || n.Uplink != "eth0" {
			t.Fatal(n.Uplink, err)
		}
		return n.Networks[0].Public
	}
	if got := public(); len(got) != 1 || got[0] != (network.Public{Address: outside, Inside: inside}) {
		t.Errorf("with its port it is %v", got)
	}
	p := d.Ports["prt_ins_a"]
	p.Local, p.Incoming, p.Underlay = false, true, netip.MustParseAddr("192.0.2.2")
	d.Ports[p.ID] = p
	if got := public(); len(got) != 0 {
		t.Errorf("while its port is elsewhere there is %v", got)
	}
}

// The status says what the host has put into place, and only when it has.
func TestFloating_isToldWhenItIsInPlace(t *testing.T) {
	d := testDesired(testInstance("ins_a"))
	a, b := netip.MustParseAddr("203.0.113.20"), netip.MustParseAddr("203.0.113.3")
	d.Floating["fip_a"] = api.HostFloating{ID: "fip_a", Address: a, Port: "prt_ins_a"}
	d.Floating["fip_b"] = api.HostFloating{ID: "fip_b", Address: b, Port: "prt_ins_a"}
	d.Floating["fip_c"] = api.HostFloating{ID: "fip_c", Address: b.Next(), Port: "prt_other"}
	for _, c := range []struct {
		state DomainState
		holds bool
		want  int
	}{{DomainRunning, true, 2}, {DomainRunning, false, 0}, {DomainStopped, true, 0}} {
		have := Observed{Domains: map[string]Domain{"ins_a": {State: c.state}}, NetworkHolds: c.holds}
		s := portStatus(have, d.Ports["prt_ins_a"], floatingIPs(d)["prt_ins_a"], "hst_a")
		if len(s.FloatingIPs) != c.want || c.want == 2 && (s.FloatingIPs[0] != b || s.FloatingIPs[1] != a) {
			t.Errorf("with %+v it says %v", c, s.FloatingIPs)
		}
	}
}

// So it does of limits, which the host's network is made with.
func TestBandwidth_isToldWhenItIsInPlace(t *testing.T) {
	d := testDesired(testInstance("ins_a"))
	p, limit := d.Ports["prt_ins_a"], 5
	p.Bandwidth = &api.Bandwidth{EgressMbps: &limit}
	d.Ports[p.ID] = p
	n, err := networkDesired(testUnderlay, d)
	if err != nil || n.Networks[0].Ports[0].Limits != (network.Limits{FromGuest: 5 * network.Megabit}) {
		t.Errorf("the host's network has %+v (%v)", n.Networks[0].Ports[0].Limits, err)
	}
	for _, holds := range []bool{true, false} {
		have := Observed{Domains: map[string]Domain{"ins_a": {State: DomainRunning}}, NetworkHolds: holds}
		if s := portStatus(have, p, nil, "hst_a"); holds != (s.Bandwidth != nil && *s.Bandwidth.EgressMbps == 5) {
			t.Errorf("it says %+v where the network holds: %t", s.Bandwidth, holds)
		}
	}
}
