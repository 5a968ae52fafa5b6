package linux

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// observe looks at all that is ours: one dump a kind and namespace.
func (k *kernel) observe() (network.Observed, error) {
	have := network.Observed{State: network.State{Host: network.NewSpace(), Routers: map[string]network.Space{}}}
	ends, err := k.observeHost(&have)
	if err != nil {
		return have, fmt.Errorf("look at the host's network: %w", err)
	}
	names, err := k.named()
	if err != nil {
		return have, err
	}
	for _, name := range names {
		if err := k.observeRouter(name, have, ends); err != nil {
			return have, fmt.Errorf("look at the router %s: %w", name, err)
		}
	}
	k.remember(&have)
	seen := &view{Observed: have, names: map[string]map[int]string{"": k.host.names()}, uplink: k.uplink}
	for name, s := range k.routers {
		seen.names[name] = s.names()
	}
	k.seen.Store(seen)
	return have, nil
}

// remember keeps what was known of the host's forwarding also after another
// hand has flushed the rules, which is where it is written down.
func (n *Network) remember(have *network.Observed) {
	off, known := network.ForwardingWasOff(have.Host)
	if known {
		n.wasOff = off
	}
	have.ForwardingWasOff = n.wasOff
	if were, known := network.Were(have.Host); known {
		n.were = were
	}
	have.Were, have.Unjudged = n.were, n.unjudged
}

// end is one end of a cable: a link, and the other's number and namespace as
// they are seen from there.
type end struct{ index, peer, namespace int }

func (k *kernel) observeHost(have *network.Observed) (map[string]end, error) {
	s, ends := k.host, map[string]end{}
	err := within(s.ns, func() error {
		if err := errors.Join(s.observeLinks("", have.Host, ends), observeFilters(have.Host)); err != nil {
			return err
		}
		return readSettings(have.Host.Settings, network.HostSettings(""))
	})
	if err != nil {
		return nil, err
	}
	if err := s.observeAddresses(have.Host, &have.Taken); err != nil {
		return nil, err
	}
	routes, err := again(func() ([]netlink.Route, error) { return s.links.RouteList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	names := s.names()
	for _, r := range routes {
		if _, ok := have.Host.Links[names[r.LinkIndex]]; !ok && r.Dst != nil {
			have.Taken = take(have.Taken, prefixOf(r.Dst))
		}
	}
	s.hostRoutes(have.Host, routes)
	err = errors.Join(s.observeForwarding(have.Host), s.observeNeighbours(have.Host), s.observeProxies(have.Host), s.observeLimits(have.Host), s.rules(func(r *rules) error { return r.observe(have.Host.Tables) }))
	return ends, errors.Join(err, k.observeUplinks(have.Host))
}

// hostRoutes are those that lead to routers.
func (s *space) hostRoutes(x network.Space, routes []netlink.Route) {
	names := s.names()
	for _, r := range routes {
		l := names[r.LinkIndex]
		if _, ours := x.Links[l]; ours && r.Dst != nil && r.Protocol != unix.RTPROT_KERNEL {
			x.Routes[prefixOf(r.Dst)] = routeOf(l, r)
		}
	}
}

func routeOf(link string, r netlink.Route) network.Route {
	via, _ := netip.AddrFromSlice(r.Gw)
	source, _ := netip.AddrFromSlice(r.Src)
	return network.Route{Link: link, Via: via.Unmap(), Source: source.Unmap()}
}

// observeUplinks reads the settings of the interface on which public addresses
// are announced, and of those where they were.
func (k *kernel) observeUplinks(x network.Space) error {
	were, known := network.Were(x)
	if !known {
		were = k.were
	}
	return within(k.host.ns, func() error {
		if _, there := k.host.index[k.uplink]; there {
			if err := readSettings(x.Settings, network.UplinkSettings(k.uplink)); err != nil {
				return err
			}
		}
		return readSettings(x.Settings, were)
	})
}

// take adds what of others lies within the range of transit links.
func take(taken []netip.Prefix, p netip.Prefix) []netip.Prefix {
	if r := network.TransitRange(); p.Bits() > r.Bits() && r.Overlaps(p) {
		return append(taken, p)
	}
	return taken
}

func (k *kernel) observeRouter(name string, have network.Observed, ends map[string]end) error {
	s, err := k.space(name)
	if err != nil {
		return err
	}
	x, own := network.NewSpace(), map[string]end{}
	err = within(s.ns, func() error {
		if err := s.observeLinks(name, x, own); err != nil {
			return err
		}
		return readSettings(x.Settings, network.RouterSettings(""))
	})
	if err != nil {
		return err
	}
	if x.Links["lo"].Alias != network.Mark {
		return nil // somebody else's
	}
	// The other end of a cable is only known by number, in a namespace that
	// has a number of its own in each other one.
	id, err := k.host.links.GetNetNsIdByFd(int(s.ns))
	if err != nil {
		return fmt.Errorf("find its number: %w", err)
	}
	for outside, o := range ends {
		for inside, i := range own {
			if o.namespace != id || o.peer != i.index || i.peer != o.index {
				continue
			}
			l := have.Host.Links[outside]
			l.Peer = network.PeerIn(name, inside)
			have.Host.Links[outside] = l
			l = x.Links[inside]
			l.Peer = network.PeerIn("", outside)
			x.Links[inside] = l
		}
	}
	have.Routers[name] = x
	return errors.Join(s.observeAddresses(x, nil), s.observeRoutes(x), s.observeNeighbours(x), s.rules(func(r *rules) error { return r.observe(x.Tables) }))
}

// again repeats a dump that something changed under.
func again[T any](dump func() (T, error)) (out T, err error) {
	for range 5 {
		if out, err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return out, err
		}
	}
	// A namespace that changes all the time: take it as it was seen. What was
	// missed is seen the next time, for the change is also an event.
	return out, nil
}

// observeLinks reads the links of the thread's namespace that are ours, with
// their settings, and the ends of their cables.
func (s *space) observeLinks(namespace string, x network.Space, ends map[string]end) error {
	links, err := again(s.links.LinkList)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	ports, err := bridgePorts()
	if err != nil {
		return fmt.Errorf("list bridge ports: %w", err)
	}
	s.index = map[string]int{}
	for _, l := range links {
		s.index[l.Attrs().Name] = l.Attrs().Index
	}
	names := s.names()
	for _, l := range links {
		a := l.Attrs()
		settings := network.HostSettings
		if namespace != "" {
			settings = network.RouterSettings
			if a.Name != "lo" && a.Name != network.GatewayLink && a.Name != network.UplinkLink {
				continue
			}
		}
		if !ours(namespace, l) {
			continue
		}
		x.Links[a.Name] = linkOf(l, names, ports)
		if l.Type() == string(network.KindCable) {
			ends[a.Name] = end{a.Index, a.ParentIndex, a.NetNsID}
		}
		if err := readSettings(x.Settings, settings(a.Name)); err != nil {
			return err
		}
	}
	return nil
}

func (s *space) names() map[int]string {
	names := make(map[int]string, len(s.index))
	for name, i := range s.index {
		names[i] = name
	}
	return names
}

func linkOf(l netlink.Link, names map[int]string, ports map[int]network.BridgePort) network.Link {
	a := l.Attrs()
	x := network.Link{Name: a.Name, Kind: network.Kind(l.Type()), Alias: a.Alias, MTU: a.MTU, Up: a.Flags&net.FlagUp != 0}
	copy(x.MAC[:], a.HardwareAddr)
	if a.MasterIndex != 0 {
		x.Bridge, x.Port = names[a.MasterIndex], ports[a.Index]
	}
	switch l := l.(type) {
	case *netlink.Bridge:
		x.Snooping = l.MulticastSnooping != nil && *l.MulticastSnooping
		if l.GroupFwdMask != nil {
			x.Group = *l.GroupFwdMask
		}
	case *netlink.Vxlan:
		local, _ := netip.AddrFromSlice(l.SrcAddr)
		x.Tunnel = network.Tunnel{VNI: uint32(l.VxlanId), Local: local.Unmap(), Port: l.Port, Learning: l.Learning, Proxy: l.Proxy}
	case *netlink.Tuntap:
		x.Kind = network.KindTap
	}
	if a.Flags&net.FlagLoopback != 0 {
		x.Kind = network.KindLoopback
	}
	return x
}

func (s *space) observeAddresses(x network.Space, taken *[]netip.Prefix) error {
	addresses, err := again(func() ([]netlink.Addr, error) { return s.links.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	names := s.names()
	for _, a := range addresses {
		if l, ok := x.Links[names[a.LinkIndex]]; !ok {
			if taken != nil {
				*taken = take(*taken, prefixOf(a.IPNet))
			}
		} else if l.Kind != network.KindLoopback {
			x.Addresses[network.AddressKey{Link: l.Name, Address: prefixOf(a.IPNet)}] = true
		}
	}
	return nil
}

func (s *space) observeRoutes(x network.Space) error {
	routes, err := again(func() ([]netlink.Route, error) { return s.links.RouteList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	names := s.names()
	for _, r := range routes {
		if r.Protocol == unix.RTPROT_KERNEL || r.Type != unix.RTN_UNICAST {
			continue
		}
		to := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if r.Dst != nil {
			to = prefixOf(r.Dst)
		}
		x.Routes[to] = routeOf(names[r.LinkIndex], r)
	}
	return nil
}

// observeForwarding reads where MACs are: the entries that are there for good,
// since nothing is learnt. A bridge also has entries for its ports' own MACs,
// which are marked permanent.
func (s *space) observeForwarding(x network.Space) error {
	entries, err := again(func() ([]netlink.Neigh, error) { return s.links.NeighList(0, unix.AF_BRIDGE) })
	if err != nil {
		return fmt.Errorf("list forwarding entries: %w", err)
	}
	names := s.names()
	for _, e := range entries {
		l, ok := x.Links[names[e.LinkIndex]]
		if !ok || len(e.HardwareAddr) != 6 {
			continue
		}
		mac := network.MAC(e.HardwareAddr)
		switch host, isHost := netip.AddrFromSlice(e.IP); {
		case l.Kind == network.KindVXLAN && e.Flags&netlink.NTF_SELF != 0 && isHost:
			x.Tunnels[network.TunnelKey{Link: l.Name, MAC: mac}] = host.Unmap()
		case e.MasterIndex != 0 && e.State&netlink.NUD_PERMANENT == 0:
			x.Forwards[network.ForwardKey{Bridge: names[e.MasterIndex], MAC: mac}] = l.Name
		}
	}
	return nil
}

func (s *space) observeNeighbours(x network.Space) error {
	var neighbours []netlink.Neigh
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		some, err := again(func() ([]netlink.Neigh, error) { return s.links.NeighList(0, family) })
		if err != nil {
			return fmt.Errorf("list neighbours: %w", err)
		}
		neighbours = append(neighbours, some...)
	}
	names := s.names()
	for _, e := range neighbours {
		a, ok := netip.AddrFromSlice(e.IP)
		if _, ours := x.Links[names[e.LinkIndex]]; ok && ours && len(e.HardwareAddr) == 6 && e.State&netlink.NUD_PERMANENT != 0 {
			x.Neighbours[network.NeighbourKey{Link: names[e.LinkIndex], Address: a.Unmap()}] = network.MAC(e.HardwareAddr)
		}
	}
	return nil
}

func prefixOf(n *net.IPNet) netip.Prefix {
	a, _ := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), bits)
}
