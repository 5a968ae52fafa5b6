package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
	"github.com/cairn-cloud/cairn/network/linux"
)

const (
	vni       = 42
	fabricMTU = 1550
	guestMTU  = 1500
	group     = "sgr_measured"
)

// room is two hosts with a guest each.
type room struct {
	name  string
	hosts [2]netns.NsHandle
	guest [2]netns.NsHandle
	close []func() error
}

func address(host int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(host + 1)}) }
func guestIP(host int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(host + 10)}) }

func guestMAC(host int) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, byte(host + 1)} }
func portID(host int) string             { return fmt.Sprintf("prt_%012d", host+1) }

// newRoom makes the hosts, and the cable between them.
func newRoom(name string) (r *room, err error) {
	r = &room{name: name}
	for i := range r.hosts {
		if r.hosts[i], err = newNamespace(); err != nil {
			return r, err
		}
		if r.guest[i], err = newNamespace(); err != nil {
			return r, err
		}
		r.close = append(r.close, r.hosts[i].Close, r.guest[i].Close)
	}
	err = in(r.hosts[0], func(h *netlink.Handle) error {
		a := netlink.NewLinkAttrs()
		a.Name, a.MTU = "eth0", fabricMTU
		return h.LinkAdd(&netlink.Veth{LinkAttrs: a, PeerName: "eth0", PeerMTU: fabricMTU, PeerNamespace: netlink.NsFd(r.hosts[1]), PeerTxQLen: -1})
	})
	for i := range r.hosts {
		err = errors.Join(err, in(r.hosts[i], func(h *netlink.Handle) error {
			return errors.Join(up(h, "lo"), up(h, "eth0", netip.PrefixFrom(address(i), 24)))
		}))
	}
	return r, err
}

func (r *room) Close() (err error) {
	for _, c := range r.close {
		err = errors.Join(err, c())
	}
	return err
}

// newNamespace makes one that has no name and ends with its last user.
func newNamespace() (netns.NsHandle, error) {
	type made struct {
		ns  netns.NsHandle
		err error
	}
	result := make(chan made)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- made{netns.None(), fmt.Errorf("make a namespace: %w (it needs root)", err)}
			return
		}
		ns, err := netns.Get()
		result <- made{ns, err}
	}()
	m := <-result
	return m.ns, m.err
}

// within runs something on a thread that is in the namespace.
func within(ns netns.NsHandle, do func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := netns.Set(ns)
		if err == nil {
			err = do()
		}
		result <- err
	}()
	return <-result
}

func in(ns netns.NsHandle, do func(h *netlink.Handle) error) error {
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	return do(h)
}

func up(h *netlink.Handle, link string, addresses ...netip.Prefix) error {
	l, err := h.LinkByName(link)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if err := h.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), 32)}}); err != nil {
			return err
		}
	}
	return h.LinkSetUp(l)
}

// bare makes what Cairn makes, without its rules: bridges, tunnels and their entries.
func (r *room) bare() error {
	for i := range r.hosts {
		err := within(r.hosts[i], func() error { // not a packet comes by anybody's rules
			for _, what := range []string{"iptables", "ip6tables"} {
				if err := os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-"+what, []byte("0"), 0); err != nil {
					return err
				}
			}
			return nil
		})
		err = errors.Join(err, in(r.hosts[i], func(h *netlink.Handle) error {
			a, off := netlink.NewLinkAttrs(), false
			a.Name, a.MTU = network.Bridge(vni), guestMTU
			if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: a, MulticastSnooping: &off}); err != nil {
				return err
			}
			bridge, err := h.LinkByName(a.Name)
			if err != nil {
				return err
			}
			a = netlink.NewLinkAttrs()
			a.Name, a.MTU, a.MasterIndex = network.VXLAN(vni), guestMTU, bridge.Attrs().Index
			if err := h.LinkAdd(&netlink.Vxlan{LinkAttrs: a, VxlanId: vni, SrcAddr: address(i).AsSlice(), Port: network.VXLANPort, Proxy: true, UDPCSum: true}); err != nil {
				return err
			}
			vxlan, err := h.LinkByName(a.Name)
			if err != nil {
				return err
			}
			other := 1 - i
			return errors.Join(
				h.LinkSetLearning(vxlan, false), h.LinkSetFlood(vxlan, false), h.LinkSetUp(bridge), h.LinkSetUp(vxlan),
				h.NeighSet(&netlink.Neigh{LinkIndex: vxlan.Attrs().Index, Family: unix.AF_BRIDGE, HardwareAddr: guestMAC(other), Flags: netlink.NTF_MASTER, State: netlink.NUD_NOARP}),
				h.NeighSet(&netlink.Neigh{LinkIndex: vxlan.Attrs().Index, Family: unix.AF_BRIDGE, HardwareAddr: guestMAC(other), IP: address(other).AsSlice(), Flags: netlink.NTF_SELF, State: netlink.NUD_PERMANENT | netlink.NUD_NOARP}),
				h.NeighSet(&netlink.Neigh{LinkIndex: vxlan.Attrs().Index, Family: unix.AF_INET, IP: guestIP(other).AsSlice(), HardwareAddr: guestMAC(other), State: netlink.NUD_PERMANENT}),
			)
		}))
		if err != nil {
			return err
		}
	}
	return r.plug()
}

// size is how much else there is.
type size struct{ members, rules, ports int }

// cairn has the hosts made by Cairn itself.
func (s size) cairn(ctx context.Context, r *room, dir string) error {
	for i := range r.hosts {
		d := network.Desired{Underlay: address(i), UnderlayMTU: fabricMTU, Networks: []network.Network{s.network(i)}, Groups: map[string]network.SecurityGroup{group: s.group()}}
		err := within(r.hosts[i], func() error {
			n, err := linux.Open(linux.Options{NamespaceDir: filepath.Join(dir, r.name, fmt.Sprint(i))})
			if err != nil {
				return err
			}
			r.close = append(r.close, func() error { // what has a name would stay
				_, err := n.Apply(context.WithoutCancel(ctx), network.Desired{})
				return errors.Join(err, n.Close())
			})
			_, err = n.Apply(ctx, d)
			return err
		})
		if err != nil {
			return err
		}
	}
	return r.plug()
}

func (s size) network(host int) network.Network {
	n := network.Network{ID: "net_measured", VNI: vni, MTU: guestMTU, Subnets: []network.Subnet{{ID: "sub_measured", CIDR: netip.MustParsePrefix("10.0.0.0/16"), Gateway: netip.MustParseAddr("10.0.0.1")}}}
	for i := range 2 {
		n.Ports = append(n.Ports, port(i, guestMAC(i), guestIP(i), host == i, 1-host))
	}
	for i := 2; i < s.members; i++ {
		at := i + 100
		n.Ports = append(n.Ports, port(i, net.HardwareAddr{2, 1, 0, 0, byte(at >> 8), byte(at)}, netip.AddrFrom4([4]byte{10, 0, byte(at >> 8), byte(at)}), i < s.ports, 1-host))
	}
	return n
}

func port(i int, mac net.HardwareAddr, a netip.Addr, local bool, at int) network.Port {
	p := network.Port{ID: portID(i), MAC: mac, Addresses: []netip.Addr{a}, Groups: []string{group}, Local: local}
	if !local {
		p.Underlay = address(at)
	}
	return p
}

// group allows its members TCP and UDP, and some others a port each.
func (s size) group() network.SecurityGroup {
	all := network.SecurityRule{Protocols: network.AllProtocols, Details: network.AllDetails, Group: group}
	g := network.SecurityGroup{Rules: []network.SecurityRule{all}}
	all.Egress = true
	g.Rules = append(g.Rules, all)
	for i := 2; i < s.rules; i++ {
		g.Rules = append(g.Rules, network.SecurityRule{
			Egress: i%2 == 0, Protocols: network.Range{First: 6, Last: 6}, Details: network.Range{First: uint16(i), Last: uint16(i)},
			CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}), 32),
		})
	}
	return g
}

// plug puts cables in the place of the two guests' taps.
func (r *room) plug() error {
	for i := range r.hosts {
		err := in(r.hosts[i], func(h *netlink.Handle) error {
			tap := network.Tap(portID(i))
			if l, err := h.LinkByName(tap); err == nil {
				if err := h.LinkDel(l); err != nil {
					return err
				}
			}
			bridge, err := h.LinkByName(network.Bridge(vni))
			if err != nil {
				return err
			}
			a := netlink.NewLinkAttrs()
			a.Name, a.MTU, a.MasterIndex = tap, guestMTU, bridge.Attrs().Index
			if err := h.LinkAdd(&netlink.Veth{LinkAttrs: a, PeerName: "eth0", PeerMTU: guestMTU, PeerHardwareAddr: guestMAC(i), PeerNamespace: netlink.NsFd(r.guest[i]), PeerTxQLen: -1}); err != nil {
				return err
			}
			l, err := h.LinkByName(tap)
			if err != nil {
				return err
			}
			return errors.Join(
				h.LinkSetLearning(l, false), h.LinkSetFlood(l, false), h.LinkSetUp(l),
				h.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, Family: unix.AF_BRIDGE, HardwareAddr: guestMAC(i), Flags: netlink.NTF_MASTER, State: netlink.NUD_NOARP}),
			)
		})
		err = errors.Join(err, in(r.guest[i], func(h *netlink.Handle) error {
			return errors.Join(up(h, "lo"), up(h, "eth0", netip.PrefixFrom(guestIP(i), 16)))
		}))
		if err != nil {
			return err
		}
	}
	return nil
}
