package network

import (
	"net/netip"
	"slices"
)

// static lays out a network's static routes, but those that would lead around what
// the router itself is for.
func (l layout) static(n Network) {
	x := l.Routers[Namespace(n.VNI)]
	for _, r := range n.routes() {
		x.Routes[r.To] = Route{Link: GatewayLink, Via: r.Via}
	}
}

// routes are those that can be had: by an address of the network's subnets that is
// not the router's own.
func (n Network) routes() (out []StaticRoute) {
	for _, r := range n.Routes {
		everything := r.To.Bits() == 0
		switch {
		case !r.To.IsValid() || r.To.Masked() != r.To || r.Via.Is4() != r.To.Addr().Is4() || !usableAddress(n, r.Via):
		case everything && r.To.Addr().Is4() && !n.Closed:
		case !everything && len(foreign(r.To, n)) != 1:
		case slices.ContainsFunc(out, func(o StaticRoute) bool { return o.To == r.To }):
		default:
			out = append(out, r)
		}
	}
	return out
}

// notRouted is what never comes from beyond a network, or goes there.
var notRouted = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("224.0.0.0/3"), TransitRange(),
	netip.PrefixFrom(MetadataAddress6(), 64).Masked(), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"), netip.MustParsePrefix("::/8"),
}

// beyond are the ranges from which a port may send beside its own addresses, and
// to which it is sent: those of the routes that lead to it.
func (n Network) beyond(p Port) (out []netip.Prefix) {
	var all []netip.Prefix
	for _, r := range n.routes() {
		if slices.Contains(p.Addresses, r.Via) {
			all = append(all, foreign(r.To, n)...)
		}
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int { return a.Bits() - b.Bits() })
	for _, p := range all {
		if !slices.ContainsFunc(out, p.Overlaps) { // or it is within a wider one
			out = append(out, p)
		}
	}
	return out
}

// foreign is what of a range is neither of the network's subnets nor of the kind
// that is not routed.
func foreign(p netip.Prefix, n Network) []netip.Prefix {
	left := []netip.Prefix{p}
	for _, s := range n.Subnets {
		left = except(left, s.CIDR)
	}
	for _, r := range notRouted {
		left = except(left, r)
	}
	return left
}

// except takes a range out of others.
func except(from []netip.Prefix, what netip.Prefix) (out []netip.Prefix) {
	for _, p := range from {
		switch {
		case !p.Overlaps(what):
			out = append(out, p)
		case what.Bits() <= p.Bits():
		default:
			low, high := halves(p)
			out = append(out, except([]netip.Prefix{low, high}, what)...)
		}
	}
	return out
}

func halves(p netip.Prefix) (low, high netip.Prefix) {
	b := p.Masked().Addr().AsSlice()
	b[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	second, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(p.Masked().Addr(), p.Bits()+1), netip.PrefixFrom(second, p.Bits()+1)
}
