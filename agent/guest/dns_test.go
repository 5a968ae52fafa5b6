package guest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/cairn-cloud/cairn/api"
)

// manyNames is a network of two subnets with three instances, one of which is
// on another host, and one of which has two NICs.
func manyNames() api.HostDesired {
	d := oneGuest()
	d.Revision = 4711
	d.Networks["net_n"].Subnets["sub_m"] = api.HostSubnet{CIDR: prefix("10.20.0.0/22"), Gateway: addr("10.20.0.1")}
	addInstance(d, "b", "n", macB, "10.10.0.12")
	p := d.Ports["prt_b"]
	p.Local, p.Underlay = false, addr("192.0.2.2")
	d.Ports["prt_b"] = p
	d.Ports["prt_b2"] = api.HostPort{ID: "prt_b2", Network: "net_n", Instance: "ins_b", Hostname: "b", MAC: macC, Addresses: []api.PortAddress{{Subnet: "sub_m", Address: addr("10.20.3.9")}}, Underlay: addr("192.0.2.2")}
	return d
}

func zoneOf(t testing.TB, d api.HostDesired) *zone { return viewOf(t, d, 1).zone }

// said is an answer in one line: its code, and its records but for their times.
func said(m *dns.Msg) string {
	out := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		out = append(out, fmt.Sprintf("%s %s %s", rr.Header().Name, dns.TypeToString[rr.Header().Rrtype], strings.TrimPrefix(rr.String(), rr.Header().String())))
	}
	for _, rr := range m.Ns {
		out = append(out, "authority "+rr.Header().Name)
	}
	return strings.Join(out, "; ")
}

func TestZone_answers(t *testing.T) {
	const elsewhere = "elsewhere"
	z := zoneOf(t, manyNames())
	for _, c := range []struct {
		name string
		kind uint16
		want string
	}{
		{"a.n.shop.internal.", dns.TypeA, "NOERROR; a.n.shop.internal. A 10.10.0.11"},
		{"A.n.SHOP.internal.", dns.TypeA, "NOERROR; A.n.SHOP.internal. A 10.10.0.11"},
		{"b.n.shop.internal.", dns.TypeA, "NOERROR; b.n.shop.internal. A 10.10.0.12; b.n.shop.internal. A 10.20.3.9"},
		{"b.n.shop.internal.", dns.TypeANY, "NOERROR; b.n.shop.internal. A 10.10.0.12; b.n.shop.internal. A 10.20.3.9"},
		{"a.n.shop.internal.", dns.TypeAAAA, "NOERROR; authority n.shop.internal."},
		{"a.n.shop.internal.", dns.TypeMX, "NOERROR; authority n.shop.internal."},
		{"z.n.shop.internal.", dns.TypeA, "NXDOMAIN; authority n.shop.internal."},
		{"a.a.n.shop.internal.", dns.TypeA, "NXDOMAIN; authority n.shop.internal."},
		{`a\.n.shop.internal.`, dns.TypeA, elsewhere},
		{`\097.n.shop.internal.`, dns.TypeA, "NOERROR; a.n.shop.internal. A 10.10.0.11"},
		{`a\000.n.shop.internal.`, dns.TypeA, "NXDOMAIN; authority n.shop.internal."},
		{"n.shop.internal.", dns.TypeA, "NOERROR; n.shop.internal. A 10.10.0.1; n.shop.internal. A 10.20.0.1"},
		{"n.shop.internal.", dns.TypeNS, "NOERROR; n.shop.internal. NS n.shop.internal."},
		{"n.shop.internal.", dns.TypeSOA, "NOERROR; n.shop.internal. SOA n.shop.internal. hostmaster.n.shop.internal. 4711 3600 600 86400 5"},
		{"n.shop.internal.", dns.TypeTXT, "NOERROR; authority n.shop.internal."},
		{"shop.internal.", dns.TypeA, elsewhere},
		{"xn.shop.internal.", dns.TypeA, elsewhere},
		{"a.m.shop.internal.", dns.TypeA, elsewhere},

		{"a.", dns.TypeA, "NOERROR; a. A 10.10.0.11"},
		{"a.", dns.TypeAAAA, "NOERROR"},
		{"z.", dns.TypeA, "NXDOMAIN"},
		{"a.", dns.TypeDS, elsewhere}, // a domain of the world may have that name
		{"com.", dns.TypeNS, elsewhere},
		{".", dns.TypeNS, elsewhere},
		{".", dns.TypeA, elsewhere},

		{"11.0.10.10.in-addr.arpa.", dns.TypePTR, "NOERROR; 11.0.10.10.in-addr.arpa. PTR a.n.shop.internal."},
		{"9.3.20.10.in-addr.arpa.", dns.TypePTR, "NOERROR; 9.3.20.10.in-addr.arpa. PTR b.n.shop.internal."},
		{"1.0.10.10.in-addr.arpa.", dns.TypePTR, "NOERROR; 1.0.10.10.in-addr.arpa. PTR n.shop.internal."},
		{"11.0.10.10.in-addr.arpa.", dns.TypeA, "NOERROR; authority 0.10.10.in-addr.arpa."},
		{"99.0.10.10.in-addr.arpa.", dns.TypePTR, "NXDOMAIN; authority 0.10.10.in-addr.arpa."},
		{"99.2.20.10.in-addr.arpa.", dns.TypePTR, "NXDOMAIN; authority 20.10.in-addr.arpa."},
		{"0.10.10.in-addr.arpa.", dns.TypeNS, "NOERROR; 0.10.10.in-addr.arpa. NS n.shop.internal."},
		{"2.20.10.in-addr.arpa.", dns.TypePTR, "NOERROR; authority 20.10.in-addr.arpa."},
		{"10.in-addr.arpa.", dns.TypePTR, elsewhere},
		{"in-addr.arpa.", dns.TypePTR, elsewhere},
		{"1.4.20.10.in-addr.arpa.", dns.TypePTR, elsewhere},
		{"x.11.0.10.10.in-addr.arpa.", dns.TypePTR, elsewhere},
		{"011.0.10.10.in-addr.arpa.", dns.TypePTR, elsewhere},
		{"256.0.10.10.in-addr.arpa.", dns.TypePTR, elsewhere},
	} {
		_, m := readQuestion(packed(t, new(dns.Msg).SetQuestion(c.name, c.kind)))
		got := elsewhere
		if z.answer(m) {
			if got = said(m); !m.Authoritative {
				t.Errorf("%s %s: not said with authority", c.name, dns.TypeToString[c.kind])
			}
			if _, err := m.Pack(); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		if got != c.want {
			t.Errorf("%s %s:\n got %s\nwant %s", c.name, dns.TypeToString[c.kind], got, c.want)
		}
	}
}

func TestZone_aNameThatIsNotThereIsSoonForgotten(t *testing.T) {
	m := new(dns.Msg).SetQuestion("z.n.shop.internal.", dns.TypeA)
	zoneOf(t, manyNames()).answer(m)
	if s := m.Ns[0].(*dns.SOA); s.Hdr.Ttl != noNameTTL || s.Minttl != noNameTTL {
		t.Errorf("%s", s)
	}
}

func TestZone_ofANetworkWithoutADomain(t *testing.T) {
	d := manyNames()
	n := d.Networks["net_n"]
	n.Domain = ""
	d.Networks["net_n"] = n
	z := zoneOf(t, d)
	for name, want := range map[string]string{
		"a.":                       "NOERROR; a. A 10.10.0.11",
		"11.0.10.10.in-addr.arpa.": "NOERROR; 11.0.10.10.in-addr.arpa. PTR a.",
		"1.0.10.10.in-addr.arpa.":  "NOERROR; authority 0.10.10.in-addr.arpa.",
	} {
		kind := dns.TypeA
		if strings.HasSuffix(name, "arpa.") {
			kind = dns.TypePTR
		}
		m := new(dns.Msg).SetQuestion(name, kind)
		if !z.answer(m) || said(m) != want {
			t.Errorf("%s: %s, want %s", name, said(m), want)
		}
	}
}

// What the control plane would not let in, and an old state on the disk may have.
func TestZone_leavesOutNamesThatAreNone(t *testing.T) {
	d := oneGuest()
	p := d.Ports["prt_a"]
	p.Hostname = "a.b\\. IN A"
	d.Ports["prt_a"] = p
	n := d.Networks["net_n"]
	n.Domain = "arpa"
	d.Networks["net_n"] = n
	if z := zoneOf(t, d); len(z.hosts) != 0 || z.domain != "" {
		t.Errorf("%+v", z)
	}
}

func TestReversed_readsWhatItWrites(t *testing.T) {
	for _, s := range []string{"10.0.0.0/8", "10.20.0.0/16", "10.20.30.0/24", "10.20.30.40/32", "fd00::/8", "2001:db8::/32", "2001:db8:1:2::/64", "2001:db8::1:f00d/128"} {
		p := netip.MustParsePrefix(s)
		if got, ok := reversed(reverseOf(p)); !ok || got != p {
			t.Errorf("%s is written %s and read %s, %t", p, reverseOf(p), got, ok)
		}
	}
	for _, a := range []string{"10.20.30.40", "2001:db8::1:f00d"} {
		want, err := dns.ReverseAddr(a)
		if got := reverseOf(netip.PrefixFrom(addr(a), addr(a).BitLen())); err != nil || got != want {
			t.Errorf("%s: %s, want %s", a, got, want)
		}
	}
}

func packed(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDNS_refusesWhatIsNoQuestion(t *testing.T) {
	ask := func(change func(*dns.Msg)) []byte {
		m := new(dns.Msg).SetQuestion("a.n.shop.internal.", dns.TypeA)
		change(m)
		return packed(t, m)
	}
	const silence = -1
	many := packed(t, new(dns.Msg).SetQuestion("a.", dns.TypeA))
	binary.BigEndian.PutUint16(many[4:], 2) // it has one
	loop := []byte{0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1}
	for name, c := range map[string]struct {
		b    []byte
		want int
	}{
		"nothing":                  {nil, silence},
		"half a header":            {make([]byte, 11), silence},
		"an answer":                {ask(func(m *dns.Msg) { m.Response = true }), silence},
		"a cut answer":             {[]byte{0, 7, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0}, silence},
		"a name that ends nowhere": {loop, dns.RcodeFormatError},
		"fewer questions than it says": {
			many, dns.RcodeFormatError,
		},
		"no question":        {ask(func(m *dns.Msg) { m.Question = nil }), dns.RcodeFormatError},
		"two questions":      {ask(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), dns.RcodeFormatError},
		"two EDNS records":   {ask(func(m *dns.Msg) { m.SetEdns0(1232, false); m.Extra = append(m.Extra, m.Extra[0]) }), dns.RcodeFormatError},
		"EDNS of the future": {ask(func(m *dns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetVersion(1) }), dns.RcodeBadVers},
		"a notification":     {ask(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), dns.RcodeNotImplemented},
		"an update":          {ask(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), dns.RcodeNotImplemented},
		"a transfer":         {ask(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }), dns.RcodeRefused},
		"a key":              {ask(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTKEY }), dns.RcodeRefused},
		"what version it has": {ask(func(m *dns.Msg) {
			m.Question[0] = dns.Question{Name: "version.bind.", Qtype: dns.TypeTXT, Qclass: dns.ClassCHAOS}
		}), dns.RcodeRefused},
		"a question": {ask(func(*dns.Msg) {}), dns.RcodeSuccess},
	} {
		q, a := readQuestion(c.b)
		if q == nil {
			if c.want != silence {
				t.Errorf("%s: silence, want %s", name, dns.RcodeToString[c.want])
			}
			continue
		}
		if a.Rcode != c.want || !a.Response || a.Id != q.Id {
			t.Errorf("%s: %s\nwant %s", name, a, dns.RcodeToString[c.want])
		}
		b, err := fit(q, a, datagramMax)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if back := new(dns.Msg); back.Unpack(b) != nil || back.Rcode != c.want {
			t.Errorf("%s reads back as %s", name, back)
		}
	}
}

// An answer has as many bytes as its reader takes, and says where there is more.
func TestDNS_fitsItsReader(t *testing.T) {
	d := oneGuest()
	for i := range 200 {
		addInstance(d, fmt.Sprintf("x%d", i), "n", fmt.Sprintf("02:00:00:00:01:%02x", i), fmt.Sprintf("10.10.0.%d", 20+i))
		p := d.Ports[fmt.Sprintf("prt_x%d", i)]
		p.Hostname = "many"
		d.Ports[p.ID] = p
	}
	z := zoneOf(t, d)
	for name, c := range map[string]struct {
		edns      int // its size; 0: none
		most      int
		size      int // at most
		truncated bool
	}{
		"UDP":                   {0, datagramMax, 512, true},
		"UDP, large":            {4096, datagramMax, datagramMax, true},
		"UDP, between":          {1000, datagramMax, 1000, true},
		"UDP, smaller than may": {1, datagramMax, 512, true},
		"TCP":                   {0, dns.MaxMsgSize, dns.MaxMsgSize, false},
		"TCP, small EDNS":       {512, dns.MaxMsgSize, dns.MaxMsgSize, false},
	} {
		m := new(dns.Msg).SetQuestion("many.n.shop.internal.", dns.TypeA)
		if c.edns > 0 {
			m.SetEdns0(uint16(c.edns), true)
		}
		q, a := readQuestion(packed(t, m))
		z.answer(a)
		b, err := fit(q, a, c.most)
		if err != nil || len(b) > c.size {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
		back := new(dns.Msg)
		if err := back.Unpack(b); err != nil || back.Truncated != c.truncated || !c.truncated && len(back.Answer) != 200 {
			t.Errorf("%s: truncated %t with %d of 200 answers, %v", name, back.Truncated, len(back.Answer), err)
		}
		if o := back.IsEdns0(); (o != nil) != (c.edns > 0) || o != nil && !o.Do() {
			t.Errorf("%s: EDNS %v", name, o)
		}
	}
}

// Whatever a guest sends, it gets no answer or one that is of its question, in
// the size that it takes, and with nothing but addresses of its network.
func FuzzDNS(f *testing.F) {
	z := zoneOf(f, manyNames())
	for _, name := range []string{"a.n.shop.internal.", "b.", "9.3.20.10.in-addr.arpa.", ".", "x.example.", `\000\255.n.shop.internal.`} {
		for _, kind := range []uint16{dns.TypeA, dns.TypePTR, dns.TypeANY, dns.TypeSOA} {
			m := new(dns.Msg).SetQuestion(name, kind)
			f.Add(packed(f, m))
			m.SetEdns0(4096, true)
			f.Add(packed(f, m))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		q, a := readQuestion(b)
		if q == nil {
			return
		}
		if a.Rcode == dns.RcodeSuccess && !z.answer(a) {
			hides := resolvers{own: true, search: []string{"example."}}.hides(dns.CanonicalName(q.Question[0].Name))
			if hides && dns.IsSubDomain("com.", q.Question[0].Name) {
				t.Errorf("hides %q", q.Question[0].Name)
			}
			return
		}
		out, err := fit(q, a, datagramMax)
		if err != nil {
			t.Fatalf("an answer that cannot be sent: %v\n%s", err, a)
		}
		back := new(dns.Msg)
		if err := back.Unpack(out); err != nil || !back.Response || back.Id != binary.BigEndian.Uint16(b) {
			t.Fatalf("%v\n%s", err, back)
		}
		if most := 512; len(out) > most && (q.IsEdns0() == nil || len(out) > max(most, min(datagramMax, int(q.IsEdns0().UDPSize())))) {
			t.Fatalf("%d bytes", len(out))
		}
		for _, rr := range back.Answer {
			if r, ok := rr.(*dns.A); ok && !slices.ContainsFunc(z.subnets, func(p netip.Prefix) bool { a, _ := netip.AddrFromSlice(r.A); return p.Contains(a.Unmap()) }) {
				t.Errorf("%s", rr)
			}
		}
	})
}
