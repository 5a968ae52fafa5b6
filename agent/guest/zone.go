package guest

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/cairn-cloud/cairn/api"
)

// How long an answer holds, in seconds. A name that is not there may come with
// the next instance, so that its absence is soon forgotten.
const (
	nameTTL   = 30
	noNameTTL = 5
)

// A zone is what the DNS of one network says of itself: the name and addresses
// of every port that is placed, on this host or another, and the way back.
type zone struct {
	domain   string // canonical, such as "front.shop.internal."; empty: names of one label only
	serial   uint32
	hosts    map[string][]netip.Addr // by hostname
	names    map[netip.Addr]string   // hostnames; "" is the gateway's, which has the domain itself
	subnets  []netip.Prefix
	gateways []netip.Addr
}

// buildZones makes the zone of each network, by its ID.
func buildZones(want api.HostDesired) map[string]*zone {
	zones := map[string]*zone{}
	for id, n := range want.Networks {
		z := &zone{serial: uint32(want.Revision), hosts: map[string][]netip.Addr{}, names: map[netip.Addr]string{}}
		if api.IsDomain(n.Domain) {
			z.domain = n.Domain + "."
		}
		for _, s := range n.Subnets {
			if s.CIDR.IsValid() {
				z.subnets = append(z.subnets, s.CIDR.Masked())
			}
			if s.Gateway.IsValid() {
				z.gateways = append(z.gateways, s.Gateway)
				z.names[s.Gateway] = ""
			}
		}
		slices.SortFunc(z.gateways, netip.Addr.Compare)
		zones[id] = z
	}
	for _, id := range slices.Sorted(maps.Keys(want.Ports)) {
		p := want.Ports[id]
		z := zones[p.Network]
		if z == nil || !api.IsName(p.Hostname) {
			continue
		}
		for _, a := range p.Addresses {
			if a.Address.IsValid() {
				z.hosts[p.Hostname] = append(z.hosts[p.Hostname], a.Address)
				z.names[a.Address] = p.Hostname
			}
		}
	}
	return zones
}

// answer fills in what the network itself says to the one question of m. It
// returns false if the question is about something else.
func (z *zone) answer(m *dns.Msg) bool {
	q := m.Question[0]
	name := dns.CanonicalName(q.Name)
	if z.domain != "" && dns.IsSubDomain(z.domain, name) {
		m.Authoritative = true
		z.answerDomain(m, strings.TrimSuffix(strings.TrimSuffix(name, z.domain), "."))
		return true
	}
	if dns.CountLabel(name) == 1 && (q.Qtype == dns.TypeA || q.Qtype == dns.TypeAAAA) {
		m.Authoritative = true
		addrs, known := z.hosts[strings.TrimSuffix(name, ".")]
		if addAddresses(m, addrs); !known {
			m.Rcode = dns.RcodeNameError
		}
		return true
	}
	if of, ok := reversed(name); ok {
		for _, s := range z.subnets {
			if of.Bits() >= s.Bits() && s.Contains(of.Addr()) {
				m.Authoritative = true
				z.answerReverse(m, of, s)
				return true
			}
		}
	}
	return false
}

// answerDomain answers for a name below the domain, or for itself: "".
func (z *zone) answerDomain(m *dns.Msg, below string) {
	addrs, known := z.hosts[below]
	if below == "" {
		addrs, known = z.gateways, true
		z.addAuthority(m, z.domain)
	}
	addAddresses(m, addrs)
	z.negative(m, z.domain, known)
}

// answerReverse answers for a name that stands for addresses of a subnet: one
// address, or a part of them.
func (z *zone) answerReverse(m *dns.Msg, of, subnet netip.Prefix) {
	apex, step := reverseOf(subnet), reverseFor(of.Addr()).bits
	if of.Bits() <= subnet.Bits()/step*step {
		z.addAuthority(m, apex)
	}
	known := true // a part of the addresses
	if of.IsSingleIP() {
		var host string
		if host, known = z.names[of.Addr()]; known && asks(m, dns.TypePTR) {
			name := strings.TrimPrefix(host+"."+z.domain, ".")
			if name != "" {
				m.Answer = append(m.Answer, &dns.PTR{Hdr: header(m, dns.TypePTR), Ptr: name})
			}
		}
	}
	z.negative(m, apex, known)
}

// negative says of which zone it is that there is no answer, and whether the
// name itself is there.
func (z *zone) negative(m *dns.Msg, apex string, known bool) {
	if !known {
		m.Rcode = dns.RcodeNameError
	}
	if len(m.Answer) == 0 {
		m.Ns = []dns.RR{z.soa(apex, noNameTTL)}
	}
}

// addAuthority answers what only the top of a zone has.
func (z *zone) addAuthority(m *dns.Msg, apex string) {
	if asks(m, dns.TypeSOA) {
		m.Answer = append(m.Answer, z.soa(m.Question[0].Name, nameTTL))
	}
	if asks(m, dns.TypeNS) {
		m.Answer = append(m.Answer, &dns.NS{Hdr: header(m, dns.TypeNS), Ns: z.server(apex)})
	}
}

// server is the name of the zone's name server: the domain, which has the
// gateways' addresses.
func (z *zone) server(apex string) string {
	if z.domain == "" {
		return apex
	}
	return z.domain
}

func (z *zone) soa(owner string, ttl uint32) *dns.SOA {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:  z.server(owner), Mbox: "hostmaster." + z.server(owner), Serial: z.serial,
		Refresh: 3600, Retry: 600, Expire: 86400, Minttl: noNameTTL,
	}
}

func addAddresses(m *dns.Msg, addrs []netip.Addr) {
	for _, a := range addrs {
		switch {
		case a.Is4() && asks(m, dns.TypeA):
			m.Answer = append(m.Answer, &dns.A{Hdr: header(m, dns.TypeA), A: ipOf(a)})
		case a.Is6() && asks(m, dns.TypeAAAA):
			m.Answer = append(m.Answer, &dns.AAAA{Hdr: header(m, dns.TypeAAAA), AAAA: ipOf(a)})
		}
	}
}

func asks(m *dns.Msg, kind uint16) bool {
	return m.Question[0].Qtype == kind || m.Question[0].Qtype == dns.TypeANY
}

// header is of a record whose owner is spelt as the question spells it.
func header(m *dns.Msg, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: m.Question[0].Name, Rrtype: kind, Class: dns.ClassINET, Ttl: nameTTL}
}

// reverse is how addresses of a family are written backwards, a label for each
// digit.
type reverse struct {
	domain string
	base   int // of a digit
	bits   int // of a digit
	size   int // of an address, in bytes
}

var (
	reverse4 = reverse{"in-addr.arpa.", 10, 8, 4}
	reverse6 = reverse{"ip6.arpa.", 16, 4, 16}
)

func reverseFor(a netip.Addr) reverse {
	if a.Is4() {
		return reverse4
	}
	return reverse6
}

// reversed reads a canonical reverse name, whole or cut at its beginning: the
// addresses that it stands for.
func reversed(name string) (netip.Prefix, bool) {
	for _, r := range []reverse{reverse4, reverse6} {
		if !dns.IsSubDomain(r.domain, name) {
			continue
		}
		labels := dns.SplitDomainName(name)
		labels = labels[:len(labels)-dns.CountLabel(r.domain)]
		a := make([]byte, r.size)
		if len(labels)*r.bits > 8*r.size {
			return netip.Prefix{}, false
		}
		for i, l := range labels {
			digit, err := strconv.ParseUint(l, r.base, r.bits)
			if err != nil || strconv.FormatUint(digit, r.base) != l {
				return netip.Prefix{}, false
			}
			at := (len(labels) - 1 - i) * r.bits
			a[at/8] |= byte(digit) << (8 - r.bits - at%8)
		}
		addr, ok := netip.AddrFromSlice(a)
		return netip.PrefixFrom(addr, r.bits*len(labels)), ok
	}
	return netip.Prefix{}, false
}

// reverseOf is the reverse name of a prefix, cut to whole labels.
func reverseOf(p netip.Prefix) string {
	var out strings.Builder
	r, a := reverseFor(p.Addr()), p.Addr().AsSlice()
	for at := (p.Bits()/r.bits - 1) * r.bits; at >= 0; at -= r.bits {
		digit := a[at/8] >> (8 - r.bits - at%8) & (1<<r.bits - 1)
		out.WriteString(strconv.FormatUint(uint64(digit), r.base) + ".")
	}
	return out.String() + r.domain
}
