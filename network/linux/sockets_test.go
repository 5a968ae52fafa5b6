package linux

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// tracked lists the connections that a host tracks.
func (h *host) tracked() (b []byte) {
	h.t.Helper()
	err := within(h.Network.host.ns, func() (err error) {
		b, err = os.ReadFile("/proc/thread-self/net/nf_conntrack")
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

func (w *world) listenUDP(ns netns.NsHandle, at netip.AddrPort) (c *net.UDPConn) {
	w.t.Helper()
	err := within(ns, func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (w *world) read(c *net.UDPConn) ([]byte, netip.AddrPort) {
	w.t.Helper()
	b := make([]byte, 1<<16)
	if err := c.SetReadDeadline(time.Now().Add(soon)); err != nil {
		w.t.Fatal(err)
	}
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		w.t.Fatal(err)
	}
	return b[:n], from
}

func (w *world) listenTCP(ns netns.NsHandle, at netip.AddrPort) (l net.Listener) {
	w.t.Helper()
	err := within(ns, func() (err error) {
		l, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() })
	return l
}

// connect begins a connection and does not wait for it.
func (w *world) connect(ns netns.NsHandle, to netip.AddrPort) {
	w.t.Helper()
	err := within(ns, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		w.t.Cleanup(func() { _ = unix.Close(fd) })
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); !errors.Is(err, unix.EINPROGRESS) {
			return err
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) accept(l net.Listener) {
	w.t.Helper()
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(soon)); err != nil {
		w.t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		w.t.Fatal(err)
	}
	_ = c.Close()
}

// pending tells whether somebody is waiting to be accepted, without waiting.
func (w *world) pending(l *net.TCPListener) (yes bool) {
	w.t.Helper()
	raw, err := l.SyscallConn()
	if err != nil {
		w.t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		yes = err == nil && n > 0
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return yes
}

// macOf reads the MAC of a host's link.
func (h *host) macOf(link string) (mac net.HardwareAddr) {
	h.t.Helper()
	h.in(h.Network.host.ns, func(x *netlink.Handle) error {
		l, err := x.LinkByName(link)
		if err != nil {
			return err
		}
		mac = l.Attrs().HardwareAddr
		return nil
	})
	return mac
}

// settled returns when all that one host had sent to another has arrived there.
func (w *world) settled(from, to *host) {
	w.t.Helper()
	server := w.listenUDP(to.Network.host.ns, netip.AddrPortFrom(to.address, 0))
	client := w.listenUDP(from.Network.host.ns, netip.AddrPortFrom(from.address, 0))
	if _, err := client.WriteTo([]byte("mark"), server.LocalAddr()); err != nil {
		w.t.Fatal(err)
	}
	w.read(server)
}

// router opens a router's namespace on the first host.
func (r room) router(name string) netns.NsHandle {
	r.t.Helper()
	ns, err := netns.GetFromPath(r.one.path(name))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = ns.Close() })
	return ns
}
