package api

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Network is an isolated layer-3 domain (a VPC): two networks never see each
// other's packets, whatever addresses they use.
type Network struct {
	Resource[NetworkSpec, NetworkStatus]
}

// NetworkSpec is what is wanted of a network.
type NetworkSpec struct {
	Description string     `json:"description,omitempty" doc:"Free text for people." maxLength:"1024"`
	MTU         int        `json:"mtu,omitempty" minimum:"576" maximum:"65485" doc:"What guests may send, in bytes. Default: the most that fits the hosts' underlay."`
	Domain      string     `json:"domain,omitempty" maxLength:"150" pattern:"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$" example:"shop.example" doc:"DNS domain of its instances' names. Default: the names of network and project, and internal."`
	Egress      EgressMode `json:"egress,omitempty" enum:"nat,none" doc:"How guests reach the outside: as their host (nat), or not at all (none). Default: nat."`
	Routes      []Route    `json:"routes,omitempty" maxItems:"64" doc:"Ranges beyond the network that are reached by one of its ports: by a firewall or VPN, for example. That port may send from such a range. They can be changed at any time."`
	VNI         uint32     `json:"vni,omitempty" readOnly:"true" doc:"The VXLAN network identifier, given by Cairn."`
}

// Route sends what is for a range to a port of the network.
type Route struct {
	Destination netip.Prefix `json:"destination" format:"cidr" example:"172.16.0.0/12" doc:"Outside the network's subnets. Everything (0.0.0.0/0) only where egress is none, or in IPv6 (::/0)."`
	Via         netip.Addr   `json:"via" format:"ip" example:"10.0.0.5" doc:"Address of a port in one of the network's subnets."`
	Subnet      string       `json:"subnet,omitempty" readOnly:"true" doc:"ID of the subnet that it is in."`
}

// EgressMode is how guests of a network reach the outside.
type EgressMode string

// The ways out. None given is EgressNAT.
const (
	EgressNAT  EgressMode = "nat"
	EgressNone EgressMode = "none"
)

// NetworkStatus is what is seen of a network.
type NetworkStatus struct{ Status }

var networkKind = kind[Network](Kind{
	Name: KindNetwork, Plural: "networks", IDPrefix: "net", Scope: ScopeProject, Immediate: true,
	Doc:     "An isolated layer-3 domain (a VPC).",
	States:  []State{StateReady},
	Columns: []Column{{"VNI", "spec.vni"}, {"MTU", "spec.mtu"}, {"DOMAIN", "spec.domain"}},
})

// Default implements Object.
func (n *Network) Default() {}

// Validate implements Object.
func (n *Network) Validate() error {
	f := validateMeta(&n.Meta)
	if n.Spec.MTU != 0 && (n.Spec.MTU < 576 || n.Spec.MTU > 65485) {
		f.Add("spec.mtu", "leave it out for the most that fits", "%d is not between 576 and 65485", n.Spec.MTU)
	}
	const hint = "give one such as shop.example, or leave it out"
	if d := reservedDomain(n.Spec.Domain); d != "" {
		f.Add("spec.domain", hint, "%s means the same everywhere", d)
	} else if n.Spec.Domain != "" && !IsDomain(n.Spec.Domain) {
		f.Add("spec.domain", hint, "%q is not a domain of two to ten names of lower-case letters, digits and dashes, with at most 150 characters", n.Spec.Domain)
	}
	if e := n.Spec.Egress; e != "" && e != EgressNAT && e != EgressNone {
		f.Add("spec.egress", "give nat or none, or leave it out for nat", "%q is no way out", e)
	}
	n.validateRoutes(&f)
	return f.Err()
}

const maxRoutes = 64

func (n *Network) validateRoutes(f *Faults) {
	if len(n.Spec.Routes) > maxRoutes {
		f.Add("spec.routes", "join ranges that lead the same way", "%d routes are more than %d", len(n.Spec.Routes), maxRoutes)
		return
	}
	for i, r := range n.Spec.Routes {
		at, d := fmt.Sprintf("spec.routes[%d]", i), r.Destination
		everything := d.Bits() == 0
		switch {
		case !d.IsValid() || d.Addr().Is4In6():
			f.Add(at+".destination", "give a prefix such as 172.16.0.0/12 or fd12::/48", "it is not a prefix")
		case d.Masked() != d:
			f.Add(at+".destination", fmt.Sprintf("did you mean %s?", d.Masked()), "%s has bits set behind its prefix length", d)
		case everything && d.Addr().Is4() && n.Spec.Egress != EgressNone:
			f.Add(at+".destination", "give narrower ranges, or make a network with egress none", "%s would take the place of the network's own way out", d)
		case !everything && reserved(d) != "":
			f.Add(at+".destination", "give a range without it", "%s overlaps %s", d, reserved(d))
		case !r.Via.IsValid() || r.Via.Is4In6() || r.Via.Zone() != "" || r.Via.Is4() != d.Addr().Is4():
			f.Add(at+".via", "give the address of a port, of the family of the destination", "%s is no address by which %s can be reached", r.Via, d)
		}
		for j, other := range n.Spec.Routes[:i] {
			if other.Destination == d {
				f.Add(at+".destination", "give each range once", "%s is the destination of routes[%d] already", d, j)
			}
		}
	}
}

// IsDomain tells whether s can be the DNS domain of a network.
func IsDomain(s string) bool {
	labels := strings.Split(s, ".")
	if len(s) > 150 || len(labels) < 2 || len(labels) > 10 {
		return false
	}
	for _, l := range labels {
		// A name has to begin with a letter; a label may begin with a digit.
		if l != "" && l[0] >= '0' && l[0] <= '9' {
			l = "a" + l[1:]
		}
		if !IsName(l) {
			return false
		}
	}
	return reservedDomain(s) == ""
}

// reservedDomain names the domain that s is in and that no network can have, or "".
func reservedDomain(s string) string {
	for _, d := range []string{"arpa", "localhost", "invalid", "local", "onion"} {
		if s == d || strings.HasSuffix(s, "."+d) {
			return d
		}
	}
	return ""
}

// Claims implements Object.
func (n *Network) Claims() Claims {
	c := Claims{
		Unique: []Unique{NameClaim(KindNetwork, &n.Meta)},
		Counts: []Count{{Key: QuotaKey(n.Project), Amounts: map[string]int64{"networks": 1}}},
		Refs:   []Ref{{Kind: KindProject, ID: n.Project, Field: "project"}},
	}
	if n.Spec.VNI != 0 {
		c.Unique = append(c.Unique, Unique{Key: VNIKey(n.Spec.VNI), Field: "spec.vni", Code: "vni_taken"})
	}
	for i, r := range n.Spec.Routes {
		if !slices.ContainsFunc(n.Spec.Routes[:i], func(o Route) bool { return o.Subnet == r.Subnet }) {
			c.Refs = append(c.Refs, Ref{Kind: KindSubnet, ID: r.Subnet, Field: fmt.Sprintf("spec.routes[%d].via", i)})
		}
	}
	return c
}

// VNIKey is the claim on a VXLAN network identifier.
func VNIKey(vni uint32) string { return "vni/" + strconv.FormatUint(uint64(vni), 10) }
