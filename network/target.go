package network

import "net/netip"

// Transit is the range of the links between the host and its routers. It is
// seen on the host only (RFC 2544 keeps it for laboratories).
func Transit() netip.Prefix { return netip.MustParsePrefix("198.18.0.0/16") }

// target is the state that is desired. What is chosen on the host itself, the
// transit links' addresses, stays as it is observed.
func target(want Desired, have State) State {
	s := State{Links: map[string]Link{}, FDB: map[FDBEntry]bool{}, Neighbours: map[Neighbour]bool{}, Routers: map[uint32]Router{}, Rules: HostRules{Ports: Set[PortRule]{}}}
	if len(want.Networks) == 0 {
		return s
	}
	s.Forwarding, s.Rules.Whole = true, true
	transit := transits(want, have)
	for _, n := range want.Networks {
		s.links(want, n, transit[n.VNI])
		s.ports(n)
		s.Routers[n.VNI] = router(n, transit[n.VNI])
	}
	return s
}

func (s State) links(want Desired, n Network, transit netip.Prefix) {
	bridge := Bridge(n.VNI)
	s.Links[bridge] = Link{Kind: KindBridge, VNI: n.VNI, MTU: n.MTU, Up: true, Guarded: true}
	port := func(name string, k LinkKind) {
		s.Links[name] = Link{Kind: k, VNI: n.VNI, MTU: n.MTU, Master: bridge, Up: true, Guarded: true}
	}
	port(VXLAN(n.VNI), KindVXLAN)
	port(GatewayCable(n.VNI), KindGateway)
	for _, p := range n.Ports {
		if p.Local { // its bridge says which network a tap is of
			s.Links[Tap(p.ID)] = Link{Kind: KindTap, MTU: n.MTU, Master: bridge, Up: true, Guarded: true}
		}
	}
	tunnel := s.Links[VXLAN(n.VNI)]
	tunnel.Local = want.Underlay
	s.Links[VXLAN(n.VNI)] = tunnel
	s.Links[UplinkCable(n.VNI)] = Link{Kind: KindUplink, VNI: n.VNI, MTU: n.MTU, Up: true, Guarded: true, Address: transit}
}

// ports is what the network's map says of each port: where its MAC is, who
// has its address, and what its tap may send.
func (s State) ports(n Network) {
	s.FDB[FDBEntry{Link: GatewayCable(n.VNI), MAC: [6]byte(GatewayMAC())}] = true
	for _, p := range n.Ports {
		mac := [6]byte(p.MAC)
		if p.Local {
			s.FDB[FDBEntry{Link: Tap(p.ID), MAC: mac}] = true
			s.Rules.Ports[PortRule{Tap: Tap(p.ID), MAC: mac, Address: p.Address}] = true
			continue
		}
		s.FDB[FDBEntry{Link: VXLAN(n.VNI), MAC: mac, Host: p.Underlay}] = true
		s.Neighbours[Neighbour{Link: VXLAN(n.VNI), Address: p.Address, MAC: mac}] = true
	}
}

func router(n Network, transit netip.Prefix) Router {
	r := Router{Forwarding: true, Up: true, MTU: n.MTU, Rules: true, Default: transit.Addr(), Neighbours: Set[Neighbour]{}}
	r.Addresses = [2]Set[netip.Prefix]{
		{netip.PrefixFrom(MetadataAddress(), 32): true},
		{netip.PrefixFrom(transit.Addr().Next(), transit.Bits()): true},
	}
	for _, s := range n.Subnets {
		r.Addresses[0][netip.PrefixFrom(s.Gateway, s.CIDR.Bits())] = true
	}
	for _, p := range n.Ports {
		r.Neighbours[Neighbour{Link: GatewayLink, Address: p.Address, MAC: [6]byte(p.MAC)}] = true
	}
	return r
}

// transits gives each network its transit link (two addresses): the one that it
// has, or the lowest that no other network has.
func transits(want Desired, have State) map[uint32]netip.Prefix {
	out, taken := map[uint32]netip.Prefix{}, Set[netip.Prefix]{}
	for _, n := range want.Networks {
		p := have.Links[UplinkCable(n.VNI)].Address
		if p.IsValid() && p.Bits() == 31 && Transit().Contains(p.Addr()) && p == p.Masked() && !taken[p] {
			out[n.VNI], taken[p] = p, true
		}
	}
	next := Transit().Addr()
	for _, n := range want.Networks {
		if _, has := out[n.VNI]; has {
			continue
		}
		p := netip.PrefixFrom(next, 31)
		for taken[p] {
			p = netip.PrefixFrom(p.Addr().Next().Next(), 31)
		}
		out[n.VNI], taken[p], next = p, true, p.Addr()
	}
	return out
}
