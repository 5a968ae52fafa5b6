package api

import "strconv"

// Network is an isolated layer-3 domain (a VPC): two networks never see each
// other's packets, whatever addresses they use.
type Network struct {
	Resource[NetworkSpec, NetworkStatus]
}

// NetworkSpec is what is wanted of a network.
type NetworkSpec struct {
	Description string `json:"description,omitempty" doc:"Free text for people." maxLength:"1024"`
	MTU         int    `json:"mtu,omitempty" minimum:"576" maximum:"65485" doc:"What guests may send, in bytes. Default: the most that fits the hosts' underlay."`
	VNI         uint32 `json:"vni,omitempty" readOnly:"true" doc:"The VXLAN network identifier, given by Cairn."`
}

// NetworkStatus is what is seen of a network.
type NetworkStatus struct{ Status }

var networkKind = kind[Network](Kind{
	Name: KindNetwork, Plural: "networks", IDPrefix: "net", Scope: ScopeProject, Immediate: true,
	Doc:     "An isolated layer-3 domain (a VPC).",
	States:  []State{StateReady},
	Columns: []Column{{"VNI", "spec.vni"}, {"MTU", "spec.mtu"}},
})

// Default implements Object.
func (n *Network) Default() {}

// Validate implements Object.
func (n *Network) Validate() error {
	f := validateMeta(&n.Meta)
	if n.Spec.MTU != 0 && (n.Spec.MTU < 576 || n.Spec.MTU > 65485) {
		f.Add("spec.mtu", "leave it out for the most that fits", "%d is not between 576 and 65485", n.Spec.MTU)
	}
	return f.Err()
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
	return c
}

// VNIKey is the claim on a VXLAN network identifier.
func VNIKey(vni uint32) string { return "vni/" + strconv.FormatUint(uint64(vni), 10) }
