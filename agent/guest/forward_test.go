package guest

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// world is a name server outside, on the host's own loopback.
type world struct {
	at netip.AddrPort

	mu    sync.Mutex
	asked []string
}

// newWorld serves at an address, or at any port of 127.0.0.1.
func newWorld(t *testing.T, at string, h func(w dns.ResponseWriter, q *dns.Msg)) *world {
	t.Helper()
	w := &world{}
	udp, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	w.at = netip.MustParseAddrPort(udp.LocalAddr().String())
	tcp, err := net.Listen("tcp", w.at.String())
	if err != nil {
		t.Fatal(err)
	}
	handler := dns.HandlerFunc(func(rw dns.ResponseWriter, q *dns.Msg) {
		w.mu.Lock()
		w.asked = append(w.asked, rw.LocalAddr().Network()+" "+q.Question[0].Name)
		w.mu.Unlock()
		h(rw, q)
	})
	for _, s := range []*dns.Server{{PacketConn: udp, Handler: handler}, {Listener: tcp, Handler: handler}} {
		up, down := make(chan struct{}), make(chan error, 1)
		s.NotifyStartedFunc = func() { close(up) }
		go func() { down <- s.ActivateAndServe() }()
		<-up
		t.Cleanup(func() {
			_ = s.Shutdown()
			<-down
		})
	}
	return w
}

func (w *world) heard() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.asked)
}

// records answers with these.
func records(rrs ...string) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg).SetReply(q)
		for _, s := range rrs {
			rr, err := dns.NewRR(s)
			if err != nil {
				panic(err)
			}
			a.Answer = append(a.Answer, rr)
		}
		_ = w.WriteMsg(a)
	}
}

func codes(code int) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(new(dns.Msg).SetRcode(q, code)) }
}

func silent(dns.ResponseWriter, *dns.Msg) {}

// dead is an address where nobody answers.
func dead(t *testing.T) netip.AddrPort {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return netip.MustParseAddrPort(c.LocalAddr().String())
}

func forwarderTo(at ...netip.AddrPort) *forwarder {
	return newForwarder(at, "", slog.New(slog.DiscardHandler))
}

func asked(name string, kind uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, kind) }

func TestForward_asksAndReturnsTheAnswerUnderTheGuestsID(t *testing.T) {
	w := newWorld(t, "127.0.0.1:0", func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg).SetReply(q)
		rr, _ := dns.NewRR("www.example.com. 60 IN A 192.0.2.80")
		a.Answer, a.AuthenticatedData, a.Authoritative = []dns.RR{rr}, true, true
		a.SetEdns0(4096, false)
		_ = w.WriteMsg(a)
	})
	q := asked("WWW.example.com.", dns.TypeA)
	q.Id = 7
	a := forwarderTo(w.at).ask(t.Context(), q)
	if said(a) != "NOERROR; www.example.com. A 192.0.2.80" || a.Id != 7 || a.Question[0].Name != "WWW.example.com." || !a.RecursionAvailable {
		t.Errorf("%s", a)
	}
	if a.AuthenticatedData || a.Authoritative || a.IsEdns0() != nil {
		t.Errorf("what is between the server and us was passed on: %s", a)
	}
}

func TestForward_asksByTCPWhatIsTooLong(t *testing.T) {
	w := newWorld(t, "127.0.0.1:0", func(w dns.ResponseWriter, q *dns.Msg) {
		if w.LocalAddr().Network() == "udp" {
			a := new(dns.Msg).SetReply(q)
			a.Truncated = true
			_ = w.WriteMsg(a)
			return
		}
		records("long.example. 60 IN TXT "+strings.Repeat(`"`+strings.Repeat("x", 250)+`" `, 20))(w, q)
	})
	a := forwarderTo(w.at).ask(t.Context(), asked("long.example.", dns.TypeTXT))
	if len(a.Answer) != 1 || a.Truncated || a.Len() < 5000 {
		t.Errorf("%s", a)
	}
	if got := w.heard(); !slices.Equal(got, []string{"udp long.example.", "tcp long.example."}) {
		t.Errorf("asked %v", got)
	}
}

// Answers to other questions, under other IDs, and what is no answer at all are
// passed over, for the right one comes after them.
func TestForward_takesOnlyTheAnswerToItsQuestion(t *testing.T) {
	w := newWorld(t, "127.0.0.1:0", func(w dns.ResponseWriter, q *dns.Msg) {
		evil, _ := dns.NewRR("www.example. 60 IN A 203.0.113.66")
		for _, spoil := range []func(*dns.Msg){
			func(a *dns.Msg) { a.Id++ },
			func(a *dns.Msg) { a.Question[0].Name = "other.example." },
			func(a *dns.Msg) { a.Question[0].Qtype = dns.TypeAAAA },
			func(a *dns.Msg) { a.Question = nil },
			func(a *dns.Msg) { a.Response = false },
		} {
			a := new(dns.Msg).SetReply(q)
			a.Answer = []dns.RR{evil}
			spoil(a)
			_ = w.WriteMsg(a)
		}
		_, _ = w.Write([]byte("what is this?"))
		records("www.example. 60 IN A 192.0.2.80")(w, q)
	})
	if got := said(forwarderTo(w.at).ask(t.Context(), asked("www.example.", dns.TypeA))); got != "NOERROR; www.example. A 192.0.2.80" {
		t.Error(got)
	}
}

func TestForward_idsAndPortsDoNotRepeat(t *testing.T) {
	var mu sync.Mutex
	ids, ports := map[uint16]bool{}, map[string]bool{}
	w := newWorld(t, "127.0.0.1:0", func(w dns.ResponseWriter, q *dns.Msg) {
		mu.Lock()
		ids[q.Id], ports[w.RemoteAddr().String()] = true, true
		mu.Unlock()
		records()(w, q)
	})
	f := forwarderTo(w.at)
	for range 50 {
		q := asked("www.example.", dns.TypeA)
		q.Id = 1
		_ = f.ask(t.Context(), q)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(ids) < 40 || len(ports) < 20 {
		t.Errorf("50 questions had %d IDs and %d ports", len(ids), len(ports))
	}
}

func TestForward_asksTheNextWhereOneDoesNotAnswer(t *testing.T) {
	good := newWorld(t, "127.0.0.1:0", records("www.example. 60 IN A 192.0.2.80"))
	broken := newWorld(t, "127.0.0.1:0", codes(dns.RcodeServerFailure))
	f := forwarderTo(dead(t), broken.at, good.at)
	for range 3 {
		if got := said(f.ask(t.Context(), asked("www.example.", dns.TypeA))); got != "NOERROR; www.example. A 192.0.2.80" {
			t.Fatal(got)
		}
	}
	if n := len(broken.heard()); n != 1 {
		t.Errorf("the broken one was asked %d times; the one that answered comes first then", n)
	}
}

func TestForward_saysThatThereIsNoAnswer(t *testing.T) {
	broken := newWorld(t, "127.0.0.1:0", codes(dns.RcodeServerFailure))
	absent := newWorld(t, "127.0.0.1:0", codes(dns.RcodeNameError))
	mute := newWorld(t, "127.0.0.1:0", silent)
	for name, c := range map[string]struct {
		f    *forwarder
		want int
	}{
		"nobody there":   {forwarderTo(dead(t), dead(t)), dns.RcodeServerFailure},
		"it fails":       {forwarderTo(broken.at), dns.RcodeServerFailure},
		"it is silent":   {forwarderTo(mute.at), dns.RcodeServerFailure},
		"no such name":   {forwarderTo(absent.at), dns.RcodeNameError},
		"no resolv.conf": {newForwarder(nil, filepath.Join(t.TempDir(), "none"), slog.New(slog.DiscardHandler)), dns.RcodeRefused},
	} {
		q := asked("www.example.", dns.TypeA)
		q.SetEdns0(1232, false)
		a := c.f.ask(t.Context(), q)
		if a.Rcode != c.want || len(a.Question) != 1 {
			t.Errorf("%s: %s, want %s", name, a, dns.RcodeToString[c.want])
		}
		if _, err := fit(q, a, datagramMax); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestForward_endsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	mute := newWorld(t, "127.0.0.1:0", func(dns.ResponseWriter, *dns.Msg) { cancel() })
	if a := forwarderTo(mute.at).ask(ctx, asked("www.example.", dns.TypeA)); a.Rcode != dns.RcodeServerFailure {
		t.Errorf("%s", a)
	}
}

func TestForward_doesNotAskMoreThanItHasRoomFor(t *testing.T) {
	w := newWorld(t, "127.0.0.1:0", records())
	f := forwarderTo(w.at)
	for range cap(f.room) {
		f.room <- struct{}{}
	}
	if a := f.ask(t.Context(), asked("www.example.", dns.TypeA)); a.Rcode != dns.RcodeServerFailure || len(w.heard()) != 0 {
		t.Errorf("%s", a)
	}
}

// hostOf is a forwarder that has the host's own name servers, and a name server
// that is one of them.
func hostOf(t *testing.T, search string, h func(dns.ResponseWriter, *dns.Msg)) (*forwarder, *world, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver 127.0.0.1\nsearch "+search+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return newForwarder(nil, file, slog.New(slog.DiscardHandler)), newWorld(t, "127.0.0.1:53", h), file
}

func TestForward_keepsTheHostsPrivateNamesFromGuests(t *testing.T) {
	own, w, _ := hostOf(t, "office.example", records())
	given := forwarderTo(w.at)
	for name, c := range map[string]struct{ own, given bool }{ // is it asked for?
		"www.example.com.":           {true, true},
		"office.example.com.":        {true, true},
		"myoffice.example.":          {true, true},
		"office.example.":            {false, true},
		"printer.OFFICE.example.":    {false, true},
		"db.corp.":                   {false, true},
		"x.y.internal.":              {false, true},
		"nas.local.":                 {false, true},
		"router.home.arpa.":          {false, true},
		"1.1.168.192.in-addr.arpa.":  {false, true},
		"168.192.in-addr.arpa.":      {false, true},
		"10.in-addr.arpa.":           {false, true},
		"1.2.0.192.in-addr.arpa.":    {true, true},
		"8.8.8.8.in-addr.arpa.":      {true, true},
		"in-addr.arpa.":              {true, true},
		"d.f.ip6.arpa.":              {false, true},
		"8.b.d.0.1.0.0.2.ip6.arpa.":  {true, true},
		"localhost.":                 {false, false},
		"a.localhost.":               {false, false},
		"1.0.0.127.in-addr.arpa.":    {false, false},
		"duckduckgo.onion.":          {false, false},
		"169.254.169.254.localhost.": {false, false},
	} {
		for f, want := range map[*forwarder]bool{own: c.own, given: c.given} {
			before := len(w.heard())
			a := f.ask(t.Context(), asked(name, dns.TypeTXT))
			if got := len(w.heard()) > before; got != want || want != (a.Rcode == dns.RcodeSuccess) || !want && a.Rcode != dns.RcodeNameError {
				t.Errorf("%s with servers of its own for guests %t: asked for %t, want %t; code %s", name, f == given, got, want, dns.RcodeToString[a.Rcode])
			}
		}
	}
}

func TestForward_withholdsPrivateAddressesOfTheHostsNameServers(t *testing.T) {
	var answer atomic.Value
	own, w, _ := hostOf(t, "office.example", func(w dns.ResponseWriter, q *dns.Msg) { records(strings.Split(answer.Load().(string), "\n")...)(w, q) })
	given := forwarderTo(w.at)
	for rr, hidden := range map[string]bool{
		"x.example. 60 IN A 192.0.2.80":                                           false,
		"x.example. 60 IN A 10.0.0.5":                                             true,
		"x.example. 60 IN A 192.0.2.80\nx.example. 60 IN A 172.16.0.1":            true,
		"x.example. 60 IN CNAME y.example.\ny.example. 60 IN A 192.168.1.1":       true,
		"x.example. 60 IN A 127.0.0.1":                                            true,
		"x.example. 60 IN A 169.254.169.254":                                      true,
		"x.example. 60 IN A 100.64.0.1":                                           true,
		"x.example. 60 IN AAAA fd00::1":                                           true,
		"x.example. 60 IN AAAA ::ffff:10.0.0.5":                                   true,
		"x.example. 60 IN AAAA ::1":                                               true,
		"x.example. 60 IN AAAA fe80::1":                                           true,
		"x.example. 60 IN AAAA 2001:db8::1":                                       false,
		"x.example. 60 IN TXT \"10.0.0.5\"":                                       false,
		"x.example. 60 IN HTTPS 1 . alpn=h2 ipv4hint=10.0.0.5":                    true,
		"x.example. 60 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1 ipv6hint=fd00::99": true,
		"x.example. 60 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1":                   false,
	} {
		answer.Store(rr)
		for f, want := range map[*forwarder]bool{own: hidden, given: false} {
			a := f.ask(t.Context(), asked("x.example.", dns.TypeA))
			if got := a.Rcode == dns.RcodeRefused && len(a.Answer) == 0; got != want || !want && len(a.Answer) == 0 {
				t.Errorf("%s: withheld %t, want %t: %s", rr, got, want, a)
			}
		}
	}
}

func TestForward_readsResolvConfWhenItChanges(t *testing.T) {
	f, w, file := hostOf(t, "a.example", records())
	if a := f.ask(t.Context(), asked("www.b.example.", dns.TypeTXT)); a.Rcode != dns.RcodeSuccess {
		t.Fatal(a)
	}
	for content, want := range map[string]int{
		"nameserver 127.0.0.1\nsearch b.example\n":                      dns.RcodeNameError,
		"nameserver 127.0.0.1\nsearch b.example.com . \noptions rotate": dns.RcodeSuccess,
		"nameserver 0.0.0.0\nnameserver 169.254.169.254":                dns.RcodeRefused,
		"nameserver 198.18.0.1\n; nothing else":                         dns.RcodeRefused,
		"":                                                              dns.RcodeRefused,
	} {
		// As resolvconf does: a new file in the place of the old one.
		fresh := file + ".new"
		if err := os.WriteFile(fresh, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(fresh, file); err != nil {
			t.Fatal(err)
		}
		if a := f.ask(t.Context(), asked("www.b.example.", dns.TypeTXT)); a.Rcode != want {
			t.Errorf("%q: %s, want %s", content, dns.RcodeToString[a.Rcode], dns.RcodeToString[want])
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	before := len(w.heard())
	if a := f.ask(t.Context(), asked("www.b.example.", dns.TypeTXT)); a.Rcode != dns.RcodeRefused || len(w.heard()) != before {
		t.Errorf("without the file: %s", a)
	}
}
