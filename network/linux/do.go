package linux

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// vxlanPort is the UDP port of tunnels (RFC 7348).
const vxlanPort = 4789

// do carries out one step. Done twice, it changes nothing.
func (n *Network) do(op network.Op) error {
	switch o := op.(type) {
	case network.AllowForwarding:
		return within(n.ns, func() error { return sysctl("ipv4/ip_forward", "1") })
	case network.MakeRules:
		return makeRules(n.ns, o.Ports)
	case network.ChangeRules:
		return changeRules(n.ns, o.Add, o.Delete)
	case network.RemoveRules:
		return removeRules(n.ns)
	case network.AddLink:
		return n.addLink(o.Name, o.Link)
	case network.SetLink:
		return n.setLink(o.Name, o.Link)
	case network.SetUp:
		return n.withLink(o.Name, n.link.LinkSetUp)
	case network.DeleteLink:
		return n.deleteLink(o.Name)
	case network.AddFDB:
		return n.fdb(o.Entry, n.link.NeighSet)
	case network.DeleteFDB:
		return gone(n.fdb(o.Entry, n.link.NeighDel))
	case network.AddNeighbour:
		return n.neighbour(o.Entry, n.link.NeighSet)
	case network.DeleteNeighbour:
		return gone(n.neighbour(o.Entry, n.link.NeighDel))
	case network.AddRouter:
		return n.addRouter(o.VNI)
	case network.SetRouter:
		return n.inRouter(o.VNI, func(h *netlink.Handle, ns netns.NsHandle) error { return setRouter(h, ns, o) })
	case network.MakeRouterRules:
		return n.inRouter(o.VNI, func(_ *netlink.Handle, ns netns.NsHandle) error { return makeRouterRules(ns) })
	case network.DeleteRouter:
		return n.deleteRouter(o.VNI)
	}
	return fmt.Errorf("the driver does not know the operation %T", op)
}

// gone takes it well that what is to be removed is not there.
func gone(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EADDRNOTAVAIL) || errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	return err
}

func (n *Network) withLink(name string, do func(netlink.Link) error) error {
	l, err := n.link.LinkByName(name)
	if err != nil {
		return err
	}
	return do(l)
}

func (n *Network) addLink(name string, x network.Link) error {
	a := netlink.NewLinkAttrs()
	a.Name, a.MTU = name, x.MTU
	var err error
	switch x.Kind {
	case network.KindBridge:
		off := false
		err = n.link.LinkAdd(&netlink.Bridge{LinkAttrs: a, MulticastSnooping: &off})
	case network.KindVXLAN:
		// It answers ARP from its neighbours, and knows no place for a MAC that nobody has told it of.
		err = n.link.LinkAdd(&netlink.Vxlan{LinkAttrs: a, VxlanId: int(x.VNI), SrcAddr: x.Local.AsSlice(), Port: vxlanPort, Proxy: true, TTL: 64})
	case network.KindGateway:
		err = n.addCable(a, x.VNI, network.GatewayLink)
	case network.KindUplink:
		err = n.addCable(a, x.VNI, network.UplinkLink)
	case network.KindTap:
		err = within(n.ns, func() error { return addTap(name) })
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return n.claim(name, x.Kind)
}

// claim marks a link as ours. One that is there already was left by a crash
// before it had its mark, or else it is not ours.
func (n *Network) claim(name string, k network.LinkKind) error {
	l, err := n.link.LinkByName(name)
	if err != nil {
		return err
	}
	var x network.Link
	if !kindOf(l, &x) || x.Kind != k || l.Attrs().Alias != "" && l.Attrs().Alias != mark {
		return fmt.Errorf("there is a link of that name that Cairn has not made; rename it or remove it")
	}
	return n.link.LinkSetAlias(l, mark)
}

func (n *Network) addCable(a netlink.LinkAttrs, vni uint32, peer string) error {
	ns, err := netns.GetFromPath(n.routerPath(vni))
	if err != nil {
		return err
	}
	defer ns.Close()
	return n.link.LinkAdd(&netlink.Veth{LinkAttrs: a, PeerName: peer, PeerNamespace: netlink.NsFd(ns), PeerMTU: uint32(a.MTU)})
}

// addTap makes a tap that stays, so that a domain may come and go on it.
// libvirt opens it with the same flags.
func addTap(name string) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/net/tun: %w (load the tun module)", err)
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
	if errors.Is(err, unix.EBUSY) {
		return nil // a guest has it open
	}
	if err != nil {
		return err
	}
	return unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1)
}

func (n *Network) setLink(name string, x network.Link) error {
	l, err := n.link.LinkByName(name)
	if err != nil {
		return err
	}
	if err := within(n.ns, func() error { return ipv6Off(name) }); err != nil {
		return err
	}
	if err := n.link.LinkSetMTU(l, x.MTU); err != nil {
		return fmt.Errorf("set the MTU to %d: %w", x.MTU, err)
	}
	if x.Kind == network.KindUplink {
		return n.setTransit(l, x.Address)
	}
	if x.Master == "" {
		return nil
	}
	bridge, err := n.link.LinkByName(x.Master)
	if err != nil {
		return err
	}
	if l.Attrs().MasterIndex != bridge.Attrs().Index {
		if err := n.link.LinkSetMaster(l, bridge); err != nil {
			return err
		}
	}
	return errors.Join(n.link.LinkSetLearning(l, false), n.link.LinkSetFlood(l, x.Kind == network.KindVXLAN))
}

// setTransit gives an uplink cable the one address that it has.
func (n *Network) setTransit(l netlink.Link, want netip.Prefix) error {
	have, err := n.link.AddrList(l, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, a := range have {
		if prefixOf(a.IPNet) != want {
			if err := gone(n.link.AddrDel(l, &a)); err != nil {
				return err
			}
		}
	}
	return n.link.AddrReplace(l, address(want))
}

// address is one of a link. With two addresses there is no broadcast.
func address(p netip.Prefix) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
}

func (n *Network) deleteLink(name string) error {
	l, err := n.link.LinkByName(name)
	if err != nil {
		return gone(err)
	}
	if l.Attrs().Alias != mark {
		return nil
	}
	return gone(n.link.LinkDel(l))
}

func (n *Network) fdb(e network.FDBEntry, do func(*netlink.Neigh) error) error {
	return n.withLink(e.Link, func(l netlink.Link) error {
		x := &netlink.Neigh{LinkIndex: l.Attrs().Index, Family: unix.AF_BRIDGE, HardwareAddr: e.MAC[:]}
		if e.Host.IsValid() {
			x.Flags, x.State, x.IP = netlink.NTF_SELF, netlink.NUD_PERMANENT|netlink.NUD_NOARP, e.Host.AsSlice()
		} else {
			x.Flags, x.State = netlink.NTF_MASTER, netlink.NUD_NOARP
		}
		return do(x)
	})
}

func (n *Network) neighbour(e network.Neighbour, do func(*netlink.Neigh) error) error {
	return n.withLink(e.Link, func(l netlink.Link) error { return do(neighbourOf(l, e)) })
}

func neighbourOf(l netlink.Link, e network.Neighbour) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: l.Attrs().Index, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT, IP: e.Address.AsSlice(), HardwareAddr: e.MAC[:]}
}

func (n *Network) inRouter(vni uint32, do func(*netlink.Handle, netns.NsHandle) error) error {
	ns, err := netns.GetFromPath(n.routerPath(vni))
	if err != nil {
		return err
	}
	defer ns.Close()
	h, err := handle(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	return do(h, ns)
}

func setRouter(h *netlink.Handle, ns netns.NsHandle, o network.SetRouter) error {
	err := within(ns, func() error {
		return errors.Join(sysctl("ipv4/ip_forward", "1"), ipv6Off("all"), ipv6Off("default"))
	})
	if err != nil {
		return err
	}
	if lo, err := h.LinkByName("lo"); err != nil {
		return err
	} else if err := h.LinkSetUp(lo); err != nil {
		return err
	}
	for i, name := range []string{network.GatewayLink, network.UplinkLink} {
		if err := setRouterLink(h, name, i, o); err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
	}
	up, err := h.LinkByName(network.UplinkLink)
	if err != nil {
		return err
	}
	return h.RouteReplace(&netlink.Route{LinkIndex: up.Attrs().Index, Gw: o.Want.Default.AsSlice()})
}

func setRouterLink(h *netlink.Handle, name string, i int, o network.SetRouter) error {
	l, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	if i == 0 && l.Attrs().HardwareAddr.String() != network.GatewayMAC().String() {
		if err := h.LinkSetHardwareAddr(l, network.GatewayMAC()); err != nil {
			return err
		}
	}
	if err := errors.Join(h.LinkSetMTU(l, o.Want.MTU), h.LinkSetUp(l)); err != nil {
		return err
	}
	for _, p := range o.DeleteAddresses[i] {
		if err := gone(h.AddrDel(l, address(p))); err != nil {
			return fmt.Errorf("delete the address %s: %w", p, err)
		}
	}
	for _, p := range o.AddAddresses[i] {
		if err := h.AddrReplace(l, address(p)); err != nil {
			return fmt.Errorf("add the address %s: %w", p, err)
		}
	}
	if i != 0 {
		return nil
	}
	for _, e := range o.DelNeighbours {
		if err := gone(h.NeighDel(neighbourOf(l, e))); err != nil {
			return fmt.Errorf("delete %s: %w", e, err)
		}
	}
	for _, e := range o.AddNeighbours {
		if err := h.NeighSet(neighbourOf(l, e)); err != nil {
			return fmt.Errorf("add %s: %w", e, err)
		}
	}
	return nil
}
