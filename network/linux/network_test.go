package linux

import (
	"net"
	"net/netip"
	"slices"
	"strings"
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

// What it says is there is what is wanted, word for word, until another hand changes it.
func TestLook_saysWhatThereIs(t *testing.T) {
	w := newWorld(t)
	h := w.host()
	n := dual(wide(42, h, w.host()))
	n.Ports[0].Limits = network.Limits{ToGuest: network.Megabit, FromGuest: network.Megabit}
	n.Public = []network.Public{{Address: netip.MustParseAddr("203.0.113.20"), Inside: n.Ports[0].Addresses[0]}}
	n.Routes = []network.StaticRoute{{To: netip.MustParsePrefix("172.16.0.0/12"), Via: n.Ports[0].Addresses[0]}}
	h.apply(n)
	r, err := h.Look(t.Context())
	if err != nil || len(r.Drift) > 0 || len(r.Actual) == 0 {
		t.Errorf("it differs in %+v (%v)", r.Drift, err)
	}
	only := func(a, b []string) []string {
		return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
	}
	if more, less := only(r.Actual, r.Desired), only(r.Desired, r.Actual); len(more)+len(less) > 0 {
		t.Errorf("there is %q and not %q", more, less)
	}
	run(t, h.Network.host.ns, "sh", "-c", "ip link set cx00002a mtu 1300; nft insert rule inet cairn forward accept")
	if r, err = h.Look(t.Context()); err != nil || len(r.Drift) != 3 { // the bridge follows
		t.Errorf("it differs in %+v (%v)", r.Drift, err)
	}
	more := strings.Join(only(r.Actual, r.Desired), "\n")
	for _, s := range []string{"host: link cx00002a: vxlan mtu 1300", "chain forward rule 01: one that is not Cairn's"} {
		if !strings.Contains(more, s) {
			t.Errorf("it does not say %q but\n%s", s, more)
		}
	}
}
