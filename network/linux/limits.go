package linux

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// bucket is the token bucket of a rate in bytes a second: it lets a burst of
// 10 ms pass, or of two of the longest packets that guests send, and what waits
// for more waits for 50 ms.
func bucket(link int, rate int64) *netlink.Tbf {
	const longest = 1 << 17
	burst, limit := max(rate/100, longest), max(rate/20, longest)
	return &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(1, 0)},
		Rate:       uint64(rate), Limit: uint32(limit), Buffer: netlink.Xmittime(uint64(rate), uint32(burst)),
	}
}

// rateOf is the rate that a qdisc lets pass; 0 for one that is not a bucket of ours.
func rateOf(q netlink.Qdisc) int64 {
	if q.Type() == "noqueue" {
		return network.NoQueue
	}
	have, ok := q.(*netlink.Tbf)
	if !ok || have.Rate == 0 || have.Peakrate != 0 {
		return 0
	}
	if want := bucket(0, int64(have.Rate)); have.Limit != want.Limit || have.Buffer != want.Buffer {
		return 0
	}
	return int64(have.Rate)
}

func (s *space) putRate(link string, rate int64) error {
	i, err := s.indexOf(link)
	if err != nil {
		return err
	}
	err = s.links.QdiscReplace(bucket(i, rate))
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EEXIST) { // there is one of another kind
		err = errors.Join(s.removeRate(link), s.links.QdiscReplace(bucket(i, rate)))
	}
	return err
}

func (s *space) removeRate(link string) error {
	return gone(s.removeQdisc(link, netlink.HANDLE_ROOT))
}

func (s *space) removeQdisc(link string, parent uint32) error {
	i, err := s.indexOf(link)
	if err != nil {
		return err
	}
	err = s.links.QdiscDel(&netlink.GenericQdisc{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: i, Parent: parent}})
	if errors.Is(err, unix.EINVAL) { // there is none
		return nil
	}
	return err
}

// putDetour makes it anew: there may be anything.
func (s *space) putDetour(link, to string) error {
	if err := s.removeDetour(link); err != nil {
		return err
	}
	i, err := s.indexOf(link)
	if err != nil {
		return err
	}
	other, err := s.indexOf(to)
	if err != nil {
		return err
	}
	if err := s.links.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: i, Parent: netlink.HANDLE_CLSACT, Handle: netlink.MakeHandle(0xffff, 0)}}); err != nil {
		return err
	}
	return s.links.FilterAdd(&netlink.U32{ // which every kernel has; without keys it is about all
		FilterAttrs: netlink.FilterAttrs{LinkIndex: i, Parent: netlink.HANDLE_MIN_INGRESS, Priority: 1, Protocol: unix.ETH_P_ALL},
		Actions:     []netlink.Action{netlink.NewMirredAction(other)},
	})
}

// removeDetour removes all that is done with what comes by a link.
func (s *space) removeDetour(link string) error {
	return gone(s.removeQdisc(link, netlink.HANDLE_CLSACT))
}

// observeLimits reads how much may pass links, and where what comes by them goes.
func (s *space) observeLimits(x network.Space) error {
	qdiscs, err := again(func() ([]netlink.Qdisc, error) { return s.links.QdiscList(nil) })
	if err != nil {
		return fmt.Errorf("list queueing disciplines: %w", err)
	}
	names := s.names()
	for _, q := range qdiscs {
		a := q.Attrs()
		link := names[a.LinkIndex]
		if k := x.Links[link].Kind; k != network.KindTap && k != network.KindDetour {
			continue
		}
		switch {
		case a.Parent == netlink.HANDLE_CLSACT:
			if x.Detours[link], err = s.detourOf(a.LinkIndex, names); err != nil {
				return fmt.Errorf("list filters of %s: %w", link, err)
			}
		case a.Parent == netlink.HANDLE_ROOT && a.Handle != 0: // those that the kernel gives to all have none
			x.Rates[link] = rateOf(q)
		}
	}
	return nil
}

// detourOf names the link to which all goes that comes by another; "" where
// something else, or something more, is done with it.
func (s *space) detourOf(link int, names map[int]string) (string, error) {
	l := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: link}}
	out, err := again(func() ([]netlink.Filter, error) { return s.links.FilterList(l, netlink.HANDLE_MIN_EGRESS) })
	if err != nil || len(out) > 0 {
		return "", gone(err)
	}
	in, err := again(func() ([]netlink.Filter, error) { return s.links.FilterList(l, netlink.HANDLE_MIN_INGRESS) })
	if err != nil {
		return "", gone(err)
	}
	to := ""
	for _, f := range in {
		u, ok := f.(*netlink.U32)
		switch {
		case ok && u.Sel == nil && len(u.Actions) == 0: // the table that it is in
		case ok && to == "" && u.Protocol == unix.ETH_P_ALL && redirects(u):
			to = names[u.RedirIndex]
		default:
			return "", nil
		}
	}
	return to, nil
}

func redirects(u *netlink.U32) bool {
	if u.Sel == nil || u.Sel.Flags&netlink.TC_U32_TERMINAL == 0 || len(u.Sel.Keys) != 1 || u.Sel.Keys[0].Mask != 0 || len(u.Actions) != 1 {
		return false
	}
	m, ok := u.Actions[0].(*netlink.MirredAction)
	return ok && m.MirredAction == netlink.TCA_EGRESS_REDIR
}
