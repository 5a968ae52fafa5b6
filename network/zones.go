package network

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// maxZone is the highest zone of connection tracking; 0 is the host's own.
const maxZone = 65535

// allocateZones gives each network a zone of connection tracking, so that what
// has the same addresses in two networks never meets.
func allocateZones(networks []Network, have Observed) map[uint32]uint16 {
	had := map[uint32]uint32{}
	for bridge, zone := range numbersOf(have, mapZones) {
		if vni, ok := vniOf(strings.Trim(bridge, `"`)); ok && zone <= maxZone {
			had[vni] = zone
		}
	}
	var vnis []uint32
	for _, n := range networks {
		vnis = append(vnis, n.VNI)
	}
	out := map[uint32]uint16{}
	for vni, zone := range allocate(vnis, had) {
		if zone <= maxZone {
			out[vni] = uint16(zone)
		}
	}
	return out
}

// allocateNumbers gives each identity a number, for rules can hold no more of it.
func allocateNumbers(networks []Network, have Observed) map[netip.Addr]uint32 {
	had := map[netip.Addr]uint32{}
	for identity, n := range numbersOf(have, mapIdentities) {
		if a, err := netip.ParseAddr(identity); err == nil && n != consentMark {
			had[a] = n
		}
	}
	ids := map[netip.Addr]bool{}
	for _, n := range networks {
		for _, p := range n.Ports {
			ids[identityOf(p.Groups)] = true
		}
	}
	return allocate(slices.SortedFunc(maps.Keys(ids), netip.Addr.Compare), had)
}

// numbersOf reads a map of the host's table.
func numbersOf(have Observed, m string) map[string]uint32 {
	out := map[string]uint32{}
	for e := range have.Host.Tables[hostKey].Sets[m] {
		if k, v, ok := strings.Cut(e, " : "); ok {
			out[k] = number(v)
		}
	}
	return out
}

// allocate gives each the number that it has, and else the lowest above 0 that
// nobody has, or has had until now.
func allocate[K comparable](all []K, had map[K]uint32) map[K]uint32 {
	out, used := map[K]uint32{}, map[uint32]int{}
	for _, n := range had {
		used[n]++
	}
	next := uint32(1)
	for _, k := range all {
		if n := had[k]; n > 0 && used[n] == 1 {
			out[k] = n
			continue
		}
		for used[next] > 0 {
			next++
		}
		out[k] = next
		next++
	}
	return out
}
