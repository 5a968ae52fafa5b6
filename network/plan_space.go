package network

import (
	"maps"
	"net/netip"
	"strings"
)

// space plans what is in a namespace: links, and what is said of them.
func (p *planner) space(name string, want, have Space) {
	for link, w := range want.Links {
		p.link(name, w, have.Links[link])
	}
	p.settings(name, want, have)
	is := func(link string) bool { return !p.missing(place{name, link}) }

	difference(have.Forwards, want.Forwards,
		func(k ForwardKey, to string) bool { return is(k.Bridge) && is(to) },
		func(k ForwardKey, to string) {
			r := putForward
			if want.Links[to].Kind == KindTap {
				r = putTapForward
			}
			p.add(making, r, PutForward{p.of(name, k.Bridge), k, to})
		},
		func(k ForwardKey, to string) {
			p.add(removing, goForward, RemoveForward{p.of(name, k.Bridge), k, to})
		})
	difference(have.Tunnels, want.Tunnels,
		func(k TunnelKey, _ netip.Addr) bool { return is(k.Link) },
		func(k TunnelKey, host netip.Addr) {
			p.add(making, putTunnel, PutTunnel{p.of(name, k.Link), k, host})
		},
		func(k TunnelKey, _ netip.Addr) { p.add(removing, goTunnel, RemoveTunnel{p.of(name, k.Link), k}) })
	difference(have.Neighbours, want.Neighbours,
		func(k NeighbourKey, _ MAC) bool { return is(k.Link) && !p.flushed[place{name, k.Link}] },
		func(k NeighbourKey, m MAC) {
			p.add(making, putNeighbour, PutNeighbour{p.of(name, k.Link), k, m})
		},
		func(k NeighbourKey, _ MAC) {
			p.add(removing, goNeighbour, RemoveNeighbour{p.of(name, k.Link), k})
		})
	difference(have.Proxies, want.Proxies,
		func(NeighbourKey, bool) bool { return true },
		func(k NeighbourKey, _ bool) {
			o := Of{VNI: p.want.public[k.Address]}
			p.add(making, putProxy, PutProxy{o, k})
			p.add(making, announce, Announce{o, k})
		},
		func(k NeighbourKey, _ bool) { p.add(removing, goProxy, RemoveProxy{Of{}, k}) })
	difference(have.Addresses, want.Addresses,
		func(k AddressKey, _ bool) bool { return is(k.Link) },
		func(k AddressKey, _ bool) { p.add(making, putAddress, AddAddress{p.of(name, k.Link), k}) },
		func(k AddressKey, _ bool) { p.add(removing, goAddress, RemoveAddress{p.of(name, k.Link), k}) })
	difference(have.Routes, want.Routes,
		func(_ netip.Prefix, r Route) bool { return is(r.Link) },
		func(to netip.Prefix, r Route) { p.add(making, putRoute, PutRoute{p.of(name, r.Link), to, r}) },
		func(to netip.Prefix, r Route) {
			p.add(removing, goRoute, RemoveRoute{p.of(name, r.Link), to, r})
		})
	rates := maps.Clone(have.Rates)
	maps.DeleteFunc(rates, func(_ string, r int64) bool { return r == NoQueue })
	difference(rates, want.Rates,
		func(link string, _ int64) bool { return is(link) },
		func(link string, rate int64) { p.add(making, putRate, PutRate{p.of(name, link), link, rate}) },
		func(link string, _ int64) { p.add(removing, goRate, RemoveRate{p.of(name, link), link}) })
	detours := maps.Clone(have.Detours)
	for link, to := range detours {
		if to != "" && !is(to) {
			detours[link] = "" // it leads nowhere
		}
	}
	difference(detours, want.Detours,
		func(link, _ string) bool { return is(link) },
		func(link, to string) { p.add(making, putDetour, PutDetour{p.of(name, link), link, to}) },
		func(link, _ string) { p.add(removing, goDetour, RemoveDetour{p.of(name, link), link}) })
}

// difference calls put for what is to be there and is not, and remove for what
// is there and is not to be. An entry that went with its link, which holds
// tells, is not there.
func difference[K, V comparable](have, want map[K]V, holds func(K, V) bool, put, remove func(K, V)) {
	for k, w := range want {
		if h, there := have[k]; !there || h != w || !holds(k, h) {
			put(k, w)
		}
	}
	for k, h := range have {
		if _, wanted := want[k]; !wanted && holds(k, h) {
			remove(k, h)
		}
	}
}

// link plans a link itself.
func (p *planner) link(namespace string, want, have Link) {
	at := place{namespace, want.Name}
	missing := p.missing(at)
	o := p.of(namespace, want.Name)
	put, on := makeLink(want.Kind)
	if namespace != "" {
		put, on = putRouterLink, onRouterLink
	}
	// The loopback comes with its namespace.
	if want.Kind != KindLoopback && (missing || !have.is(want)) {
		p.add(making, put, PutLink{o, want})
		p.flushed[at] = want.MAC != (MAC{}) && have.MAC != want.MAC
	}
	if missing || !have.Up {
		p.add(making, on, SwitchOn{o, want.Name})
	}
}

func makeLink(k Kind) (put, on rank) {
	switch k {
	case KindBridge:
		return putBridge, onBridge
	case KindVXLAN:
		return putVXLAN, onVXLAN
	case KindTap:
		return putTap, onTap
	case KindDetour:
		return putDetourLink, onDetourLink
	default:
		return putCable, onCable
	}
}

// settings plans the sysctls.
func (p *planner) settings(namespace string, want, have Space) {
	for key, v := range want.Settings {
		lost := key.Link != "" && p.missing(place{namespace, key.Link})
		if h, there := have.Settings[key]; there && h == v && !lost {
			continue
		}
		s, r, o := making, putLinkSetting, Of{}
		switch {
		case key.Link != "":
			o = p.of(namespace, key.Link)
			if k := want.Links[key.Link].Kind; k == KindTap || k == KindDetour {
				r = putTapSetting
			}
		case namespace != "":
			r, o = putSetting, ofRouter(namespace)
		default:
			s, r = onHost, onTap // after the table that remembers how it was
		}
		p.add(s, r, PutSetting{o, key, v})
	}
}

// tapOf finds the tap in an element of a set, which is the first of its fields.
func tapOf(element string) string {
	first, _, _ := strings.Cut(element, " . ")
	return strings.Trim(first, `"`)
}
