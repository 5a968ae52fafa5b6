package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// ear listens to one namespace.
type ear struct {
	name          string // of the router; "" for the host
	ns            netns.NsHandle
	own           bool // the handle is the ear's to close
	links, tables *netlink.Conn
	closed        atomic.Bool
}

// listen begins to listen; what is heard wakes the watch.
func (w *watch) listen(name string, ns netns.NsHandle) (*ear, error) {
	e := &ear{name: name, ns: ns}
	open := func(family int, groups ...uint) (*netlink.Conn, error) {
		var mask uint32
		for _, g := range groups {
			mask |= 1 << (g - 1)
		}
		c, err := netlink.Dial(family, &netlink.Config{NetNS: int(ns), Groups: mask})
		if err != nil {
			return nil, err
		}
		return c, c.SetReadBuffer(w.n.eventBuffer)
	}
	var err error
	if e.links, err = open(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_TC, unix.RTNLGRP_NEIGH, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_NETCONF,
		unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV6_NETCONF); err != nil {
		e.close()
		return nil, err
	}
	if e.tables, err = open(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES); err != nil {
		e.close()
		return nil, err
	}
	w.wg.Go(func() { w.hear(e, e.links, e.concernsLink) })
	w.wg.Go(func() { w.hear(e, e.tables, concernsTable) })
	return e, nil
}

func (e *ear) close() {
	e.closed.Store(true)
	for _, c := range []*netlink.Conn{e.links, e.tables} {
		if c != nil {
			_ = c.Close() // it held nothing but what was heard
		}
	}
	if e.own {
		_ = e.ns.Close()
	}
}

func (w *watch) hear(e *ear, c *netlink.Conn, concerns func(*view, netlink.Message) bool) {
	for {
		msgs, err := c.Receive()
		switch {
		case e.closed.Load():
			return
		case errors.Is(err, unix.ENOBUFS):
			w.miss(fmt.Errorf("the kernel dropped events: %w", err))
			w.touch()
		case err != nil:
			w.miss(fmt.Errorf("hear the kernel's events: %w", err))
			return
		}
		seen := w.n.seen.Load()
		for _, m := range msgs {
			if seen == nil || concerns(seen, m) {
				w.touch()
				break
			}
		}
	}
}

// view is what was seen the last time, for events to be compared with: most
// that happens on a host is none of our business.
type view struct {
	network.Observed
	names  map[string]map[int]string // of links, by namespace and number
	uplink string
}

func (v *view) space(name string) network.Space {
	if name == "" {
		return v.Host
	}
	return v.Routers[name]
}

// tcMessage is the length of tcmsg of linux/rtnetlink.h.
const tcMessage = 20

// Of linux/netconf.h: which link a setting is about, and that it is about all.
const (
	netconfIndex = 1
	netconfAll   = -1
)

// concernsLink tells whether an event is about something that Plan knows.
func (e *ear) concernsLink(seen *view, m netlink.Message) bool {
	names, space := seen.names[e.name], seen.space(e.name)
	ours := func(index uint32) bool { _, ok := space.Links[names[int(index)]]; return ok }
	b := m.Data
	switch uint16(m.Header.Type) {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		name := attribute(b, unix.SizeofIfInfomsg, unix.IFLA_IFNAME)
		return e.name != "" || network.OwnedLink(text(name), network.Mark, 0) || seen.uplink != "" && text(name) == seen.uplink
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return len(b) >= unix.SizeofIfAddrmsg && ours(binary.NativeEndian.Uint32(b[4:]))
	case unix.RTM_NEWQDISC, unix.RTM_DELQDISC, unix.RTM_NEWTFILTER, unix.RTM_DELTFILTER:
		return len(b) >= tcMessage && ours(binary.NativeEndian.Uint32(b[4:]))
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		index := attribute(b, unix.SizeofRtMsg, unix.RTA_OIF)
		return e.name != "" || len(index) == 4 && ours(binary.NativeEndian.Uint32(index))
	case unix.RTM_NEWNETCONF, unix.RTM_DELNETCONF:
		index := attribute(b, 4, netconfIndex)
		return len(index) == 4 && int32(binary.NativeEndian.Uint32(index)) == netconfAll
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		if len(b) < unix.SizeofNdMsg || !ours(binary.NativeEndian.Uint32(b[4:])) {
			return false
		}
		// What neighbours find out of each other changes all the time.
		if b[0] == unix.AF_BRIDGE || binary.NativeEndian.Uint16(b[8:])&unix.NUD_PERMANENT != 0 {
			return true
		}
		a, _ := netip.AddrFromSlice(attribute(b, unix.SizeofNdMsg, unix.NDA_DST))
		_, known := space.Neighbours[network.NeighbourKey{Link: names[int(binary.NativeEndian.Uint32(b[4:]))], Address: a}]
		return known
	}
	return false
}

// concernsTable tells whether an event of nftables is about a table of ours. In
// all its messages the table's name is the first attribute.
func concernsTable(_ *view, m netlink.Message) bool {
	return m.Header.Type&0xff != unix.NFT_MSG_NEWGEN && text(attribute(m.Data, 4, unix.NFTA_TABLE_NAME)) == network.Mark
}

func attribute(b []byte, header int, kind uint16) []byte {
	if len(b) < header {
		return nil
	}
	attrs, err := netlink.UnmarshalAttributes(b[header:])
	if err != nil {
		return nil
	}
	for _, a := range attrs {
		if a.Type == kind {
			return a.Data
		}
	}
	return nil
}

func text(b []byte) string { return strings.TrimRight(string(b), "\x00") }
