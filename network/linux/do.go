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

// do carries out one op. Done twice, it changes nothing.
func (k *kernel) do(op network.Op) error {
	switch o := op.(type) {
	case network.AddNamespace:
		return k.addNamespace(o.Namespace)
	case network.RemoveNamespace:
		return k.removeNamespace(o.Namespace)
	case network.PutLink:
		return k.putLink(o)
	case network.RemoveLink:
		return k.removeLink(o)
	case network.Announce:
		return k.announce(k.host, o.NeighbourKey)
	case network.RemoveProxy:
		k.announcements.stop(o.NeighbourKey)
	}
	o, ok := op.(interface{ Router() string })
	if !ok {
		return fmt.Errorf("the driver does not know the operation %T", op)
	}
	s, err := k.space(o.Router())
	if err != nil {
		return err
	}
	return s.do(op)
}

// do carries out an op about what is in a namespace.
func (s *space) do(op network.Op) error {
	switch o := op.(type) {
	case network.SwitchOn:
		return s.switchOn(o.Name)
	case network.PutForward:
		return s.forward(o.To, o.MAC, s.links.NeighSet)
	case network.RemoveForward:
		return gone(s.forward(o.To, o.MAC, s.links.NeighDel))
	case network.PutTunnel:
		return s.tunnel(o.TunnelKey, o.Host, s.links.NeighSet)
	case network.RemoveTunnel:
		// The address 0 means all hosts that the entry leads to.
		return gone(s.tunnel(o.TunnelKey, netip.IPv4Unspecified(), s.links.NeighDel))
	case network.PutNeighbour:
		return s.neighbour(o.NeighbourKey, o.MAC, s.links.NeighSet)
	case network.RemoveNeighbour:
		return gone(s.neighbour(o.NeighbourKey, network.MAC{}, s.links.NeighDel))
	case network.PutProxy:
		return s.proxy(o.NeighbourKey, unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	case network.RemoveProxy:
		return gone(s.proxy(o.NeighbourKey, unix.RTM_DELNEIGH, 0))
	case network.ForgetConnections:
		return s.forgetConnections(o.Address)
	case network.AddAddress:
		return s.address(o.AddressKey, s.links.AddrReplace)
	case network.RemoveAddress:
		return gone(s.address(o.AddressKey, s.links.AddrDel))
	case network.PutRoute:
		return s.route(o.To, o.Route, s.links.RouteReplace)
	case network.RemoveRoute:
		return gone(s.route(o.To, o.Route, s.links.RouteDel))
	case network.PutRate:
		return s.putRate(o.Link, o.Rate)
	case network.RemoveRate:
		return s.removeRate(o.Link)
	case network.PutDetour:
		return s.putDetour(o.Link, o.To)
	case network.RemoveDetour:
		return s.removeDetour(o.Link)
	case network.PutSetting:
		return within(s.ns, func() error { return writeSetting(o.SettingKey, o.Value) })
	case network.PutTable:
		return s.rules(func(r *rules) error { return r.put(o.Table) })
	case network.RemoveTable:
		return s.rules(func(r *rules) error { return r.remove(o.TableKey) })
	case network.AddElements:
		return s.rules(func(r *rules) error { return r.change(o.TableKey, o.Set, nil, o.Elements) })
	case network.RemoveElements:
		return gone(s.rules(func(r *rules) error { return r.change(o.TableKey, o.Set, o.Elements, nil) }))
	case network.ReplaceElements:
		return s.rules(func(r *rules) error { return r.change(o.TableKey, o.Set, o.Gone, o.New) })
	case network.EndConnections:
		return s.endConnections(o.Judge)
	}
	return fmt.Errorf("the driver does not know the operation %T", op)
}

// gone takes it well that what is to be removed is not there.
func gone(err error) error {
	for _, e := range []error{unix.ENOENT, unix.ENODEV, unix.ESRCH, unix.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return nil
		}
	}
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	return err
}

func (s *space) switchOn(name string) error {
	l, err := s.links.LinkByName(name)
	if err != nil {
		return err
	}
	return s.links.LinkSetUp(l)
}

// forward is about an entry of a bridge, which is addressed by its port. It is
// static: a permanent one would mean the host itself.
func (s *space) forward(port string, mac network.MAC, do func(*netlink.Neigh) error) error {
	i, err := s.indexOf(port)
	if err != nil {
		return err
	}
	return do(&netlink.Neigh{LinkIndex: i, Family: unix.AF_BRIDGE, HardwareAddr: mac[:], Flags: netlink.NTF_MASTER, State: netlink.NUD_NOARP})
}

func (s *space) tunnel(key network.TunnelKey, host netip.Addr, do func(*netlink.Neigh) error) error {
	i, err := s.indexOf(key.Link)
	if err != nil {
		return err
	}
	return do(&netlink.Neigh{
		LinkIndex: i, Family: unix.AF_BRIDGE, HardwareAddr: key.MAC[:], IP: host.AsSlice(),
		Flags: netlink.NTF_SELF, State: netlink.NUD_PERMANENT | netlink.NUD_NOARP,
	})
}

func (s *space) neighbour(key network.NeighbourKey, mac network.MAC, do func(*netlink.Neigh) error) error {
	i, err := s.indexOf(key.Link)
	if err != nil {
		return err
	}
	return do(&netlink.Neigh{LinkIndex: i, Family: familyOf(key.Address), IP: key.Address.AsSlice(), HardwareAddr: mac[:], State: netlink.NUD_PERMANENT})
}

func (s *space) address(key network.AddressKey, do func(netlink.Link, *netlink.Addr) error) error {
	i, err := s.indexOf(key.Link)
	if err != nil {
		return err
	}
	// The handle looks for the index of a link that has none.
	l := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: key.Link, Index: i}}
	a := &netlink.Addr{IPNet: ipNet(key.Address)}
	if key.Address.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD // it is there on every host
	}
	return do(l, a)
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

func (s *space) route(to netip.Prefix, r network.Route, do func(*netlink.Route) error) error {
	i, err := s.indexOf(r.Link)
	if err != nil {
		return err
	}
	return do(&netlink.Route{LinkIndex: i, Dst: ipNet(to), Gw: r.Via.AsSlice(), Src: r.Source.AsSlice(), Protocol: unix.RTPROT_STATIC})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
