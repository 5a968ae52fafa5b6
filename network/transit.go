package network

import (
	"encoding/binary"
	"net/netip"
)

// TransitRange is where the links between routers and their host have their
// addresses, two each (RFC 3021). RFC 2544 keeps the range for laboratories, so
// neither guests nor the world beyond use it, and it never leaves the host.
func TransitRange() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, 0, 0}), 16)
}

// transit is the addresses of one such link.
type transit int // which, from the lowest

const transits = 1 << 15

func (t transit) host() netip.Prefix   { return t.address(0) }
func (t transit) router() netip.Prefix { return t.address(1) }

func (t transit) address(n int) netip.Prefix {
	a := TransitRange().Addr().As4()
	binary.BigEndian.PutUint16(a[2:], uint16(int(t)*2+n))
	return netip.PrefixFrom(netip.AddrFrom4(a), 31)
}

// transitOf tells which link an address of the host belongs to.
func transitOf(p netip.Prefix) (transit, bool) {
	if p.Bits() != 31 || !TransitRange().Contains(p.Addr()) {
		return 0, false
	}
	a := p.Addr().As4()
	n := int(binary.BigEndian.Uint16(a[2:]))
	return transit(n / 2), n%2 == 0
}

// allocateTransits gives each network what its uplink has already, and else the
// lowest that is free. A network is left out when none is, or when it is closed.
func allocateTransits(networks []Network, have Observed) map[uint32]transit {
	out, used := map[uint32]transit{}, map[transit]bool{}
	for _, n := range networks {
		cable, best := UplinkCable(n.VNI), transit(-1)
		if _, ok := have.Host.Links[cable]; !ok || n.Closed {
			continue
		}
		for k := range have.Host.Addresses {
			if t, ok := transitOf(k.Address); ok && k.Link == cable && !used[t] && (best < 0 || t < best) && free(t, have.Taken) {
				best = t
			}
		}
		if best >= 0 {
			out[n.VNI], used[best] = best, true
		}
	}
	next := transit(0)
	for _, n := range networks {
		if _, ok := out[n.VNI]; ok || n.Closed {
			continue
		}
		for next < transits && (used[next] || !free(next, have.Taken)) {
			next++
		}
		if next == transits {
			break
		}
		out[n.VNI], used[next] = next, true
	}
	return out
}

func free(t transit, taken []netip.Prefix) bool {
	for _, p := range taken {
		if p.Overlaps(t.host().Masked()) {
			return false
		}
	}
	return true
}
