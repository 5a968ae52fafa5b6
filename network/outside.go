package network

import (
	"fmt"
	"net/netip"
)

// outside lays out the ways by which the world reaches ports: a public address
// is routed to its network's router, which translates it, and the host answers
// for it on its uplink.
type outside struct {
	layout
	link     string // the uplink; empty: there is none, and nothing is announced
	underlay netip.Addr
	cables   map[string]bool // elements: the cable of each public address
}

// uplinkOf is the uplink where it is there.
func uplinkOf(want Desired, have Observed) string {
	for key := range UplinkSettings(want.Uplink) {
		if _, there := have.Host.Settings[key]; !there {
			return ""
		}
	}
	return want.Uplink
}

// network lays out the public addresses of a network's ports, and returns the
// elements by which its router translates them, in and out.
func (o outside) network(n Network, t transit) (in, out map[string]bool) {
	in, out = map[string]bool{}, map[string]bool{}
	used := map[netip.Addr]bool{}
	for _, p := range n.Public {
		if !o.usable(n, p) || used[p.Inside] {
			continue
		}
		used[p.Inside], o.public[p.Address] = true, n.VNI
		in[p.Address.String()+" : "+p.Inside.String()] = true
		out[p.Inside.String()+" : "+p.Address.String()] = true
		o.toCable(n.VNI, p.Address, t)
	}
	return in, out
}

// toCable lets an address come and go by a router's cable.
func (o outside) toCable(vni uint32, a netip.Addr, t transit) {
	cable := UplinkCable(vni)
	o.cables[fmt.Sprintf("%q . %s", cable, a)] = true
	o.Host.Routes[netip.PrefixFrom(a, a.BitLen())] = Route{Link: cable, Via: t.router().Addr(), Source: o.underlay}
	if o.link != "" {
		o.Host.Proxies[NeighbourKey{o.link, a}] = true
	}
}

// usable tells whether a public address can be had: one that means something
// else here would cut the host off.
func (o outside) usable(n Network, p Public) bool {
	a := p.Address
	_, twice := o.public[a]
	if twice || !a.Is4() || a == o.underlay || a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() || a.IsUnspecified() || TransitRange().Contains(a) {
		return false
	}
	for _, s := range n.Subnets {
		if s.CIDR.Contains(p.Inside) {
			return p.Inside.Is4() && p.Inside != s.Gateway
		}
	}
	return false
}

// settings lays out those of the uplink, and returns the elements that tell how
// they were before.
func (o outside) settings(have Observed) map[string]bool {
	were := map[string]bool{}
	if o.link == "" || len(o.Host.Proxies) == 0 {
		return were
	}
	for _, s := range uplinkSettings {
		key := SettingKey{File: fmt.Sprintf(s.file, o.link)}
		was, changed := have.Were[key]
		if !changed {
			was = have.Host.Settings[key]
		}
		if o.Host.Settings[key] = s.value; was != s.value {
			were[fmt.Sprintf("%q . %q . %q", o.link, s.name, was)] = true
		}
	}
	return were
}
