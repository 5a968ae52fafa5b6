package linux

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// proxyMark is the protocol of the entries by which this machine answers for
// addresses of others: by it ours are known from those of other programs.
const proxyMark = 0xca

// Of linux/neighbour.h.
const ndaProtocol = 12

// proxy makes or removes such an entry, which has no MAC: the link's own is told.
func (s *space) proxy(key network.NeighbourKey, message, flags int) error {
	i, err := s.indexOf(key.Link)
	if err != nil {
		return err
	}
	return within(s.ns, func() error {
		req := nl.NewNetlinkRequest(message, flags|unix.NLM_F_ACK)
		req.AddData(&netlink.Ndmsg{Family: uint8(familyOf(key.Address)), Index: uint32(i), State: netlink.NUD_PERMANENT, Flags: netlink.NTF_PROXY})
		req.AddData(nl.NewRtAttr(netlink.NDA_DST, key.Address.AsSlice()))
		req.AddData(nl.NewRtAttr(ndaProtocol, []byte{proxyMark}))
		_, err := req.Execute(unix.NETLINK_ROUTE, 0)
		return err
	})
}

// observeProxies reads the entries that are ours.
func (s *space) observeProxies(x network.Space) error {
	names := s.names()
	return within(s.ns, func() error {
		msgs, err := again(func() ([][]byte, error) {
			req := nl.NewNetlinkRequest(unix.RTM_GETNEIGH, unix.NLM_F_DUMP)
			req.AddData(&netlink.Ndmsg{Flags: netlink.NTF_PROXY})
			return req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH)
		})
		if err != nil {
			return fmt.Errorf("list proxies: %w", err)
		}
		for _, m := range msgs {
			if len(m) < unix.SizeofNdMsg {
				continue
			}
			attrs, err := nl.ParseRouteAttrAsMap(m[unix.SizeofNdMsg:])
			if err != nil {
				return fmt.Errorf("list proxies: %w", err)
			}
			link := names[int(nl.NativeEndian().Uint32(m[4:]))]
			a, ok := netip.AddrFromSlice(attrs[netlink.NDA_DST].Value)
			if p := attrs[ndaProtocol].Value; ok && link != "" && len(p) == 1 && p[0] == proxyMark {
				x.Proxies[network.NeighbourKey{Link: link, Address: a}] = true
			}
		}
		return nil
	})
}
