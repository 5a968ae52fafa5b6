package guest

import (
	"encoding/binary"
	"maps"
	"net"
	"net/netip"
	"slices"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv6"

	"github.com/cairn-cloud/cairn/network"
)

// Router advertisements go by packets too: who has asked is known by the frame,
// and each guest is told the prefixes of its own port and no other's.

const (
	protoICMPv6 = 58
	hopLimitND  = 255 // less has come through a router
	header6     = 40
	routerAsked = 133 // a router solicitation
	sizeOfAsked = 8   // its size, without options
)

// solicitFilter lets router solicitations through, seen from the IP header.
func solicitFilter() ([]bpf.RawInstruction, error) {
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoICMPv6, SkipFalse: 3},
		bpf.LoadAbsolute{Off: header6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: routerAsked, SkipFalse: 1},
		bpf.RetConstant{Val: 0xffff},
		bpf.RetConstant{Val: 0},
	})
}

// solicits tells whether a packet asks for a router (RFC 4861, 6.1.1). What it
// says beyond that, its source and options, is not looked at.
func solicits(packet []byte) bool {
	h, err := ipv6.ParseHeader(packet)
	return err == nil && h.Version == ipv6.Version && h.NextHeader == protoICMPv6 && h.HopLimit == hopLimitND &&
		h.PayloadLen >= sizeOfAsked && header6+h.PayloadLen <= len(packet) && packet[header6] == routerAsked && packet[header6+1] == 0
}

// advertise is the packet by which a NIC is told its IPv6, or nil if it has
// none. Nothing of it runs out, since a port's addresses stay. The router is no
// default one: IPv6 has no way out of its network.
func advertise(n nic) ([]byte, error) {
	ra := &ndp.RouterAdvertisement{CurrentHopLimit: ttl, Options: []ndp.Option{
		&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: network.GatewayMAC()},
	}}
	own := map[string]bool{}
	for _, a := range n.addresses {
		if !a.Is6() || own[a.id] {
			continue
		}
		own[a.id] = true
		made := network.EUI64(a.subnet.CIDR, n.mac[:])
		ra.Options = append(ra.Options, &ndp.PrefixInformation{
			PrefixLength: uint8(a.subnet.CIDR.Bits()), OnLink: true, Prefix: a.subnet.CIDR.Addr(),
			// Where the port has another address, the guest must not make one.
			AutonomousAddressConfiguration: slices.ContainsFunc(n.addresses, func(x address) bool { return x.Addr == made }),
			ValidLifetime:                  ndp.Infinity, PreferredLifetime: ndp.Infinity,
		})
	}
	if len(own) == 0 {
		return nil, nil
	}
	for _, id := range slices.Sorted(maps.Keys(n.network.Subnets)) {
		if c := n.network.Subnets[id].CIDR; c.Addr().Is6() && !own[id] {
			ra.Options = append(ra.Options, &ndp.RouteInformation{PrefixLength: uint8(c.Bits()), Prefix: c.Addr(), RouteLifetime: ndp.Infinity})
		}
	}
	for _, r := range n.network.Routes {
		if d := r.Destination; d.Addr().Is6() {
			ra.Options = append(ra.Options, &ndp.RouteInformation{PrefixLength: uint8(d.Bits()), Prefix: d.Addr(), RouteLifetime: ndp.Infinity})
		}
	}
	if n.mtu > 0 {
		ra.Options = append(ra.Options, ndp.NewMTU(uint32(n.mtu)))
	}
	if servers := slices.DeleteFunc(n.nameServers(), netip.Addr.Is4); len(servers) > 0 {
		ra.Options = append(ra.Options, &ndp.RecursiveDNSServer{Lifetime: ndp.Infinity, Servers: servers})
	}
	from, to := network.GatewayLinkLocal(), netip.IPv6LinkLocalAllNodes()
	message, err := ndp.MarshalMessageChecksum(ra, from, to)
	if err != nil {
		return nil, err
	}
	return append(ndHeader(from, to, len(message)), message...), nil
}

// ndHeader is that of a packet of neighbour discovery.
func ndHeader(from, to netip.Addr, size int) []byte {
	b := make([]byte, header6)
	b[0], b[6], b[7] = ipv6.Version<<4, protoICMPv6, hopLimitND
	binary.BigEndian.PutUint16(b[4:], uint16(size))
	copy(b[8:], net.IP(from.AsSlice()))
	copy(b[24:], net.IP(to.AsSlice()))
	return b
}
