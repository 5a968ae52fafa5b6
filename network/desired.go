package network

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/cairn-cloud/cairn/api"
)

// vxlanOverhead is what a tunnel adds to a guest's packet, in bytes: the outer
// IPv4, UDP and VXLAN headers, and the guest's Ethernet header.
const vxlanOverhead = 20 + 8 + 8 + 14

// FromHost turns what the control plane says of networks and ports into what the
// host's network is to be. mtu is of the interface that holds the underlay address. A port that cannot be understood is left
// out and named in the error; the rest holds.
func FromHost(underlay netip.Addr, mtu int, want api.HostDesired) (Desired, error) {
	d := Desired{Underlay: underlay, UnderlayMTU: mtu, Groups: map[string]SecurityGroup{}}
	for id, g := range want.Groups {
		d.Groups[id] = securityGroup(g)
	}
	ports := map[string][]Port{}
	var bad []string
	for _, p := range want.Ports {
		mac, err := net.ParseMAC(p.MAC)
		if err != nil || len(p.Addresses) == 0 || !p.Local && !p.Underlay.IsValid() {
			bad = append(bad, p.ID)
			continue
		}
		q := Port{ID: p.ID, MAC: mac, Local: p.Local, Also: p.Also, Instance: p.Instance, Hostname: p.Hostname, Groups: p.Groups}
		for _, a := range p.Addresses {
			q.Addresses = append(q.Addresses, a.Address)
		}
		if !p.Local {
			q.Underlay, q.Tap = p.Underlay, p.Incoming
			q.Leaving = p.Incoming && want.Instances[p.Instance].Outgoing != nil
		}
		if b := p.Bandwidth; b != nil {
			q.Limits = Limits{ToGuest: rate(b.IngressMbps), FromGuest: rate(b.EgressMbps)}
		}
		ports[p.Network] = append(ports[p.Network], q)
	}
	public := publicOf(want)
	for _, n := range want.Networks {
		ps := ports[n.ID]
		slices.SortFunc(ps, func(a, b Port) int { return strings.Compare(a.ID, b.ID) })
		d.Networks = append(d.Networks, Network{ID: n.ID, VNI: n.VNI, MTU: GuestMTU(mtu, n.MTU), Subnets: subnets(n), Ports: ps, Public: public[n.ID], Closed: n.Egress == api.EgressNone, Routes: routes(n)})
	}
	slices.SortFunc(d.Networks, func(a, b Network) int { return int(a.VNI) - int(b.VNI) })
	if len(bad) > 0 {
		slices.Sort(bad)
		return d, fmt.Errorf("ports %s lack a MAC, an address or the address of their host", strings.Join(bad, ", "))
	}
	return d, nil
}

func rate(mbps *int) int64 {
	if mbps == nil {
		return 0
	}
	return int64(*mbps) * Megabit
}

// publicOf are the public addresses of local ports, by network.
func publicOf(want api.HostDesired) map[string][]Public {
	out := map[string][]Public{}
	for _, id := range slices.Sorted(maps.Keys(want.Floating)) {
		f := want.Floating[id]
		p := want.Ports[f.Port]
		if p.Local && slices.ContainsFunc(p.Addresses, func(a api.PortAddress) bool { return a.Address == f.Inside }) {
			out[p.Network] = append(out[p.Network], Public{f.Address, f.Inside})
		}
	}
	return out
}

func subnets(n api.HostNetwork) []Subnet {
	var out []Subnet
	for id, s := range n.Subnets {
		out = append(out, Subnet{ID: id, CIDR: s.CIDR, Gateway: s.Gateway, DNSServers: s.DNSServers})
	}
	slices.SortFunc(out, func(a, b Subnet) int { return strings.Compare(a.ID, b.ID) })
	return out
}

func securityGroup(g api.HostGroup) (out SecurityGroup) {
	for _, r := range g.Rules {
		x := SecurityRule{Egress: r.Direction == api.Egress, Protocols: AllProtocols, Details: AllDetails, CIDR: r.CIDR, Group: r.Group}
		if n, one := r.ProtocolNumber(); one {
			x.Protocols = Range{uint16(n), uint16(n)}
		}
		switch {
		case r.Ports != nil:
			x.Details = Range{uint16(r.Ports.First), uint16(r.Ports.Last)}
		case r.ICMPType != nil && r.ICMPCode != nil:
			d := uint16(*r.ICMPType<<8 | *r.ICMPCode)
			x.Details = Range{d, d}
		case r.ICMPType != nil:
			x.Details = Range{uint16(*r.ICMPType << 8), uint16(*r.ICMPType<<8 | 0xff)}
		}
		out.Rules = append(out.Rules, x)
	}
	return out
}

func routes(n api.HostNetwork) (out []StaticRoute) {
	for _, r := range n.Routes {
		out = append(out, StaticRoute{r.Destination, r.Via})
	}
	return out
}

// GuestMTU is what guests of a network may send: what was asked for (0: the
// most there is), and at most what fits the underlay.
func GuestMTU(underlay, asked int) int {
	fits := underlay - vxlanOverhead
	if asked == 0 || asked > fits {
		return fits
	}
	return asked
}
