package linux

import (
	"errors"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// forgetConnections ends what is tracked that has the address on either side.
func (s *space) forgetConnections(a netip.Addr) error {
	return s.end(netlink.InetFamily(familyOf(a)), ofAddress(a))
}

// endConnections ends what is tracked that is not allowed any more.
func (s *space) endConnections(j *network.Judge) error {
	return errors.Join(s.end(unix.AF_INET, forbidden{j}), s.end(unix.AF_INET6, forbidden{j}))
}

func (s *space) end(family netlink.InetFamily, which netlink.CustomConntrackFilter) error {
	h, err := netlink.NewHandleAt(s.ns, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer h.Close()
	_, err = h.ConntrackDeleteFilters(netlink.ConntrackTable, family, which)
	return gone(err)
}

type ofAddress netip.Addr

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (o ofAddress) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	for _, ip := range [][]byte{f.Forward.SrcIP, f.Forward.DstIP, f.Reverse.SrcIP, f.Reverse.DstIP} {
		if a, ok := netip.AddrFromSlice(ip); ok && a.Unmap() == netip.Addr(o) {
			return true
		}
	}
	return false
}

type forbidden struct{ *network.Judge }

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (b forbidden) MatchConntrackFlow(c *netlink.ConntrackFlow) bool {
	from, _ := netip.AddrFromSlice(c.Forward.SrcIP)
	to, _ := netip.AddrFromSlice(c.Forward.DstIP)
	f := network.Flow{Zone: c.Zone, Source: from.Unmap(), Dest: to.Unmap(), Protocol: c.Forward.Protocol, Details: network.AllDetails, Agreed: c.Mark}
	if f.Protocol == unix.IPPROTO_TCP || f.Protocol == unix.IPPROTO_UDP {
		f.Details = network.Range{First: c.Forward.DstPort, Last: c.Forward.DstPort}
	}
	return !b.Allows(f)
}
