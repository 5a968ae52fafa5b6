package api

import (
	"fmt"
	"math/big"
	"net/netip"
	"strings"
)

// ExternalNetwork is what is outside of the cloud: addresses of it are given to
// projects.
type ExternalNetwork struct {
	Resource[ExternalNetworkSpec, ExternalNetworkStatus]
}

// ExternalNetworkSpec is what is wanted of an external network.
type ExternalNetworkSpec struct {
	Description string   `json:"description,omitempty" doc:"Free text for people." maxLength:"1024"`
	Pools       []string `json:"pools" doc:"Addresses that are given to projects: prefixes, of which IPv4 keeps the first and the last address, and IPv4 ranges FIRST-LAST. IPv4 is for floating IPs, IPv6 for subnets that are routed." minItems:"1" maxItems:"64" example:"203.0.113.16-203.0.113.99"`
}

// ExternalNetworkStatus is what is seen of an external network.
type ExternalNetworkStatus struct {
	Status
	Given map[string]int64 `json:"given,omitempty" doc:"How many floating IPs and routed subnets there are of it."`
}

var externalNetworkKind = kind[ExternalNetwork](Kind{
	Name: KindExternalNetwork, Plural: "external-networks", IDPrefix: "ext", Access: AccessCatalog, Immediate: true,
	Doc:     "What is outside of the cloud, with the addresses of it that projects can have.",
	States:  []State{StateReady},
	Columns: []Column{{"POOLS", "spec.pools"}, {"GIVEN", "status.given.floating_ips"}},
})

// Pool is a range of addresses, from the first to the last.
type Pool struct {
	First, Last netip.Addr
	Prefix      netip.Prefix // that it was given as; not valid: it was given as a range
}

// ParsePool reads one as it is written: a prefix, or FIRST-LAST.
func ParsePool(s string) (Pool, error) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		p, err := netip.ParsePrefix(s)
		switch {
		case err != nil || p.Addr().Is4In6():
			return Pool{}, fmt.Errorf("%q is neither a prefix nor FIRST-LAST", s)
		case p != p.Masked():
			return Pool{}, fmt.Errorf("%s has bits set behind its prefix length", p)
		}
		pool := Pool{First: p.Addr(), Last: LastAddr(p), Prefix: p}
		if p.Addr().Is4() && p.Bits() < 31 {
			pool.First, pool.Last = pool.First.Next(), pool.Last.Prev()
		}
		return pool, nil
	}
	f, err := netip.ParseAddr(strings.TrimSpace(first))
	l, err2 := netip.ParseAddr(strings.TrimSpace(last))
	switch {
	case err != nil || err2 != nil:
		return Pool{}, fmt.Errorf("%q is neither a prefix nor FIRST-LAST", s)
	case !f.Is4() || !l.Is4():
		return Pool{}, fmt.Errorf("a range is of IPv4; write IPv6 as a prefix")
	case l.Less(f):
		return Pool{}, fmt.Errorf("it ends before it begins")
	}
	return Pool{First: f, Last: l}, nil
}

// Contains tells whether an address is in the pool.
func (p Pool) Contains(a netip.Addr) bool {
	return a.BitLen() == p.First.BitLen() && !a.Less(p.First) && !p.Last.Less(a)
}

// Overlaps tells whether two pools have an address in common.
func (p Pool) Overlaps(o Pool) bool { return p.Contains(o.First) || o.Contains(p.First) }

// ParsedPools are the pools of a valid external network.
func (n *ExternalNetwork) ParsedPools() (out []Pool) {
	for _, s := range n.Spec.Pools {
		if p, err := ParsePool(s); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// Default implements Object.
func (n *ExternalNetwork) Default() {}

// Validate implements Object.
func (n *ExternalNetwork) Validate() error {
	f := validateMeta(&n.Meta)
	if len(n.Spec.Pools) == 0 {
		f.Add("spec.pools", "give one such as 203.0.113.16-203.0.113.99", "it has no addresses to give")
	}
	if len(n.Spec.Pools) > 64 {
		f.Add("spec.pools", "write neighbours as one", "%d pools are more than 64", len(n.Spec.Pools))
		return f.Err()
	}
	var pools []Pool
	for i, s := range n.Spec.Pools {
		field := fmt.Sprintf("spec.pools[%d]", i)
		p, err := ParsePool(s)
		if err != nil {
			f.Add(field, "give one such as 203.0.113.16-203.0.113.99 or 203.0.113.0/24", "%s", err)
			continue
		}
		switch why := notPublic(p); {
		case why != "":
			f.Add(field, "give addresses that are routed to the hosts", "%s overlaps %s", s, why)
		case p.First.Is6() && (p.Prefix.Bits() > 64 || p.Prefix.Bits() < 16):
			f.Add(field, "give a prefix between /16 and /64, of which subnets get /64s", "%s is too %s", s, map[bool]string{true: "small", false: "large"}[p.Prefix.Bits() > 64])
		case p.First.Is4() && size(p).Cmp(big.NewInt(1<<24)) > 0:
			f.Add(field, "give a smaller one", "%s is more than 16777216 addresses", s)
		}
		for j, o := range pools {
			if o.Overlaps(p) {
				f.Add(field, "name each address once", "%s overlaps %s", s, n.Spec.Pools[j])
			}
		}
		pools = append(pools, p)
	}
	return f.Err()
}

// size counts the addresses of a pool.
func size(p Pool) *big.Int {
	n := new(big.Int).Sub(new(big.Int).SetBytes(p.Last.AsSlice()), new(big.Int).SetBytes(p.First.AsSlice()))
	return n.Add(n, big.NewInt(1))
}

// notPublic names what nobody outside can be reached by, or "".
func notPublic(p Pool) string {
	for _, r := range []struct{ cidr, why string }{
		{"169.254.0.0/16", "169.254.0.0/16, where the metadata service is"},
		{"127.0.0.0/8", "127.0.0.0/8, the loopback range"},
		{"224.0.0.0/3", "224.0.0.0/3, multicast and reserved"},
		{"0.0.0.0/8", "0.0.0.0/8"},
		{"198.18.0.0/16", "198.18.0.0/16, which the hosts' routers use"},
		{"::/8", "::/8, which is reserved"},
		{"fe80::/10", "fe80::/10, link-local addresses"},
		{"ff00::/8", "ff00::/8, multicast"},
	} {
		c := netip.MustParsePrefix(r.cidr)
		if p.Overlaps(Pool{First: c.Addr(), Last: LastAddr(c)}) {
			return r.why
		}
	}
	return ""
}

// Claims implements Object. The count orders changes of all external networks, so
// that two that overlap cannot slip in together.
func (n *ExternalNetwork) Claims() Claims {
	return Claims{
		Unique: []Unique{NameClaim(KindExternalNetwork, &n.Meta)},
		Counts: []Count{{Key: "external-networks", Amounts: map[string]int64{"external_networks": 1, "pools": int64(len(n.Spec.Pools))}}},
	}
}

// GivenKey counts what was given of an external network.
func GivenKey(externalNetwork string) string { return "given/" + externalNetwork }
