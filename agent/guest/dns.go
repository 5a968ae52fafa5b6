package guest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

const (
	dnsPort = 53
	// datagramMax is the most that a UDP answer has, in bytes: more might be cut
	// into fragments on its way (DNS flag day 2020).
	datagramMax = 1232
	// dnsIdle is how long a guest may hold a TCP connection without asking.
	dnsIdle = 10 * time.Second
	// What is being asked outside at once, for one network and for one guest.
	flightsNetwork, flightsGuest = 64, 16
)

// names is the DNS server of one network.
type names struct {
	s       *server
	ctx     context.Context // ends with the server
	stop    context.CancelFunc
	udp     *net.UDPConn
	tcp     net.Listener
	callers callers // by TCP
	asked   *throttle[netip.Addr]
	forward *forwarder

	mu      sync.Mutex
	flights map[netip.Addr]int
	flying  int
}

// listen opens the sockets; it runs in the namespace. They are of both families.
func (n *names) listen(ctx context.Context) error {
	all := netip.AddrPortFrom(netip.IPv6Unspecified(), dnsPort).String()
	lc := net.ListenConfig{Control: bindToGateway}
	udp, err := lc.ListenPacket(ctx, "udp", all)
	if err != nil {
		return fmt.Errorf("listen for DNS on UDP port %d: %w", dnsPort, err)
	}
	n.udp = udp.(*net.UDPConn)
	raw, err := n.udp.SyscallConn()
	if err == nil {
		err = control(raw, sayWhereTo)
	}
	if err != nil {
		return fmt.Errorf("listen for DNS on UDP port %d: %w", dnsPort, err)
	}
	lc = net.ListenConfig{Control: forGuests}
	lc.SetMultipathTCP(false)
	if n.tcp, err = lc.Listen(ctx, "tcp", all); err != nil {
		return fmt.Errorf("listen for DNS on TCP port %d: %w", dnsPort, err)
	}
	return nil
}

func (n *names) closeSockets() {
	if n.stop != nil {
		n.stop()
	}
	if n.udp != nil {
		_ = n.udp.Close()
	}
	if n.tcp != nil {
		_ = n.tcp.Close()
	}
}

// serveUDP answers until the socket is closed. What this network knows is
// answered at once; what others have to be asked for, beside it.
func (n *names) serveUDP() {
	buf, oob := make([]byte, 4096), make([]byte, 256)
	for {
		size, more, flags, from, err := n.udp.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				n.ended("UDP", err)
			}
			return
		}
		to, ok := destination(oob[:more])
		who := from.Addr().Unmap()
		if !ok || flags&unix.MSG_TRUNC != 0 || !n.welcome(who, to) {
			continue
		}
		n.answer(buf[:size], who, func(q, a *dns.Msg) {
			b, err := fit(q, a, datagramMax)
			if err == nil {
				_, _, err = n.udp.WriteMsgUDPAddrPort(b, from4or6(to), from)
			}
			if err != nil {
				n.s.log.Debug("a DNS answer was lost", "guest", who, "error", err) // it asks again
			}
		}, n.s.work.Go)
	}
}

// sayWhereTo makes a socket tell with each datagram which address it came to,
// since the answer has to come from there. A host may be without IPv6.
func sayWhereTo(fd int) error {
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err == nil && family == unix.AF_INET {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	}
	return errors.Join(err, unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1))
}

// destination is the address that a datagram came to.
func destination(oob []byte) (netip.Addr, bool) {
	var m4 ipv4.ControlMessage
	var m6 ipv6.ControlMessage
	if m4.Parse(oob) != nil || m6.Parse(oob) != nil {
		return netip.Addr{}, false
	}
	if m6.Dst == nil {
		m6.Dst = m4.Dst
	}
	a, ok := netip.AddrFromSlice(m6.Dst)
	return a.Unmap(), ok
}

// from4or6 makes a datagram leave from that address.
func from4or6(a netip.Addr) []byte {
	if a.Is4() {
		return (&ipv4.ControlMessage{Src: ipOf(a)}).Marshal()
	}
	return (&ipv6.ControlMessage{Src: ipOf(a)}).Marshal()
}

// welcome tells whether who asks is a guest of ours that has asked a gateway,
// and not too often.
func (n *names) welcome(who, at netip.Addr) bool {
	v := n.s.view.Load()
	_, ours := v.byAddr[who]
	return ours && slices.Contains(v.zone.gateways, at) && n.asked.allow(who)
}

// serveTCP takes connections until the listener is closed.
func (n *names) serveTCP() {
	for {
		c, err := n.tcp.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			if errors.Is(err, syscall.ECONNABORTED) {
				continue
			}
			n.ended("TCP", err)
			return
		}
		if !n.callers.welcome(c) {
			c.Close()
			continue
		}
		n.callers.track(c, http.StateNew)
		go n.serveConnection(c) // callers waits for it
	}
}

// serveConnection answers one question after the other.
func (n *names) serveConnection(c net.Conn) {
	defer n.callers.track(c, http.StateClosed)
	defer c.Close()
	who, at := addressOf(c.RemoteAddr().String()), addressOf(c.LocalAddr().String())
	for {
		_ = c.SetDeadline(time.Now().Add(dnsIdle))
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, b); err != nil || !n.welcome(who, at) {
			return
		}
		answered := false
		n.answer(b, who, func(q, a *dns.Msg) {
			if b, err := fit(q, a, dns.MaxMsgSize); err == nil {
				_ = c.SetDeadline(time.Now().Add(dnsIdle))
				_, err = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
				answered = err == nil
			}
		}, func(do func()) { do() })
		if !answered {
			return
		}
	}
}

func (n *names) ended(by string, err error) {
	n.s.dead.Store(true)
	n.s.log.Error("DNS over "+by+" has ended; it begins again when the network is applied", "error", err)
}

// answer gives say the question and its answer, by way of beside if others have to
// be asked. What is no question is passed over in silence.
func (n *names) answer(b []byte, who netip.Addr, say func(q, a *dns.Msg), beside func(func())) {
	q, a := readQuestion(b)
	switch {
	case q == nil:
	case a.Rcode != dns.RcodeSuccess || n.s.view.Load().zone.answer(a):
		say(q, a)
	case !n.depart(who):
		say(q, refusal(q, dns.RcodeServerFailure, dns.ExtendedErrorCodeNotReady, "too much is being asked at once"))
	default:
		beside(func() {
			defer n.arrive(who)
			say(q, n.forward.ask(n.ctx, q))
		})
	}
}

// depart tells whether there is room for one more question outside.
func (n *names) depart(who netip.Addr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.flying >= flightsNetwork || n.flights[who] >= flightsGuest {
		return false
	}
	n.flying++
	n.flights[who]++
	return true
}

func (n *names) arrive(who netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flying--
	if n.flights[who]--; n.flights[who] == 0 {
		delete(n.flights, who)
	}
}

// readQuestion reads a message: nil if there is nothing to answer. The answer's
// code says what is wrong with it; it is success where it is one to answer.
func readQuestion(b []byte) (q, a *dns.Msg) {
	q = new(dns.Msg)
	if err := q.Unpack(b); err != nil {
		if len(b) < 12 || b[2]&0x80 != 0 {
			return nil, nil
		}
		// Only of its first line is it known what it says.
		q = &dns.Msg{MsgHdr: dns.MsgHdr{Id: binary.BigEndian.Uint16(b), Opcode: int(b[2]>>3) & 0xf, RecursionDesired: b[2]&1 != 0}}
		return q, refusal(q, dns.RcodeFormatError, 0, "")
	}
	if q.Response {
		return nil, nil
	}
	if q.Opcode != dns.OpcodeQuery {
		return q, refusal(q, dns.RcodeNotImplemented, 0, "")
	}
	opts := 0
	for _, r := range q.Extra {
		if o, ok := r.(*dns.OPT); ok {
			opts++
			if o.Version() != 0 {
				return q, refusal(q, dns.RcodeBadVers, 0, "")
			}
		}
	}
	if len(q.Question) != 1 || len(q.Answer) > 0 || opts > 1 {
		return q, refusal(q, dns.RcodeFormatError, 0, "")
	}
	if is := q.Question[0]; is.Qclass != dns.ClassINET || metaType(is.Qtype) {
		return q, refusal(q, dns.RcodeRefused, 0, "")
	}
	a = new(dns.Msg).SetReply(q)
	a.RecursionAvailable = true
	return q, a
}

// metaType tells whether a question asks for no kind of record, but for a
// whole zone or for something of the connection.
func metaType(t uint16) bool { return t == dns.TypeOPT || t >= 249 && t <= 254 || t == 0 }

// refusal answers with a code, and says to who understands it why (RFC 8914).
func refusal(q *dns.Msg, code int, info uint16, why string) *dns.Msg {
	a := new(dns.Msg).SetRcode(q, code)
	a.RecursionAvailable = true
	if why != "" && q.IsEdns0() != nil {
		a.SetEdns0(datagramMax, false)
		o := a.IsEdns0()
		o.Option = append(o.Option, &dns.EDNS0_EDE{InfoCode: info, ExtraText: why})
	}
	return a
}

// fit packs an answer into what the guest takes, and most bytes.
func fit(q, a *dns.Msg, most int) ([]byte, error) {
	size := most
	if o := q.IsEdns0(); o != nil {
		if most == datagramMax {
			size = min(most, max(dns.MinMsgSize, int(o.UDPSize())))
		}
		if a.IsEdns0() == nil {
			a.SetEdns0(datagramMax, o.Do())
		}
	} else if most == datagramMax {
		size = dns.MinMsgSize
	}
	a.Truncate(size)
	return a.Pack()
}
