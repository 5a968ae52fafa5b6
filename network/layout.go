package network

import (
	"net/netip"
	"slices"
	"strings"
)

// layout is what a Desired comes to: the wanted state, and what of it belongs
// to which network.
type layout struct {
	State
	tables   map[string]map[TableKey]Table // by namespace, "" for the host
	networks map[string]uint32             // of taps
	public   map[netip.Addr]uint32         // of public addresses
	zones    map[uint32]uint16             // by VNI
	asked    map[string]bool               // numbers of identities of ports that are here
}

// lay works out the state that is wanted.
func lay(want Desired, have Observed) layout {
	l := layout{
		State:    State{Host: NewSpace(), Routers: map[string]Space{}},
		tables:   map[string]map[TableKey]Table{"": {}},
		networks: map[string]uint32{},
		public:   map[netip.Addr]uint32{},
		asked:    map[string]bool{},
	}
	if len(want.Networks) == 0 {
		return l
	}
	guard := newGuardElements()
	hosts, ours := map[string]bool{}, map[string]bool{}
	out := outside{layout: l, link: uplinkOf(want, have), underlay: want.Underlay, cables: map[string]bool{}}
	ways := allocateTransits(want.Networks, have)
	for _, n := range want.Networks {
		l.network(n, want.Underlay)
		guard.router(n.VNI, l.Routers[Namespace(n.VNI)])
		l.static(n)
		in, back := map[string]bool{}, map[string]bool{}
		if t, ok := ways[n.VNI]; ok {
			l.uplink(n, t)
			in, back = out.network(n, t)
		}
		l.table(Namespace(n.VNI), routerTable(in, back))
		for _, p := range n.Ports {
			m, ok := usable(n, &p)
			switch {
			case !ok:
			case p.Local:
				l.local(n, p, m)
			default:
				l.remote(n, p, m)
				hosts[p.Underlay.String()] = true
			}
			if ok && (p.Local || p.Tap) {
				l.tap(n, p)
				pair := `"` + Tap(p.ID) + `" . ` + m.String()
				guard.macs[pair] = true
				for _, a := range withLinkLocal(p) {
					if a.Is4() {
						guard.ports[pair+" . "+a.String()] = true
					} else {
						guard.ports6[pair+" . "+a.String()] = true
					}
				}
				for _, r := range n.beyond(p) {
					if r.Addr().Is4() {
						guard.beyond4[pair+" . "+prefixElement(r)] = true
					} else {
						guard.beyond6[pair+" . "+prefixElement(r)] = true
					}
				}
			}
			if ok && p.Also.Is4() && p.Also != want.Underlay {
				hosts[p.Also.String()] = true
			}
		}
	}
	if have.ForwardingWasOff || have.Host.Settings[forwarding] == "0" {
		ours[elementForwarding] = true
	}
	l.zones = allocateZones(want.Networks, have)
	c := consentsOf(want, l.zones, allocateNumbers(want.Networks, have))
	for e := range c.elements[mapLocal] {
		_, n, _ := strings.Cut(e, " : ")
		l.asked[n] = true
	}
	l.table("", guardTable(want.Underlay, guard))
	l.table("", hostTable(want.Underlay, hostElements{hosts: hosts, ours: ours, were: out.settings(have), public: out.cables, consents: c}))
	l.Host.Settings[forwarding] = "1"
	return l
}

// router lays down the addresses of a network's router, by its cable.
func (g guardElements) router(vni uint32, router Space) {
	for k := range router.Addresses {
		if k.Link != GatewayLink {
			continue
		}
		set := g.routers6
		if k.Address.Addr().Is4() {
			set = g.routers4
		}
		set[`"`+GatewayCable(vni)+`" . `+k.Address.Addr().String()] = true
	}
}

// usable tells whether a port can be had, and leaves it the addresses that it can
// have: what a tenant asked for must not make an entry that means something
// else, such as the MAC 0 that stands for "all".
func usable(n Network, p *Port) (MAC, bool) {
	m, ok := macOf(p.MAC)
	if !ok || m == gatewayMAC() || !p.Local && !p.Underlay.Is4() {
		return m, false
	}
	var as []netip.Addr
	for _, a := range p.Addresses {
		if usableAddress(n, a) {
			as = append(as, a)
		}
	}
	p.Addresses = as
	return m, len(as) > 0
}

func usableAddress(n Network, a netip.Addr) bool {
	for _, s := range n.Subnets {
		if s.CIDR.Contains(a) {
			return a != s.Gateway && a != MetadataAddress6() && !linkLocal.Contains(a) && !a.IsMulticast()
		}
	}
	return false
}

// withLinkLocal are the addresses that a port may send from: its own, and where
// one is of IPv6, the link-local one of its MAC and no other. A guest would be
// free to choose one, and so to choose another's or the router's.
func withLinkLocal(p Port) []netip.Addr {
	for _, a := range p.Addresses {
		if a.Is6() {
			return append(slices.Clone(p.Addresses), EUI64(linkLocal, p.MAC))
		}
	}
	return p.Addresses
}

// ipv6 tells whether a network has a subnet of IPv6.
func (n Network) ipv6() bool {
	return slices.ContainsFunc(n.Subnets, func(s Subnet) bool { return s.CIDR.Addr().Is6() })
}

func (l layout) space(namespace string) Space {
	if namespace == "" {
		return l.Host
	}
	return l.Routers[namespace]
}

func (l layout) table(namespace string, t Table) {
	l.tables[namespace][t.TableKey] = t
	l.space(namespace).Tables[t.TableKey] = t.State()
}

// link adds a link of ours that is up.
func (l layout) link(namespace string, k Link) {
	k.Alias, k.Up = Mark, true
	s := l.space(namespace)
	s.Links[k.Name] = k
	keys := HostSettings(k.Name)
	if namespace != "" {
		keys = RouterSettings(k.Name)
	}
	for key, v := range keys {
		s.Settings[key] = v
	}
}

// network lays out what a network has whatever its ports are.
func (l layout) network(n Network, underlay netip.Addr) {
	bridge, cable, router := Bridge(n.VNI), GatewayCable(n.VNI), Namespace(n.VNI)
	l.link("", Link{Name: bridge, Kind: KindBridge, MTU: n.MTU, Group: groupForward, Filtered: true})
	leaving := slices.ContainsFunc(n.Ports, func(p Port) bool { return p.Leaving })
	l.link("", Link{Name: VXLAN(n.VNI), Kind: KindVXLAN, MTU: n.MTU, Bridge: bridge, Port: BridgePort{Hairpin: leaving}, Tunnel: TunnelDevice(n.VNI, underlay)})
	l.link("", Link{Name: cable, Kind: KindCable, MTU: n.MTU, Bridge: bridge, Peer: PeerIn(router, GatewayLink)})
	l.Host.Forwards[ForwardKey{bridge, gatewayMAC()}] = cable

	l.Routers[router] = NewSpace()
	l.tables[router] = map[TableKey]Table{}
	for key, v := range RouterSettings("") {
		l.Routers[router].Settings[key] = v
	}
	l.link(router, Link{Name: "lo", Kind: KindLoopback})
	l.link(router, Link{Name: GatewayLink, Kind: KindCable, MTU: n.MTU, MAC: gatewayMAC(), Peer: PeerIn("", cable)})
	own := l.Routers[router].Addresses
	for _, s := range n.Subnets {
		if s.CIDR.Contains(s.Gateway) {
			own[AddressKey{GatewayLink, netip.PrefixFrom(s.Gateway, s.CIDR.Bits())}] = true
		}
	}
	own[AddressKey{GatewayLink, netip.PrefixFrom(MetadataAddress(), 32)}] = true
	if n.ipv6() {
		own[AddressKey{GatewayLink, netip.PrefixFrom(GatewayLinkLocal(), linkLocal.Bits())}] = true
		own[AddressKey{GatewayLink, netip.PrefixFrom(MetadataAddress6(), 128)}] = true
		l.Routers[router].Settings[ipv6Off(GatewayLink)] = "0"
		l.Host.Settings[ipv6Off(VXLAN(n.VNI))] = "0" // or it could have no neighbours to answer for
	}
}

// groupForward is all group addresses that a bridge may forward. Those that it
// does not, it hands to the host's own stack, and some past all rules.
const groupForward = 0xfff8

// TunnelDevice is what a network's VXLAN device is made as: it learns nothing, and lets no ARP through.
func TunnelDevice(vni uint32, underlay netip.Addr) Tunnel {
	return Tunnel{VNI: vni, Local: underlay, Port: VXLANPort, Proxy: true}
}

// uplink lays out a network's way out.
func (l layout) uplink(n Network, t transit) {
	cable, router := UplinkCable(n.VNI), Namespace(n.VNI)
	l.link("", Link{Name: cable, Kind: KindCable, MTU: n.MTU, Peer: PeerIn(router, UplinkLink)})
	l.link(router, Link{Name: UplinkLink, Kind: KindCable, MTU: n.MTU, Peer: PeerIn("", cable)})
	l.Host.Addresses[AddressKey{cable, t.host()}] = true
	l.Routers[router].Addresses[AddressKey{UplinkLink, t.router()}] = true
	l.Routers[router].Routes[netip.PrefixFrom(netip.IPv4Unspecified(), 0)] = Route{Link: UplinkLink, Via: t.host().Addr()}
}

func (l layout) local(n Network, p Port, m MAC) {
	l.Host.Forwards[ForwardKey{Bridge(n.VNI), m}] = Tap(p.ID)
	for _, a := range withLinkLocal(p) {
		l.Routers[Namespace(n.VNI)].Neighbours[NeighbourKey{GatewayLink, a}] = m
	}
}

func (l layout) tap(n Network, p Port) {
	tap := Tap(p.ID)
	l.networks[tap] = n.VNI
	l.link("", Link{Name: tap, Kind: KindTap, MTU: n.MTU, Bridge: Bridge(n.VNI)})
	if r := p.Limits.ToGuest; r > 0 {
		l.Host.Rates[tap] = r
	}
	if r := p.Limits.FromGuest; r > 0 {
		detour := Detour(p.ID)
		l.networks[detour] = n.VNI
		l.link("", Link{Name: detour, Kind: KindDetour, MTU: n.MTU})
		l.Host.Rates[detour], l.Host.Detours[tap] = r, detour
	}
}

func (l layout) remote(n Network, p Port, m MAC) {
	vxlan := VXLAN(n.VNI)
	// Twice the same MAC: the bridge has to know the port, or it would try
	// them all, and the port has to know the host.
	l.Host.Forwards[ForwardKey{Bridge(n.VNI), m}] = vxlan
	l.Host.Tunnels[TunnelKey{vxlan, m}] = p.Underlay
	for _, a := range withLinkLocal(p) {
		l.Host.Neighbours[NeighbourKey{vxlan, a}] = m
	}
	for _, a := range p.Addresses {
		l.Routers[Namespace(n.VNI)].Neighbours[NeighbourKey{GatewayLink, a}] = m
	}
}
