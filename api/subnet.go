package api

import (
	"fmt"
	"net/netip"
	"slices"
)

// Subnet is a range of addresses in a network.
type Subnet struct {
	Resource[SubnetSpec, SubnetStatus]
}

// SubnetSpec is what is wanted of a subnet.
type SubnetSpec struct {
	Network    string       `json:"network" doc:"ID or name of the network."`
	CIDR       netip.Prefix `json:"cidr" doc:"IPv4 prefix, /8 to /29, or IPv6 prefix, /64." example:"10.0.0.0/24" format:"cidr"`
	Gateway    netip.Addr   `json:"gateway,omitempty,omitzero" doc:"Default: the first address behind the prefix's own." format:"ip"`
	Ranges     []string     `json:"ranges,omitempty" doc:"From which ports get an address of IPv4 that they did not ask for: FIRST-LAST, a prefix, or an address. Default: all. They can be changed at any time." maxItems:"16" example:"10.0.0.100-10.0.0.199"`
	Reserved   []string     `json:"reserved,omitempty" doc:"Addresses that no port is given, also if it asks: FIRST-LAST, a prefix, or an address. They can be changed at any time, and ports keep what they have." maxItems:"64" example:"10.0.0.2-10.0.0.9"`
	DNSServers []netip.Addr `json:"dns_servers,omitempty" doc:"Of the family of the prefix. Given to guests by DHCP (IPv4), router advertisements (IPv6) and cloud-init. Default: the gateway, which knows the names of the network and asks the host's name servers for others." maxItems:"4"`
}

// SubnetStatus is what is seen of a subnet.
type SubnetStatus struct{ Status }

var subnetKind = kind[Subnet](Kind{
	Name: KindSubnet, Plural: "subnets", IDPrefix: "sub", Scope: ScopeProject, Immediate: true,
	Doc:     "A range of addresses in a network, of IPv4 or IPv6. Guests get IPv6 addresses by SLAAC or cloud-init, and IPv6 does not leave the network.",
	States:  []State{StateReady},
	Columns: []Column{{"NETWORK", "spec.network"}, {"CIDR", "spec.cidr"}, {"GATEWAY", "spec.gateway"}},
})

// Default implements Object.
func (s *Subnet) Default() {
	if !s.Spec.Gateway.IsValid() && s.Spec.CIDR.IsValid() {
		s.Spec.Gateway = s.Spec.CIDR.Masked().Addr().Next()
	}
}

// Validate implements Object.
func (s *Subnet) Validate() error {
	f := validateMeta(&s.Meta)
	if s.Spec.Network == "" {
		f.Add("spec.network", "give the network's name or ID", "a subnet is in a network")
	}
	s.validateRange(&f)
	c := s.Spec.CIDR
	for i, d := range s.Spec.DNSServers {
		switch field := fmt.Sprintf("spec.dns_servers[%d]", i); {
		case !d.IsValid() || c.Addr().Is4() && !d.Is4():
			f.Add(field, "give an IPv4 address", "%s is not IPv4", d)
		case c.Addr().Is6() && (!d.Is6() || d.Is4In6() || d.Zone() != ""):
			f.Add(field, "give an IPv6 address such as fd00::53; name servers of IPv4 go to the network's IPv4 subnet", "%s is not IPv6", d)
		}
	}
	if c.IsValid() && c.Addr().Is6() && len(s.Spec.Ranges) > 0 {
		f.Add("spec.ranges", "leave it out", "addresses of IPv6 are made from MACs, and not taken from ranges")
	}
	s.validateRanges(&f, "spec.ranges", s.Spec.Ranges, 16)
	s.validateRanges(&f, "spec.reserved", s.Spec.Reserved, 64)
	return f.Err()
}

func (s *Subnet) validateRanges(f *Faults, at string, ranges []string, most int) {
	if len(ranges) > most {
		f.Add(at, "write neighbours as one", "%d ranges are more than %d", len(ranges), most)
		return
	}
	var before []Pool
	for i, text := range ranges {
		field := fmt.Sprintf("%s[%d]", at, i)
		r, err := ParseRange(text)
		switch {
		case err != nil:
			f.Add(field, "give one such as 10.0.0.100-10.0.0.199, 10.0.0.64/26 or 10.0.0.7", "%s", err)
			continue
		case !s.Spec.CIDR.Contains(r.First) || !s.Spec.CIDR.Contains(r.Last):
			f.Add(field, "give addresses of the subnet", "%s is not within %s", text, s.Spec.CIDR)
		}
		if j := slices.IndexFunc(before, r.Overlaps); j >= 0 {
			f.Add(field, "name each address once", "%s overlaps %s", text, ranges[j])
		}
		before = append(before, r)
	}
}

// ParseRange reads a range of addresses as it is written: a prefix, FIRST-LAST,
// or one address.
func ParseRange(s string) (Pool, error) {
	if a, err := netip.ParseAddr(s); err == nil && !a.Is4In6() && a.Zone() == "" {
		return Pool{First: a, Last: a}, nil
	}
	r, err := ParsePool(s)
	if err == nil && r.Prefix.IsValid() { // its first and last address too
		r.First, r.Last = r.Prefix.Addr(), LastAddr(r.Prefix)
	}
	return r, err
}

// ParseRanges reads the ranges of a valid subnet.
func ParseRanges(ranges []string) (out []Pool) {
	for _, s := range ranges {
		if r, err := ParseRange(s); err == nil {
			out = append(out, r)
		}
	}
	return out
}

// validateRange judges the prefix and the gateway in it.
func (s *Subnet) validateRange(f *Faults) {
	c := s.Spec.CIDR
	v4 := c.Addr().Is4()
	switch {
	case !c.IsValid():
		f.Add("spec.cidr", "give a prefix such as 10.0.0.0/24 or fd00:0:0:1::/64", "it is not a prefix")
	case c.Masked() != c:
		f.Add("spec.cidr", fmt.Sprintf("did you mean %s?", c.Masked()), "%s has bits set behind its prefix length", c)
	case !v4 && c.Bits() != 64:
		f.Add("spec.cidr", fmt.Sprintf("did you mean %s?", netip.PrefixFrom(c.Addr(), 64).Masked()), "%s is not a /64, which every IPv6 subnet is: its ports' addresses are made from their MACs", c)
	case v4 && (c.Bits() > 29 || c.Bits() < 8):
		f.Add("spec.cidr", "give a prefix between /8 and /29", "%s is too %s", c, map[bool]string{true: "small: it must hold a network, a gateway and a broadcast address and some instances", false: "large"}[c.Bits() > 29])
	case reserved(c) != "":
		f.Add("spec.cidr", map[bool]string{true: "use a private range such as 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16", false: "use a private range: a /64 of fd00::/8"}[v4], "%s overlaps %s", c, reserved(c))
	case !c.Contains(s.Spec.Gateway):
		f.Add("spec.gateway", "leave it out for the first address", "%s is outside %s", s.Spec.Gateway, c)
	case s.Spec.Gateway == c.Addr() || v4 && s.Spec.Gateway == LastAddr(c):
		f.Add("spec.gateway", "leave it out for the first address", "%s is the network's or the broadcast address of %s", s.Spec.Gateway, c)
	}
}

// reserved names the range that no subnet may overlap, or "".
func reserved(c netip.Prefix) string {
	for _, r := range []struct{ cidr, why string }{
		{"169.254.0.0/16", "169.254.0.0/16, where the metadata service is"},
		{"127.0.0.0/8", "127.0.0.0/8, the loopback range"},
		{"224.0.0.0/3", "224.0.0.0/3, multicast and reserved"},
		{"0.0.0.0/8", "0.0.0.0/8"},
		{"198.18.0.0/16", "198.18.0.0/16, which the hosts' routers use"},
		{"fd00:ec2::/64", "fd00:ec2::/64, where the metadata service is"},
		{"fe80::/10", "fe80::/10, the link-local range"},
		{"ff00::/8", "ff00::/8, multicast"},
		{"::/8", "::/8, where loopback and wrapped IPv4 addresses are"},
	} {
		if netip.MustParsePrefix(r.cidr).Overlaps(c) {
			return r.why
		}
	}
	return ""
}

// LastAddr returns the last address of a prefix: in IPv4, the broadcast address.
func LastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// Claims implements Object. The count on the network orders the creation of
// subnets in one network, so that two that overlap cannot slip in together.
func (s *Subnet) Claims() Claims {
	return Claims{
		Unique: []Unique{NameClaim(KindSubnet, &s.Meta)},
		Counts: []Count{{Key: "subnets/" + s.Spec.Network, Amounts: map[string]int64{"subnets": 1}}},
		Refs:   []Ref{{Kind: KindProject, ID: s.Project, Field: "project"}, {Kind: KindNetwork, ID: s.Spec.Network, Field: "spec.network"}},
	}
}
