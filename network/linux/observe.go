package linux

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// mark is the alias of the links that are ours.
const mark = "cairn"

// observe looks at all that is ours.
func (n *Network) observe() (s network.State, err error) {
	err = within(n.ns, func() error {
		s, err = n.observeHost()
		return err
	})
	if err != nil {
		return s, fmt.Errorf("look at the host's network: %w", err)
	}
	vnis, err := n.routers()
	if err != nil {
		return s, err
	}
	for _, vni := range vnis {
		if s.Routers[vni], err = n.observeRouter(vni); err != nil {
			return s, fmt.Errorf("look at the router %s: %w", network.Namespace(vni), err)
		}
	}
	return s, nil
}

func (n *Network) observeHost() (network.State, error) {
	s := network.State{Forwarding: isSet("ipv4/ip_forward", "1"), Links: map[string]network.Link{}, FDB: map[network.FDBEntry]bool{}, Neighbours: map[network.Neighbour]bool{}, Routers: map[uint32]network.Router{}}
	links, err := n.link.LinkList()
	if err != nil {
		return s, fmt.Errorf("list links: %w", err)
	}
	ports, err := bridgePorts()
	if err != nil {
		return s, fmt.Errorf("list bridge ports: %w", err)
	}
	names := map[int]string{} // of all links, by index
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	for _, l := range links {
		if x, ours := observeLink(l, names, ports); ours {
			s.Links[l.Attrs().Name] = x
		}
	}
	if err := n.observeAddresses(s, names); err != nil {
		return s, err
	}
	if err := n.observeNeighbours(s, names); err != nil {
		return s, err
	}
	s.Rules, err = observeRules(n.ns)
	return s, err
}

// observeLink reads a link, if it is ours.
func observeLink(l netlink.Link, names map[int]string, ports map[int]bridgePort) (x network.Link, ours bool) {
	a := l.Attrs()
	if !kindOf(l, &x) || a.Alias != mark {
		return x, false
	}
	x.MTU, x.Master, x.Up = a.MTU, names[a.MasterIndex], a.Flags&net.FlagUp != 0
	x.Guarded = hasNoIPv6(a.Name)
	if x.Master != "" {
		p := ports[a.Index]
		x.Guarded = x.Guarded && !p.learning && p.flood == (x.Kind == network.KindVXLAN)
	}
	return x, true
}

// kindOf tells what a link of ours is, from its name and from what the kernel
// says that it is: a link that only has a name like ours is not.
func kindOf(l netlink.Link, x *network.Link) bool {
	name := l.Attrs().Name
	_, err := fmt.Sscanf(name[min(2, len(name)):], "%06x", &x.VNI)
	named := err == nil && len(name) == 8
	switch l := l.(type) {
	case *netlink.Bridge:
		x.Kind = network.KindBridge
		return named && name == network.Bridge(x.VNI)
	case *netlink.Vxlan:
		x.Kind = network.KindVXLAN
		x.Local, _ = netip.AddrFromSlice(l.SrcAddr)
		x.Local = x.Local.Unmap()
		return named && name == network.VXLAN(x.VNI) && uint32(l.VxlanId) == x.VNI
	case *netlink.Veth:
		x.Kind = network.KindGateway
		if named && name == network.GatewayCable(x.VNI) {
			return true
		}
		x.Kind = network.KindUplink
		return named && name == network.UplinkCable(x.VNI)
	case *netlink.Tuntap:
		// Which network a tap belongs to is said by its bridge, which Plan compares.
		x.Kind, x.VNI = network.KindTap, 0
		return strings.HasPrefix(name, network.Tap(""))
	}
	return false
}

func (n *Network) observeAddresses(s network.State, names map[int]string) error {
	addresses, err := n.link.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addresses {
		l, ours := s.Links[names[a.LinkIndex]]
		if ours && l.Kind == network.KindUplink {
			l.Address = prefixOf(a.IPNet)
			s.Links[names[a.LinkIndex]] = l
		}
	}
	return nil
}

// observeNeighbours reads where MACs are and whose addresses are: the entries
// that are there for good, since nothing is learnt.
func (n *Network) observeNeighbours(s network.State, names map[int]string) error {
	fdb, err := n.link.NeighList(0, unix.AF_BRIDGE)
	if err != nil {
		return fmt.Errorf("list forwarding entries: %w", err)
	}
	for _, e := range fdb {
		l, ours := s.Links[names[e.LinkIndex]]
		if !ours || len(e.HardwareAddr) != 6 {
			continue
		}
		x := network.FDBEntry{Link: names[e.LinkIndex], MAC: [6]byte(e.HardwareAddr)}
		host, isHost := netip.AddrFromSlice(e.IP)
		switch {
		case l.Kind == network.KindVXLAN && e.Flags&netlink.NTF_SELF != 0 && isHost:
			x.Host = host.Unmap()
			s.FDB[x] = true
		case e.MasterIndex != 0 && e.State == netlink.NUD_NOARP:
			s.FDB[x] = true
		}
	}
	neighbours, err := n.link.NeighList(0, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list neighbours: %w", err)
	}
	for _, e := range neighbours {
		if x, ok := neighbour(e, names[e.LinkIndex]); ok && s.Links[x.Link].Kind == network.KindVXLAN {
			s.Neighbours[x] = true
		}
	}
	return nil
}

func neighbour(e netlink.Neigh, link string) (network.Neighbour, bool) {
	address, ok := netip.AddrFromSlice(e.IP)
	if !ok || len(e.HardwareAddr) != 6 || e.State != netlink.NUD_PERMANENT {
		return network.Neighbour{}, false
	}
	return network.Neighbour{Link: link, Address: address.Unmap(), MAC: [6]byte(e.HardwareAddr)}, true
}

func prefixOf(n *net.IPNet) netip.Prefix {
	a, _ := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), bits)
}

// observeRouter reads what is in a router.
func (n *Network) observeRouter(vni uint32) (r network.Router, err error) {
	ns, err := netns.GetFromPath(n.routerPath(vni))
	if err != nil {
		return r, err
	}
	defer ns.Close()
	h, err := handle(ns)
	if err != nil {
		return r, err
	}
	defer h.Close()
	r.Neighbours = network.Set[network.Neighbour]{}
	r.Up = true
	for i, name := range []string{network.GatewayLink, network.UplinkLink} {
		r.Addresses[i] = network.Set[netip.Prefix]{}
		l, err := h.LinkByName(name)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			r.Up = false
			continue
		}
		if err != nil {
			return r, err
		}
		if err := observeRouterLink(h, l, i, &r); err != nil {
			return r, err
		}
	}
	if err := within(ns, func() error { r.Forwarding = isSet("ipv4/ip_forward", "1"); return nil }); err != nil {
		return r, err
	}
	r.Rules, err = wholeRouterRules(ns)
	return r, err
}

func observeRouterLink(h *netlink.Handle, l netlink.Link, i int, r *network.Router) error {
	a := l.Attrs()
	r.MTU = a.MTU
	up := a.Flags&net.FlagUp != 0
	addresses, err := h.AddrList(l, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, x := range addresses {
		r.Addresses[i][prefixOf(x.IPNet)] = true
	}
	if i == 1 {
		r.Up = r.Up && up
		routes, err := h.RouteList(l, netlink.FAMILY_V4)
		for _, x := range routes {
			if gw, ok := netip.AddrFromSlice(x.Gw); ok && (x.Dst == nil || x.Dst.IP.IsUnspecified()) {
				r.Default = gw.Unmap()
			}
		}
		return err
	}
	r.Up = r.Up && up && a.HardwareAddr.String() == network.GatewayMAC().String()
	neighbours, err := h.NeighList(a.Index, netlink.FAMILY_V4)
	for _, e := range neighbours {
		if x, ok := neighbour(e, network.GatewayLink); ok {
			r.Neighbours[x] = true
		}
	}
	return err
}

// bridgePort is what a bridge does with a port.
type bridgePort struct{ learning, flood bool }

// bridgePorts reads all ports of all bridges of the thread's namespace, by index, in one dump.
func bridgePorts() (map[int]bridgePort, error) {
	r := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	r.AddData(nl.NewIfInfomsg(unix.AF_BRIDGE))
	msgs, err := r.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return nil, err
	}
	out := map[int]bridgePort{}
	for _, m := range msgs {
		info := nl.DeserializeIfInfomsg(m)
		attrs, err := nl.ParseRouteAttr(m[info.Len():])
		if err != nil {
			return nil, err
		}
		for _, a := range attrs {
			if a.Attr.Type != unix.IFLA_PROTINFO|unix.NLA_F_NESTED {
				continue
			}
			inner, err := nl.ParseRouteAttr(a.Value)
			if err != nil {
				return nil, err
			}
			var p bridgePort
			for _, x := range inner {
				switch x.Attr.Type {
				case nl.IFLA_BRPORT_LEARNING:
					p.learning = x.Value[0] != 0
				case nl.IFLA_BRPORT_UNICAST_FLOOD:
					p.flood = x.Value[0] != 0
				}
			}
			out[int(info.Index)] = p
		}
	}
	return out, nil
}
