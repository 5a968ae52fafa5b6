package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// fabricMTU leaves guests the usual 1500 bytes under a tunnel's 50.
const fabricMTU = 1550

// mark is the alias of the links that are the lab's.
func (l *Lab) mark() string { return "cairn lab " + l.o.Name }

func (l *Lab) bridge() string { return "cl-" + l.o.Name }

// cable is the link of a machine's cable; the name of one has fifteen bytes at most.
func (l *Lab) cable(machine string) string {
	return "cl-" + l.o.Name + "-" + strings.Replace(machine, "controller", "c", 1)
}

// chooseFabric finds a network that nobody uses on this machine, in the range
// that RFC 2544 keeps for laboratories.
func chooseFabric() (netip.Prefix, error) {
	used, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("look for a free network: %w", err)
	}
	for n := range 256 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 19, byte(n), 0}), 24)
		free := true
		for _, u := range used {
			q, err := netip.ParsePrefix(u.String())
			free = free && (err != nil || !q.Overlaps(p))
		}
		if free {
			return p, nil
		}
	}
	return netip.Prefix{}, errors.New("look for a free network: all of 198.19.0.0/16 is in use on this machine")
}

// makeFabric makes the bridge that joins the hosts, with this machine on it.
func (l *Lab) makeFabric() error {
	b := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	b.Name, b.MTU = l.bridge(), fabricMTU
	link, err := netlink.LinkByName(b.Name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		if err := netlink.LinkAdd(b); err != nil {
			return fmt.Errorf("make the bridge %s: %w", b.Name, err)
		}
		link, err = b, netlink.LinkSetAlias(b, l.mark())
	} else if err == nil && link.Attrs().Alias != l.mark() {
		return fmt.Errorf("make the bridge %s: there is a link of that name that is not the lab's", b.Name)
	}
	if err != nil {
		return fmt.Errorf("make the bridge %s: %w", b.Name, err)
	}
	own := netip.PrefixFrom(l.plan.address(1), l.plan.Fabric.Bits())
	if err := setUp(&netlink.Handle{}, link, own); err != nil {
		return fmt.Errorf("set up the bridge %s: %w", b.Name, err)
	}
	return nil
}

// plug gives the machine with that process its cable to the fabric, and the
// link its name there, eth0.
func (l *Lab) plug(host string, own netip.Addr, pid int) error {
	name := l.cable(host)
	if err := l.unplug(host); err != nil {
		return err
	}
	bridge, err := netlink.LinkByName(l.bridge())
	if err != nil {
		return fmt.Errorf("plug in %s: %w", host, err)
	}
	a := netlink.NewLinkAttrs()
	a.Name, a.MTU, a.MasterIndex = name, fabricMTU, bridge.Attrs().Index
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: a, PeerName: "eth0", PeerNamespace: netlink.NsPid(pid)}); err != nil {
		return fmt.Errorf("plug in %s: %w", host, err)
	}
	here, err := netlink.LinkByName(name)
	if err == nil {
		err = errors.Join(netlink.LinkSetAlias(here, l.mark()), netlink.LinkSetUp(here))
	}
	if err != nil {
		return fmt.Errorf("plug in %s: %w", host, err)
	}
	if err := l.configure(pid, netip.PrefixFrom(own, l.plan.Fabric.Bits())); err != nil {
		return fmt.Errorf("plug in %s: %w", host, err)
	}
	return nil
}

// configure sets up the links of a host from inside.
func (l *Lab) configure(pid int, own netip.Prefix) error {
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return err
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	eth, err := h.LinkByName("eth0")
	if err != nil {
		return err
	}
	if err := errors.Join(h.LinkSetUp(lo), setUp(h, eth, own)); err != nil {
		return err
	}
	return h.RouteReplace(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: l.plan.address(1).AsSlice()})
}

// setUp gives a link its address.
func setUp(h *netlink.Handle, link netlink.Link, own netip.Prefix) error {
	mask := net.CIDRMask(own.Bits(), own.Addr().BitLen())
	if err := h.AddrReplace(link, &netlink.Addr{IPNet: &net.IPNet{IP: own.Addr().AsSlice(), Mask: mask}}); err != nil {
		return err
	}
	return h.LinkSetUp(link)
}

// unplug removes a host's cable.
func (l *Lab) unplug(host string) error { return l.removeLink(l.cable(host)) }

// removeFabric removes the bridge.
func (l *Lab) removeFabric() error { return l.removeLink(l.bridge()) }

func (l *Lab) removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove the link %s: %w", name, err)
	}
	if link.Attrs().Alias != l.mark() {
		return fmt.Errorf("remove the link %s: it is not the lab's", name)
	}
	if err := netlink.LinkDel(link); err != nil {
		return fmt.Errorf("remove the link %s: %w", name, err)
	}
	return nil
}
