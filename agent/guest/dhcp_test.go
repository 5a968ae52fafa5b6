package guest

import (
	"encoding/binary"
	"net"
	"slices"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/api"
)

func viewOf(t testing.TB, d api.HostDesired, vni uint32) *view {
	t.Helper()
	views, bad := buildViews(d, agent.Underlay{MTU: 1550})
	if len(bad) > 0 || views[vni] == nil {
		t.Fatalf("no view of %d: %v", vni, bad)
	}
	return views[vni]
}

func hw(s string) mac { return mac(hwOf(s)) }

// query is a message of the client with macA.
func query(kind dhcpv4.MessageType, o ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	m := hw(macA)
	q, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithMessageType(kind), dhcpv4.WithHwAddr(m[:])}, o...)...)
	if err != nil {
		panic(err)
	}
	return q
}

func asking(a string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(a)))
}

func server1(a string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(a)))
}

func having(a string) dhcpv4.Modifier { return dhcpv4.WithClientIP(net.ParseIP(a)) }

func TestDHCP_answers(t *testing.T) {
	const (
		silence = dhcpv4.MessageTypeNone
		offer   = dhcpv4.MessageTypeOffer
		ack     = dhcpv4.MessageTypeAck
		nak     = dhcpv4.MessageTypeNak
	)
	v := viewOf(t, oneGuest(), 1)
	relayed := query(dhcpv4.MessageTypeDiscover, dhcpv4.WithGatewayIP(net.IP{10, 10, 0, 9}))
	reply := query(dhcpv4.MessageTypeDiscover)
	reply.OpCode = dhcpv4.OpcodeBootReply
	ring := query(dhcpv4.MessageTypeDiscover)
	ring.HWType = iana.HWTypeIEEE802
	neighbours := query(dhcpv4.MessageTypeDiscover, dhcpv4.WithHwAddr(net.HardwareAddr{2, 0, 0, 0, 0, 0xb}))
	short := query(dhcpv4.MessageTypeDiscover, dhcpv4.WithHwAddr(net.HardwareAddr{2, 0, 0, 0, 0}))
	flagged := query(dhcpv4.MessageTypeDiscover, dhcpv4.WithBroadcast(true))
	bootp := query(dhcpv4.MessageTypeDiscover)
	bootp.DeleteOption(dhcpv4.OptionDHCPMessageType)

	for name, c := range map[string]struct {
		q    *dhcpv4.DHCPv4
		want dhcpv4.MessageType
		to   string // address of the answer
	}{
		"discover":                                      {query(dhcpv4.MessageTypeDiscover), offer, "10.10.0.11"},
		"discover, asking for another address":          {query(dhcpv4.MessageTypeDiscover, asking("10.10.0.99")), offer, "10.10.0.11"},
		"discover, cannot hear unicast":                 {flagged, offer, "255.255.255.255"},
		"request what was offered":                      {query(dhcpv4.MessageTypeRequest, asking("10.10.0.11"), server1("10.10.0.1")), ack, "10.10.0.11"},
		"request what was offered by another":           {query(dhcpv4.MessageTypeRequest, asking("10.10.0.11"), server1("10.10.0.2")), silence, ""},
		"request with a server that is no address":      {query(dhcpv4.MessageTypeRequest, asking("10.10.0.11"), dhcpv4.WithGeneric(dhcpv4.OptionServerIdentifier, []byte{10})), silence, ""},
		"request another address":                       {query(dhcpv4.MessageTypeRequest, asking("10.10.0.12"), server1("10.10.0.1")), nak, "255.255.255.255"},
		"after a reboot, the right address":             {query(dhcpv4.MessageTypeRequest, asking("10.10.0.11")), ack, "10.10.0.11"},
		"after a reboot, elsewhere":                     {query(dhcpv4.MessageTypeRequest, asking("192.168.1.2")), nak, "255.255.255.255"},
		"renew":                                         {query(dhcpv4.MessageTypeRequest, having("10.10.0.11")), ack, "10.10.0.11"},
		"renew, cannot hear unicast but has an address": {query(dhcpv4.MessageTypeRequest, having("10.10.0.11"), dhcpv4.WithBroadcast(true)), ack, "10.10.0.11"},
		"renew what is another's":                       {query(dhcpv4.MessageTypeRequest, having("10.10.0.12")), nak, "255.255.255.255"},
		"request nothing":                               {query(dhcpv4.MessageTypeRequest), silence, ""},
		"request with half an address":                  {query(dhcpv4.MessageTypeRequest, dhcpv4.WithGeneric(dhcpv4.OptionRequestedIPAddress, []byte{10, 10})), silence, ""},
		"inform":                                        {query(dhcpv4.MessageTypeInform, having("10.10.0.11")), ack, "10.10.0.11"},
		"inform about another's address":                {query(dhcpv4.MessageTypeInform, having("10.10.0.12")), silence, ""},
		"release":                                       {query(dhcpv4.MessageTypeRelease, having("10.10.0.11")), silence, ""},
		"decline":                                       {query(dhcpv4.MessageTypeDecline, asking("10.10.0.11"), server1("10.10.0.1")), silence, ""},
		"an offer of another server":                    {query(dhcpv4.MessageTypeOffer), silence, ""},
		"no type":                                       {bootp, silence, ""},
		"relayed":                                       {relayed, silence, ""},
		"a reply":                                       {reply, silence, ""},
		"another kind of wire":                          {ring, silence, ""},
		"in a neighbour's name":                         {neighbours, silence, ""},
		"with half a MAC":                               {short, silence, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, n := answerDHCP(v, hw(macA), c.q.ToBytes())
			if a == nil {
				if c.want != silence {
					t.Fatalf("silence, want %s", c.want)
				}
				return
			}
			if a.MessageType() != c.want || replyTo(a, n).String() != c.to || a.TransactionID != c.q.TransactionID {
				t.Errorf("to %s: %s\nwant %s to %s", replyTo(a, n), a.Summary(), c.want, c.to)
			}
			leased := c.q.MessageType() != dhcpv4.MessageTypeInform && c.want != nak
			if got := a.YourIPAddr.Equal(net.IP{10, 10, 0, 11}); got != leased || a.Options.Has(dhcpv4.OptionIPAddressLeaseTime) != leased {
				t.Errorf("leased %t, want %t: %s", got, leased, a.Summary())
			}
		})
	}
	t.Run("no port here", func(t *testing.T) {
		if a, _ := answerDHCP(v, hw(macB), neighbours.ToBytes()); a != nil {
			t.Error(a.Summary())
		}
	})
}

// Two default routes would be a lottery: only the first NIC leads out.
func TestDHCP_onlyTheFirstNICLeadsOut(t *testing.T) {
	m := hw(macB)
	q := query(dhcpv4.MessageTypeDiscover, dhcpv4.WithHwAddr(m[:]))
	a, _ := answerDHCP(viewOf(t, twoNICs(), 2), m, q.ToBytes())
	if a == nil || a.Router() != nil {
		t.Fatalf("the second NIC is told a router: %v", a)
	}
	if got, want := dhcpv4.Routes(a.ClasslessStaticRoute()).String(), "route to 10.20.2.0/26 via 10.20.1.1"; got != want {
		t.Errorf("routes %q, want %q", got, want)
	}
}

// The port's address does not wait for its instance, which comes in an item of its own.
func TestDHCP_answersBeforeTheInstanceIsKnown(t *testing.T) {
	d := oneGuest()
	clear(d.Instances)
	a, _ := answerDHCP(viewOf(t, d, 1), hw(macA), query(dhcpv4.MessageTypeDiscover).ToBytes())
	if a == nil || len(a.Router()) != 1 {
		t.Errorf("answer %v, want an offer with a router", a)
	}
}

func TestDHCP_leasesTheIPv4AddressOfADualStackPort(t *testing.T) {
	v := viewOf(t, dualStack(), 1)
	a, _ := answerDHCP(v, hw(macA), query(dhcpv4.MessageTypeDiscover).ToBytes())
	if a == nil || !sameAddress(a.YourIPAddr, addr("10.10.0.11")) {
		t.Fatalf("answer %v", a)
	}
	for _, r := range a.ClasslessStaticRoute() {
		if r.Router.To4() == nil || r.Dest.IP.To4() == nil {
			t.Errorf("route %v is not of IPv4", r)
		}
	}
	if _, known := v.byAddr[addr("fd00::6:0:ff:fe00:a")]; !known {
		t.Error("its IPv6 address is not known")
	}
}

func TestViews_leaveOutWhatCannotBeServedAndSayWhy(t *testing.T) {
	for name, spoil := range map[string]func(*api.HostPort){
		"a MAC that is none":        func(p *api.HostPort) { p.MAC = "x" },
		"a MAC of a group":          func(p *api.HostPort) { p.MAC = "03:00:00:00:00:01" },
		"a MAC of another wire":     func(p *api.HostPort) { p.MAC = "02:00:00:00:00:00:00:01" },
		"no address":                func(p *api.HostPort) { p.Addresses = nil },
		"an address of IPv6 only":   func(p *api.HostPort) { p.Addresses[0] = api.PortAddress{Subnet: "sub_n6", Address: addr("fd00::6:5")} },
		"an address from elsewhere": func(p *api.HostPort) { p.Addresses[0].Address = addr("10.11.0.1") },
		"a subnet that is unknown":  func(p *api.HostPort) { p.Addresses[0].Subnet = "sub_z" },
		"a network that is unknown": func(p *api.HostPort) { p.Network = "net_z" },
	} {
		t.Run(name, func(t *testing.T) {
			d := oneGuest()
			d.Networks["net_n"].Subnets["sub_n6"] = api.HostSubnet{CIDR: prefix("fd00::/64"), Gateway: addr("fd00::1")}
			addInstance(d, "b", "n", macB, "10.10.0.12")
			p := d.Ports["prt_b"]
			spoil(&p)
			d.Ports["prt_b"] = p
			views, bad := buildViews(d, agent.Underlay{MTU: 1550})
			if len(views) != 1 || len(views[1].byMAC) != 1 || len(views[1].byAddr) != 1 {
				t.Errorf("views %v", views)
			}
			if len(bad) != 1 {
				t.Errorf("reasons %q", bad)
			}
		})
	}
}

func TestFrame_carriesWhatIsPutIn(t *testing.T) {
	for _, message := range [][]byte{{1}, {1, 2}, make([]byte, 300)} {
		p, err := answerPacket(addr("10.10.0.1"), addr("10.10.0.11"), message)
		if err != nil {
			t.Fatal(err)
		}
		if checksum(0, p[:20]) != 0 {
			t.Error("the header's checksum is wrong")
		}
		if checksum(uint32(protoUDP+len(p)-20), p[12:20], p[20:]) != 0 {
			t.Error("the UDP checksum is wrong")
		}
		if payload(p) != nil {
			t.Error("what goes to clients was taken for a question")
		}
		binary.BigEndian.PutUint16(p[22:], serverPort)
		if got := payload(append(p, 0, 0, 0)); !slices.Equal(got, message) {
			t.Errorf("with padding %v, want %v", got, message)
		}
		for cut := range p {
			if got := payload(p[:cut]); got != nil {
				t.Errorf("cut at %d it carries %v", cut, got)
			}
		}
	}
}

// What a guest sends as a packet gives no answer, or one that is right.
func FuzzDHCP(f *testing.F) {
	d := twoNICs()
	addInstance(d, "b", "n", macC, "10.10.0.12")
	v := viewOf(f, d, 1)
	for _, q := range []*dhcpv4.DHCPv4{
		query(dhcpv4.MessageTypeDiscover), query(dhcpv4.MessageTypeRequest, asking("10.10.0.11")),
		query(dhcpv4.MessageTypeRequest, asking("10.10.0.12"), server1("10.10.0.1")), query(dhcpv4.MessageTypeInform, having("10.10.0.11")),
	} {
		p, err := answerPacket(addr("10.10.0.11"), addr("10.10.0.1"), q.ToBytes())
		if err != nil {
			f.Fatal(err)
		}
		binary.BigEndian.PutUint16(p[22:], serverPort)
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		who := hw(macA)
		a, n := answerDHCP(v, who, payload(p))
		if a == nil {
			return
		}
		if mac(a.ClientHWAddr) != who || n.port.ID != "prt_a" || !a.ServerIdentifier().Equal(net.IP{10, 10, 0, 1}) {
			t.Errorf("answer for another: %s", a.Summary())
		}
		if y := a.YourIPAddr; !y.Equal(net.IPv4zero) && !y.Equal(net.IP{10, 10, 0, 11}) {
			t.Errorf("gives away %s", y)
		}
		if to := replyTo(a, n); to != n.address() && to != broadcast {
			t.Errorf("sent to %s", to)
		}
		b := a.ToBytes()
		if _, err := dhcpv4.FromBytes(b); err != nil {
			t.Errorf("an answer that nobody can read: %v", err)
		}
		if _, err := answerPacket(n.subnet().Gateway, replyTo(a, n), b); err != nil {
			t.Error(err)
		}
	})
}
