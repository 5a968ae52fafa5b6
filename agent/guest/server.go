package guest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// tcpPatience is how long data may be on its way to a guest before its
// connection is given up.
const tcpPatience = 10 * time.Second

// server is what answers in one network.
type server struct {
	at   place
	view atomic.Pointer[view]
	log  *slog.Logger

	dhcp     *packet.Conn
	solicit  *packet.Conn   // router solicitations
	sink     net.PacketConn // keeps the kernel from answering "port unreachable"
	listener net.Listener
	http     *http.Server
	metadata *metadata
	callers  callers
	asked    *throttle[mac] // by DHCP
	lookedUp *throttle[mac] // by router solicitations
	names    names

	work sync.WaitGroup
	dead atomic.Bool // a part of it has ended by itself
}

// openServer opens the sockets in the namespace and serves on them.
func openServer(ctx context.Context, file string, v *view, t *tokens, f *forwarder, log *slog.Logger) (*server, error) {
	s := &server{log: log, asked: newThrottle[mac](dhcpRate, dhcpBurst, t.now), lookedUp: newThrottle[mac](dhcpRate, dhcpBurst, t.now)}
	s.view.Store(v)
	s.names = names{s: s, asked: newThrottle[netip.Addr](dnsRate, dnsBurst, t.now), forward: f, flights: map[netip.Addr]int{}}
	s.names.callers.view = &s.view
	s.names.ctx, s.names.stop = context.WithCancel(context.WithoutCancel(ctx))
	err := enter(file, func(at place) error {
		s.at = at
		return s.listen(ctx)
	})
	if err != nil {
		s.closeSockets()
		return nil, err
	}
	s.callers.view = &s.view
	s.metadata = &metadata{&s.view, t, newThrottle[netip.Addr](httpRate, httpBurst, t.now)}
	s.http = newHTTPServer(s.metadata, &s.callers, log)
	s.work.Go(func() { s.servePackets("DHCP", s.dhcp, s.dhcpPacket) })
	s.work.Go(func() { s.servePackets("router advertising", s.solicit, s.solicitPacket) })
	s.work.Go(s.serveHTTP)
	s.work.Go(s.names.serveUDP)
	s.work.Go(s.names.serveTCP)
	return s, nil
}

// listen opens the sockets; it runs in the namespace. All are bound to the link
// towards the guests, so that nobody is heard who comes by the way out.
func (s *server) listen(ctx context.Context) (err error) {
	filter, err := dhcpFilter()
	if err != nil {
		return fmt.Errorf("filter for DHCP: %w", err)
	}
	s.dhcp, err = packet.Listen(&net.Interface{Index: s.at.link}, packet.Datagram, unix.ETH_P_IP, &packet.Config{Filter: filter})
	if err != nil {
		return fmt.Errorf("listen for DHCP on %s: %w", network.GatewayLink, err)
	}
	if filter, err = solicitFilter(); err != nil {
		return fmt.Errorf("filter for router solicitations: %w", err)
	}
	s.solicit, err = packet.Listen(&net.Interface{Index: s.at.link}, packet.Datagram, unix.ETH_P_IPV6, &packet.Config{Filter: filter})
	if err != nil {
		return fmt.Errorf("listen for router solicitations on %s: %w", network.GatewayLink, err)
	}
	lc := net.ListenConfig{Control: bindToGateway}
	s.sink, err = lc.ListenPacket(ctx, "udp4", netip.AddrPortFrom(netip.IPv4Unspecified(), serverPort).String())
	if err != nil {
		return fmt.Errorf("listen for DHCP on UDP port %d: %w", serverPort, err)
	}
	none, err := nothingFilter()
	if err == nil {
		err = ipv4.NewPacketConn(s.sink).SetBPF(none)
	}
	if err != nil {
		return fmt.Errorf("filter of UDP port %d: %w", serverPort, err)
	}
	lc = net.ListenConfig{Control: forGuests}
	lc.SetMultipathTCP(false)
	s.listener, err = lc.Listen(ctx, "tcp4", netip.AddrPortFrom(network.MetadataAddress(), httpPort).String())
	if err != nil {
		return fmt.Errorf("listen for metadata (link %s has to have the address %s): %w", network.GatewayLink, network.MetadataAddress(), err)
	}
	return s.names.listen(ctx)
}

func bindToGateway(_, _ string, c syscall.RawConn) error {
	return control(c, func(fd int) error { return unix.BindToDevice(fd, network.GatewayLink) })
}

// forGuests also bounds how long the kernel tries to reach a guest that is gone.
func forGuests(_, _ string, c syscall.RawConn) error {
	return control(c, func(fd int) error {
		return errors.Join(unix.BindToDevice(fd, network.GatewayLink),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(tcpPatience.Milliseconds())))
	})
}

func control(c syscall.RawConn, do func(fd int) error) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = do(int(fd)) }); e != nil {
		return e
	}
	return err
}

// show makes the view what is answered from.
func (s *server) show(v *view) {
	s.view.Store(v)
	here := func(m mac) bool { _, ok := v.byMAC[m]; return ok }
	s.asked.keep(here)
	s.lookedUp.keep(here)
	known := func(a netip.Addr) bool { _, ok := v.byAddr[a]; return ok }
	s.metadata.asked.keep(known)
	s.names.asked.keep(known)
}

// servePackets answers until the socket is closed.
func (s *server) servePackets(what string, c *packet.Conn, answer func([]byte, net.Addr)) {
	buf := make([]byte, 0x10000)
	for {
		n, from, err := c.ReadFrom(buf)
		switch {
		case err == nil:
			answer(buf[:n], from)
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, unix.ENETDOWN):
			// The link went down; the socket hears again when it comes up.
		default:
			s.dead.Store(true)
			s.log.Error(what+" has ended; it begins again when the network is applied", "error", err)
			return
		}
	}
}

func (s *server) dhcpPacket(p []byte, from net.Addr) {
	a, ok := from.(*packet.Addr)
	if !ok || len(a.HardwareAddr) != len(mac{}) {
		return
	}
	v, who := s.view.Load(), mac(a.HardwareAddr)
	if _, ours := v.byMAC[who]; !ours || !s.asked.allow(who) {
		return
	}
	answer, n := answerDHCP(v, who, payload(p))
	if answer == nil {
		return
	}
	out, err := answerPacket(n.subnet().Gateway, replyTo(answer, n), answer.ToBytes())
	if err == nil {
		_, err = s.dhcp.WriteTo(out, &packet.Addr{HardwareAddr: a.HardwareAddr})
	}
	if err != nil {
		s.log.Debug("a DHCP answer was lost", "port", n.port.ID, "error", err) // the client asks again
	}
}

func (s *server) solicitPacket(p []byte, from net.Addr) {
	a, ok := from.(*packet.Addr)
	if !ok || len(a.HardwareAddr) != len(mac{}) || !solicits(p) {
		return
	}
	who := mac(a.HardwareAddr)
	n, ours := s.view.Load().byMAC[who]
	if !ours || !s.lookedUp.allow(who) {
		return
	}
	out, err := advertise(n)
	if err == nil && out != nil {
		_, err = s.solicit.WriteTo(out, &packet.Addr{HardwareAddr: a.HardwareAddr})
	}
	if err != nil {
		s.log.Debug("a router advertisement was lost", "port", n.port.ID, "error", err) // the guest asks again
	}
}

// serveHTTP serves metadata until the listener is closed.
func (s *server) serveHTTP() {
	err := s.http.Serve(s.callers.gate(s.listener))
	if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		s.dead.Store(true)
		s.log.Error("metadata has ended; it begins again when the network is applied", "error", err)
	}
}

func (s *server) alive() bool { return !s.dead.Load() }

// close ends serving, and waits for it.
func (s *server) close() {
	s.closeSockets()
	s.callers.reset()
	_ = s.http.Close()
	s.names.callers.hangUp()
	s.work.Wait()
	s.callers.reset() // and what was accepted meanwhile
	_ = s.http.Close()
	s.names.callers.hangUp()
	s.callers.wait()
	s.names.callers.wait()
}

func (s *server) closeSockets() {
	if s.dhcp != nil {
		_ = s.dhcp.Close()
	}
	if s.solicit != nil {
		_ = s.solicit.Close()
	}
	if s.sink != nil {
		_ = s.sink.Close()
	}
	if s.listener != nil {
		_ = s.listener.Close()
	}
	s.names.closeSockets()
}
