package guest

import (
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"github.com/cairn-cloud/cairn/api"
)

// leaseTime is long, since an address never changes while its port lives: a
// guest that renews at half of it survives an agent that is away for as long.
const leaseTime = 24 * time.Hour

// searchMax is the longest domain that is said a second time, as the list in
// which short names are looked up: who is not told one takes the domain itself, and
// not every client takes more than 576 bytes.
const searchMax = 100

// answerDHCP is what the network says to a DHCP message that came in a frame
// from that MAC, or nil. It answers from desired state only, and only to who
// has a port here; what is malformed or meant for another is passed over in
// silence, as a server must (RFC 2131, 4.3).
func answerDHCP(v *view, from mac, message []byte) (*dhcpv4.DHCPv4, nic) {
	n, ours := v.byMAC[from]
	if !ours {
		return nil, n
	}
	q, err := dhcpv4.FromBytes(message)
	// Not through a relay, and not for another: the hardware address within is
	// the one that the frame came from.
	if err != nil || q.OpCode != dhcpv4.OpcodeBootRequest || q.HWType != iana.HWTypeEthernet ||
		len(q.ClientHWAddr) != len(from) || mac(q.ClientHWAddr) != from || !q.GatewayIPAddr.Equal(net.IPv4zero) {
		return nil, n
	}
	if server, named := q.Options[dhcpv4.OptionServerIdentifier.Code()]; named && !sameAddress(server, n.subnet().Gateway) {
		return nil, n // it chose another server
	}
	var kind dhcpv4.MessageType
	switch q.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		kind = dhcpv4.MessageTypeOffer
	case dhcpv4.MessageTypeRequest:
		if kind = judgeRequest(q, n); kind == dhcpv4.MessageTypeNone {
			return nil, n
		}
	case dhcpv4.MessageTypeInform:
		if !sameAddress(q.ClientIPAddr, n.address()) {
			return nil, n
		}
		kind = dhcpv4.MessageTypeAck
	default:
		// Also RELEASE and DECLINE: the address stays the port's either way.
		return nil, n
	}
	a, err := dhcpv4.NewReplyFromRequest(q, dhcpv4.WithMessageType(kind),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(ipOf(n.subnet().Gateway))))
	if err != nil {
		return nil, n
	}
	if kind != dhcpv4.MessageTypeNak {
		configure(a, q, n)
	}
	return a, n
}

// judgeRequest tells whether a REQUEST asks for the address that is the port's:
// ACK, NAK, or none if it asks for nothing at all.
func judgeRequest(q *dhcpv4.DHCPv4, n nic) dhcpv4.MessageType {
	asked, ok := q.Options[dhcpv4.OptionRequestedIPAddress.Code()]
	if !ok {
		asked = q.ClientIPAddr.To4() // it renews
	}
	switch {
	case len(asked) != net.IPv4len || net.IP(asked).Equal(net.IPv4zero):
		return dhcpv4.MessageTypeNone
	case sameAddress(asked, n.address()):
		return dhcpv4.MessageTypeAck
	default:
		return dhcpv4.MessageTypeNak
	}
}

// configure puts in what the guest is to be. All is said whether the client
// listed it or not, since there is room.
func configure(a, q *dhcpv4.DHCPv4, n nic) {
	set := func(o dhcpv4.Option) { a.UpdateOption(o) }
	if a.MessageType() == dhcpv4.MessageTypeAck && sameAddress(q.ClientIPAddr, n.address()) {
		a.ClientIPAddr = q.ClientIPAddr
	}
	if q.MessageType() != dhcpv4.MessageTypeInform {
		a.YourIPAddr = ipOf(n.address())
		set(dhcpv4.OptIPAddressLeaseTime(leaseTime))
	}
	set(dhcpv4.OptSubnetMask(net.CIDRMask(n.subnet().CIDR.Bits(), 32)))
	if servers := ipsOf(n.nameServers()); len(servers) > 0 {
		set(dhcpv4.OptDNS(servers...))
	}
	if d := n.network.Domain; api.IsDomain(d) {
		set(dhcpv4.OptDomainName(d))
		if len(d) <= searchMax {
			set(dhcpv4.OptDomainSearch(&rfc1035label.Labels{Labels: []string{d}}))
		}
	}
	if api.IsName(n.port.Hostname) {
		set(dhcpv4.OptHostName(n.port.Hostname))
	}
	if n.mtu > 0 && n.mtu <= 0xffff {
		set(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, dhcpv4.Uint16(n.mtu).ToBytes()))
	}
	var routes []*dhcpv4.Route
	for _, r := range n.routes {
		if r.to.Addr().Is6() {
			continue
		}
		if r.to.Bits() == 0 {
			set(dhcpv4.OptRouter(ipOf(r.via))) // for clients that do not know classless routes
		}
		to := &net.IPNet{IP: ipOf(r.to.Addr()), Mask: net.CIDRMask(r.to.Bits(), 32)}
		routes = append(routes, &dhcpv4.Route{Dest: to, Router: ipOf(r.via)})
	}
	if len(routes) > 0 {
		set(dhcpv4.OptClasslessStaticRoute(routes...))
	}
}

// replyTo is the address that an answer goes to. Its frame goes to the client's
// MAC in any case, also under the broadcast address, so that nothing is flooded
// to its neighbours.
func replyTo(a *dhcpv4.DHCPv4, n nic) netip.Addr {
	if a.MessageType() == dhcpv4.MessageTypeNak || a.IsBroadcast() && a.ClientIPAddr.Equal(net.IPv4zero) {
		return broadcast
	}
	return n.address()
}

func ipOf(a netip.Addr) net.IP { return net.IP(a.AsSlice()) }

func ipsOf(as []netip.Addr) (out []net.IP) {
	for _, a := range as {
		if a.Is4() {
			out = append(out, ipOf(a))
		}
	}
	return out
}

func sameAddress(raw []byte, a netip.Addr) bool {
	b, ok := netip.AddrFromSlice(raw)
	return ok && b.Unmap() == a
}
