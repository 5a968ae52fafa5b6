package linux

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// putLink makes a link and makes it what it is to be. The mark comes last: a
// link that has it is whole.
func (k *kernel) putLink(o network.PutLink) error {
	s, err := k.space(o.Namespace)
	if err != nil {
		return err
	}
	l, err := s.links.LinkByName(o.Link.Name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		if err := k.makeLink(s, o); err != nil {
			return err
		}
		delete(s.index, o.Link.Name)
		l, err = s.links.LinkByName(o.Link.Name)
	}
	if err != nil {
		return err
	}
	if !ours(o.Namespace, l) {
		return fmt.Errorf("there is a link %s that Cairn has not made: remove it or give it another name", o.Link.Name)
	}
	return s.setLink(l, o.Link)
}

func (k *kernel) makeLink(s *space, o network.PutLink) error {
	a := netlink.NewLinkAttrs()
	a.Name, a.MTU, a.Group = o.Link.Name, o.Link.MTU, network.Group
	if o.Namespace != "" {
		return errors.New("its cable is missing")
	}
	switch o.Link.Kind {
	case network.KindBridge:
		return s.links.LinkAdd(&netlink.Bridge{LinkAttrs: a, MulticastSnooping: &o.Link.Snooping, GroupFwdMask: &o.Link.Group})
	case network.KindVXLAN:
		t := o.Link.Tunnel
		return s.links.LinkAdd(&netlink.Vxlan{LinkAttrs: a, VxlanId: int(t.VNI), SrcAddr: t.Local.AsSlice(), Port: t.Port, Learning: t.Learning, Proxy: t.Proxy, UDPCSum: true})
	case network.KindCable:
		return k.makeCable(s, a, o.Link.Peer)
	case network.KindDetour:
		return s.links.LinkAdd(&netlink.Ifb{LinkAttrs: a})
	case network.KindTap:
		return within(s.ns, func() error { return makeTap(o.Link.Name) })
	default:
		return fmt.Errorf("a link of kind %q cannot be made", o.Link.Kind)
	}
}

func (k *kernel) makeCable(s *space, a netlink.LinkAttrs, peer string) error {
	namespace, name, _ := strings.Cut(peer, "/")
	other, err := k.space(namespace)
	if err != nil {
		return err
	}
	delete(other.index, name)
	return s.links.LinkAdd(&netlink.Veth{LinkAttrs: a, PeerName: name, PeerNamespace: netlink.NsFd(other.ns), PeerMTU: uint32(a.MTU), PeerTxQLen: -1})
}

// makeTap makes a tap that stays, so that a domain may come and go on it. QEMU
// opens it with the same flags (and libvirt with managed='no' demands that it
// is there); with several queues it could not be opened with one. Until the end
// the tap goes with its descriptor, and so does one that is half made.
func makeTap(name string) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/net/tun: %w (load the module tun)", err)
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_TUN_EXCL)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
		return err
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	l, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	if err := h.LinkSetGroup(l, network.Group); err != nil {
		return err
	}
	return unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1)
}

// setLink makes a link what it is to be, but for switching it on.
func (s *space) setLink(l netlink.Link, want network.Link) error {
	a := l.Attrs()
	s.index[a.Name] = a.Index
	if want.Bridge != "" {
		if err := s.plug(l, want); err != nil {
			return fmt.Errorf("put it on %s: %w", want.Bridge, err)
		}
	} else if a.MasterIndex != 0 {
		if err := s.links.LinkSetNoMaster(l); err != nil {
			return err
		}
	}
	if want.MTU != 0 && a.MTU != want.MTU {
		if err := s.links.LinkSetMTU(l, want.MTU); err != nil {
			return fmt.Errorf("set the MTU to %d: %w", want.MTU, err)
		}
	}
	if want.MAC != (network.MAC{}) && a.HardwareAddr.String() != want.MAC.String() {
		if err := s.links.LinkSetHardwareAddr(l, want.MAC[:]); err != nil {
			return fmt.Errorf("set the MAC to %s: %w", want.MAC, err)
		}
	}
	if want.Kind == network.KindBridge {
		b := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs(), MulticastSnooping: &want.Snooping, GroupFwdMask: &want.Group}
		b.Name, b.Index = a.Name, a.Index
		if err := s.links.LinkModify(b); err != nil {
			return fmt.Errorf("set what it forwards: %w", err)
		}
		if err := within(s.ns, func() error { return filter(a.Index, want.Filtered) }); err != nil {
			return fmt.Errorf("set whether it filters: %w", err)
		}
	}
	if a.Alias == want.Alias {
		return nil
	}
	return s.links.LinkSetAlias(l, want.Alias)
}

func (s *space) plug(l netlink.Link, want network.Link) error {
	bridge, err := s.indexOf(want.Bridge)
	if err != nil {
		return err
	}
	if l.Attrs().MasterIndex != bridge {
		if err := s.links.LinkSetMasterByIndex(l, bridge); err != nil {
			return err
		}
	}
	return errors.Join(s.links.LinkSetLearning(l, want.Port.Learning), s.links.LinkSetFlood(l, want.Port.Flood), s.links.LinkSetHairpin(l, want.Port.Hairpin))
}

func (k *kernel) removeLink(o network.RemoveLink) error {
	s, err := k.space(o.Namespace)
	if err != nil {
		return err
	}
	delete(s.index, o.Name)
	l, err := s.links.LinkByName(o.Name)
	if err != nil {
		return gone(err)
	}
	if !ours(o.Namespace, l) {
		return nil
	}
	return gone(s.links.LinkDel(l))
}
