package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	mdl "github.com/mdlayher/netlink"
	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// soon is how long a test waits for what must come.
const soon = 20 * time.Second

// guest is the kernel of a guest: a namespace whose NIC is joined to the port's
// tap by a cable of two file descriptors, as a NIC is by QEMU.
type guest struct {
	t       testing.TB
	port    network.Port
	address netip.Addr // its first
	ns      netns.NsHandle
	tap     *os.File // the host's end of its cable
	unplug  func()
}

// guest plugs a guest into a port of a network. Its address is set by hand.
func (h *host) guest(n network.Network, p network.Port) *guest {
	h.t.Helper()
	g := &guest{t: h.t, port: p, address: p.Addresses[0], ns: newNamespace(h.t)}
	g.plug(h)
	h.in(g.ns, func(x *netlink.Handle) error {
		l, err := x.LinkByName("eth0")
		if err != nil {
			return err
		}
		var subnet network.Subnet
		for _, s := range n.Subnets {
			if s.CIDR.Contains(g.address) {
				subnet = s
			}
		}
		err = errors.Join(
			os.WriteFile("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", []byte("1"), 0), // it would only talk to itself
			x.LinkSetHardwareAddr(l, p.MAC), x.LinkSetMTU(l, n.MTU),
			up(x, "eth0", netip.PrefixFrom(g.address, subnet.CIDR.Bits()).String()),
		)
		if err != nil {
			return err
		}
		return x.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: subnet.Gateway.AsSlice()})
	})
	return g
}

// plug joins the guest's NIC to the port's tap.
func (g *guest) plug(h *host) {
	g.t.Helper()
	outside, err := openTap(h.Network.host.ns, network.Tap(g.port.ID))
	if err != nil {
		g.t.Fatal(err)
	}
	inside, err := openTap(g.ns, "eth0")
	if err != nil {
		g.t.Fatal(err)
	}
	g.tap = outside
	var wg sync.WaitGroup
	wg.Go(func() { pump(outside, inside) })
	wg.Go(func() { pump(inside, outside) })
	g.unplug = sync.OnceFunc(func() {
		_ = outside.Close()
		_ = inside.Close()
		wg.Wait()
	})
	g.t.Cleanup(g.unplug)
	carried(g.t, h.Network.host.ns, network.Tap(g.port.ID))
}

// carried waits until a link has noticed that somebody is at the other end: only
// then does its bridge pass packets.
func carried(t testing.TB, ns netns.NsHandle, link string) {
	t.Helper()
	c, err := mdl.Dial(unix.NETLINK_ROUTE, &mdl.Config{NetNS: int(ns), Groups: 1 << (unix.RTNLGRP_LINK - 1)})
	if err == nil {
		defer c.Close()
		err = c.SetReadDeadline(time.Now().Add(soon))
	}
	h, err2 := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err2 == nil {
		defer h.Close()
	}
	for err = errors.Join(err, err2); err == nil; _, err = c.Receive() {
		l, e := h.LinkByName(link)
		if e != nil {
			t.Fatal(e)
		}
		if l.Attrs().OperState == netlink.OperUp {
			return
		}
	}
	t.Fatal(err)
}

// openTap opens a tap as QEMU does.
func openTap(ns netns.NsHandle, name string) (f *os.File, err error) {
	err = within(ns, func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		r, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
			return fmt.Errorf("open tap %s: %w", name, errors.Join(err, unix.Close(fd)))
		}
		f = os.NewFile(uintptr(fd), name)
		return nil
	})
	return f, err
}

// pump hands on frames, one a read, until one side is closed. A side that is
// switched off refuses them, as one does that has no carrier.
func pump(to io.Writer, from io.Reader) {
	b := make([]byte, 1<<17)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if _, err := to.Write(b[:n]); errors.Is(err, os.ErrClosed) {
			return
		}
	}
}

// inject sends a frame out of the guest's NIC. When it returns, the host's
// rules have seen it.
func (g *guest) inject(frame []byte) {
	g.t.Helper()
	var header [10]byte // of virtio: nothing is left to the host to do
	if _, err := g.tap.Write(append(header[:], frame...)); err != nil {
		g.t.Fatal(err)
	}
}

// ping sends an echo request of that many bytes, which must not be cut, and
// waits for its answer.
func (g *guest) ping(to netip.Addr, size int) error {
	c, err := g.echo(to, size, 1)
	if err != nil {
		return err
	}
	defer c.Close()
	return g.answer(c, to, 1)
}

// echo sends an echo request, and returns where the answer arrives.
func (g *guest) echo(to netip.Addr, size, seq int) (c net.PacketConn, err error) {
	err = within(g.ns, func() error {
		c, err = net.ListenPacket("ip4:icmp", g.address.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	raw, err := c.(*net.IPConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	var set error
	if err := raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	}); err != nil || set != nil {
		return nil, errors.Join(err, set)
	}
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 7, Seq: seq, Data: make([]byte, size)}}
	b, err := m.Marshal(nil)
	if err != nil {
		return nil, err
	}
	if _, err := c.WriteTo(b, &net.IPAddr{IP: to.AsSlice()}); err != nil {
		return nil, errors.Join(fmt.Errorf("%s pings %s: %w", g.port.ID, to, err), c.Close())
	}
	return c, nil
}

func (g *guest) answer(c net.PacketConn, from netip.Addr, seq int) error {
	if err := c.SetReadDeadline(time.Now().Add(soon)); err != nil {
		return err
	}
	b := make([]byte, 1<<16)
	for {
		n, addr, err := c.ReadFrom(b)
		if err != nil {
			return fmt.Errorf("%s pings %s: %w", g.port.ID, from, err)
		}
		m, err := icmp.ParseMessage(1, b[:n])
		if err != nil {
			return err
		}
		if e, ok := m.Body.(*icmp.Echo); ok && m.Type == ipv4.ICMPTypeEchoReply && e.Seq == seq && addr.String() == from.String() {
			return nil
		}
	}
}

// reaches fails the test if there is no answer.
func (g *guest) reaches(to netip.Addr) {
	g.t.Helper()
	if err := g.ping(to, 56); err != nil {
		g.t.Fatal(err)
	}
}

// nicSocket reads whole frames.
type nicSocket struct {
	*packet.Conn
	t testing.TB
}

// frames reads all frames that the guest's NIC sends and gets.
func (g *guest) frames() *nicSocket {
	g.t.Helper()
	return framesOf(g.t, g.ns, "eth0")
}

func framesOf(t testing.TB, ns netns.NsHandle, link string) *nicSocket {
	t.Helper()
	s := &nicSocket{t: t}
	err := within(ns, func() error {
		i, err := net.InterfaceByName(link)
		if err != nil {
			return err
		}
		s.Conn, err = packet.Listen(i, packet.Raw, unix.ETH_P_ALL, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (s *nicSocket) send(frame []byte) {
	s.t.Helper()
	if _, err := s.WriteTo(frame, &packet.Addr{HardwareAddr: net.HardwareAddr(frame[:6])}); err != nil {
		s.t.Fatal(err)
	}
}

// until reads frames up to the one that is told, and returns all before it.
func (s *nicSocket) until(last func(frame []byte) bool) (before [][]byte) {
	s.t.Helper()
	if err := s.SetReadDeadline(time.Now().Add(soon)); err != nil {
		s.t.Fatal(err)
	}
	for {
		b := make([]byte, 1<<16)
		n, _, err := s.ReadFrom(b)
		if err != nil {
			s.t.Fatalf("a frame is waited for that does not come (%v); there were\n%x", err, before)
		}
		if last(b[:n]) {
			return before
		}
		before = append(before, b[:n])
	}
}

// Frames, byte by byte.

// is tells whether a frame is an IPv4 packet of that protocol, with something in it.
func is(f []byte, protocol byte) bool {
	return len(f) > 34 && binary.BigEndian.Uint16(f[12:]) == unix.ETH_P_IP && f[23] == protocol
}

var broadcast = net.HardwareAddr{255, 255, 255, 255, 255, 255}

func etherFrame(to, from net.HardwareAddr, kind uint16, payload []byte) []byte {
	b := append(append([]byte{}, to...), from...)
	return append(binary.BigEndian.AppendUint16(b, kind), payload...)
}

func arpPacket(operation uint16, mac net.HardwareAddr, ip, asked netip.Addr) []byte {
	b := []byte{0, 1, 8, 0, 6, 4}
	b = binary.BigEndian.AppendUint16(b, operation)
	b = append(append(b, mac...), ip.AsSlice()...)
	return append(append(b, 0, 0, 0, 0, 0, 0), asked.AsSlice()...)
}

func ipPacket(from, to netip.Addr, protocol byte, payload []byte) []byte {
	b := []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0}
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	b = append(append(b, from.AsSlice()...), to.AsSlice()...)
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
	return append(b, payload...)
}

// udpPacket has no checksum, which IPv4 allows.
func udpPacket(from, to uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}
