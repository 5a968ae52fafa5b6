package guest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/cairn-cloud/cairn/network"
)

const (
	// How long one server has to answer, and how many are tried: together less
	// than the five seconds after which guests give up.
	forwardPatience = 1500 * time.Millisecond
	forwardTries    = 3
	// flightsHost is how much is asked at once for all networks, each with a socket.
	flightsHost = 512
)

// forwarder asks the resolvers of the operator what no network of ours knows.
// Its sockets are the host's.
//
// A guest is not to see by way of the host what it could not see by itself. So
// only servers that the operator chose are asked, never one that a tenant
// named. And where the operator chose none for guests, the host's own are asked, but not for
// names that are private by their kind or are the host's own domains,
// and an answer with an address that is not public is withheld.
type forwarder struct {
	given  []netip.AddrPort // by the operator, for guests
	file   string           // resolv.conf, where none are given
	log    *slog.Logger
	room   chan struct{}
	chosen atomic.Pointer[netip.AddrPort] // who answered last

	mu   sync.Mutex
	read resolvers
	seen os.FileInfo // of the file, when it was read
}

// resolvers are whom to ask.
type resolvers struct {
	servers []netip.AddrPort
	own     bool     // the host's: what is private is kept from guests
	search  []string // canonical domains of the host
}

func newForwarder(given []netip.AddrPort, file string, log *slog.Logger) *forwarder {
	return &forwarder{given: given, file: file, log: log, room: make(chan struct{}, flightsHost)}
}

// ask returns the answer to a guest's question, if only that there is none.
func (f *forwarder) ask(ctx context.Context, q *dns.Msg) *dns.Msg {
	r := f.resolvers()
	name := dns.CanonicalName(q.Question[0].Name)
	switch {
	case r.hides(name):
		return refusal(q, dns.RcodeNameError, dns.ExtendedErrorCodeFiltered, "names of this kind are not looked up for guests")
	case !q.RecursionDesired:
		return refusal(q, dns.RcodeRefused, 0, "")
	case len(r.servers) == 0:
		return refusal(q, dns.RcodeRefused, dns.ExtendedErrorCodeNotReady, "this host has no name server to ask")
	}
	select {
	case f.room <- struct{}{}:
		defer func() { <-f.room }()
	default:
		return refusal(q, dns.RcodeServerFailure, dns.ExtendedErrorCodeNotReady, "too much is being asked at once")
	}
	a := f.askServers(ctx, r, q)
	if a == nil {
		return refusal(q, dns.RcodeServerFailure, dns.ExtendedErrorCodeNoReachableAuthority, "no name server answers")
	}
	if r.own && private(a) {
		return refusal(q, dns.RcodeRefused, dns.ExtendedErrorCodeFiltered, "the answer has an address that is not public")
	}
	return replyWith(q, a)
}

// askServers asks one after the other, and returns the first answer that is one,
// or else what the last has said, or nil. Who answered last is asked first.
func (f *forwarder) askServers(ctx context.Context, r resolvers, q *dns.Msg) (said *dns.Msg) {
	servers := slices.Clone(r.servers)
	if last := f.chosen.Load(); last != nil {
		if i := slices.Index(servers, *last); i > 0 {
			servers = slices.Insert(slices.Delete(servers, i, i+1), 0, *last)
		}
	}
	for _, server := range servers[:min(len(servers), forwardTries)] {
		a, err := exchange(ctx, server, q)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			f.log.Debug("a name server gave no answer", "server", server, "error", err)
			continue
		}
		if a.Rcode == dns.RcodeSuccess || a.Rcode == dns.RcodeNameError {
			f.chosen.Store(&server)
			return a
		}
		said = a
	}
	return said
}

// exchange asks one server, under an ID and from a port that nobody foresees, and
// over TCP where the answer is too long for a datagram.
func exchange(ctx context.Context, server netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
	ask := new(dns.Msg)
	ask.Id, ask.RecursionDesired, ask.CheckingDisabled = dns.Id(), true, q.CheckingDisabled
	ask.Question = slices.Clone(q.Question)
	o := q.IsEdns0()
	ask.SetEdns0(datagramMax, o != nil && o.Do())
	ctx, cancel := context.WithTimeout(ctx, forwardPatience)
	defer cancel()
	a, err := exchangeOver(ctx, "udp", server, ask)
	if err == nil && a.Truncated {
		return exchangeOver(ctx, "tcp", server, ask)
	}
	return a, err
}

func exchangeOver(ctx context.Context, by string, server netip.AddrPort, ask *dns.Msg) (*dns.Msg, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, by, server.String())
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	defer c.Close()
	conn := &dns.Conn{Conn: c}
	if err := conn.WriteMsg(ask); err != nil {
		return nil, err
	}
	for b := make([]byte, dns.MaxMsgSize); ; {
		n, err := conn.Read(b)
		if err != nil {
			return nil, errors.Join(err, ctx.Err())
		}
		// What does not belong to the question is somebody else's, and the answer may still come.
		a := new(dns.Msg)
		if a.Unpack(b[:n]) == nil && answers(ask, a) {
			return a, nil
		}
	}
}

// answers tells whether a message is the answer to that question.
func answers(q, a *dns.Msg) bool {
	return a.Response && a.Id == q.Id && a.Opcode == dns.OpcodeQuery && len(a.Question) == 1 &&
		a.Question[0].Qtype == q.Question[0].Qtype && a.Question[0].Qclass == q.Question[0].Qclass &&
		dns.CanonicalName(a.Question[0].Name) == dns.CanonicalName(q.Question[0].Name)
}

// replyWith makes a server's answer the guest's: records and code, and nothing
// that was between the server and us.
func replyWith(q, from *dns.Msg) *dns.Msg {
	a := new(dns.Msg).SetRcode(q, from.Rcode)
	a.RecursionAvailable, a.CheckingDisabled = true, q.CheckingDisabled
	a.Answer, a.Ns = from.Answer, from.Ns
	for _, r := range from.Extra {
		if t := r.Header().Rrtype; t != dns.TypeOPT && t != dns.TypeTSIG {
			a.Extra = append(a.Extra, r)
		}
	}
	return a
}

// resolvers are whom to ask now: the file is read again when it has changed.
func (f *forwarder) resolvers() resolvers {
	if len(f.given) > 0 {
		return resolvers{servers: f.given}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := os.Stat(f.file)
	if err == nil && f.seen != nil && os.SameFile(f.seen, now) && f.seen.ModTime().Equal(now.ModTime()) && f.seen.Size() == now.Size() {
		return f.read
	}
	if err == nil {
		var c *dns.ClientConfig
		if c, err = dns.ClientConfigFromFile(f.file); err == nil {
			f.read, f.seen = resolversOf(c), now
			return f.read
		}
	}
	if f.seen != nil || !errors.Is(err, fs.ErrNotExist) {
		f.log.Warn("guests' questions about the world go unanswered: the host's name servers are not known", "error", err)
	}
	f.read, f.seen = resolvers{own: true}, nil
	return f.read
}

func resolversOf(c *dns.ClientConfig) resolvers {
	r := resolvers{own: true}
	for _, s := range c.Servers {
		if a, err := netip.ParseAddr(s); err == nil && Forwardable(a) == nil {
			r.servers = append(r.servers, netip.AddrPortFrom(a, dnsPort))
		}
	}
	for _, s := range c.Search {
		if s = dns.CanonicalName(s); s != "." {
			r.search = append(r.search, s)
		}
	}
	return r
}

// Forwardable tells why an address cannot be a name server's: it is nobody's, or
// one that the agent's own routers have.
func Forwardable(a netip.Addr) error {
	switch a = a.Unmap(); {
	case !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a == broadcast:
		return fmt.Errorf("%s is not the address of a host", a)
	case a == network.MetadataAddress() || network.TransitRange().Contains(a):
		return fmt.Errorf("%s is an address of the networks' own routers", a)
	}
	return nil
}

// What no name server of the world has to be asked for: names that mean this
// machine or nothing (RFC 6761, RFC 7686); and those of private networks
// (RFC 6762, appendix G; RFC 8375; ICANN's .internal).
var (
	never   = []string{"localhost.", "invalid.", "onion.", "127.in-addr.arpa."}
	privacy = []string{"internal.", "local.", "localdomain.", "lan.", "home.", "home.arpa.", "intranet.", "private.", "corp.", "mail.", "test."}
)

// hides tells whether a name is not asked for.
func (r resolvers) hides(name string) bool {
	below := func(domain string) bool { return dns.IsSubDomain(domain, name) }
	if slices.ContainsFunc(never, below) {
		return true
	}
	if !r.own {
		return false
	}
	if of, ok := reversed(name); ok && of.Bits() > 0 && notPublic(of.Addr()) {
		return true
	}
	return slices.ContainsFunc(privacy, below) || slices.ContainsFunc(r.search, below)
}

// private tells whether an answer names an address that is not public.
func private(m *dns.Msg) bool {
	for _, rr := range slices.Concat(m.Answer, m.Ns, m.Extra) {
		if slices.ContainsFunc(addressesIn(rr), func(ip net.IP) bool {
			a, ok := netip.AddrFromSlice(ip)
			return !ok || notPublic(a.Unmap())
		}) {
			return true
		}
	}
	return false
}

func addressesIn(rr dns.RR) (out []net.IP) {
	switch r := rr.(type) {
	case *dns.A:
		return []net.IP{r.A}
	case *dns.AAAA:
		return []net.IP{r.AAAA}
	case *dns.HTTPS:
		return hints(r.Value)
	case *dns.SVCB:
		return hints(r.Value)
	}
	return nil
}

func hints(values []dns.SVCBKeyValue) (out []net.IP) {
	for _, v := range values {
		switch h := v.(type) {
		case *dns.SVCBIPv4Hint:
			out = append(out, h.Hint...)
		case *dns.SVCBIPv6Hint:
			out = append(out, h.Hint...)
		}
	}
	return out
}

var notPublicRanges = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
}

func notPublic(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() ||
		slices.ContainsFunc(notPublicRanges, func(p netip.Prefix) bool { return p.Contains(a) })
}
