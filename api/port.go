package api

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Port is one NIC of an instance: a MAC, and addresses in the subnets of a network.
type Port struct {
	Resource[PortSpec, PortStatus]
}

// PortSpec is what is wanted of a port.
type PortSpec struct {
	Network        string        `json:"network,omitempty" doc:"ID or name of the network. May be left out where a subnet is given."`
	Addresses      []PortAddress `json:"addresses,omitempty" doc:"Default: one of each family (IPv4, IPv6) that the network has." maxItems:"16"`
	MAC            string        `json:"mac,omitempty" doc:"Unicast. Default: made by Cairn." example:"02:16:3e:4a:5b:6c" pattern:"^([0-9a-f]{2}:){5}[0-9a-f]{2}$"`
	SecurityGroups []string      `json:"security_groups,omitzero" doc:"IDs or names of its security groups. Left out: the project's group default. With an empty list nothing passes but what its router offers. They can be changed at any time." maxItems:"8"`
	Bandwidth      *Bandwidth    `json:"bandwidth,omitempty" doc:"How much may pass. Default: no limit. It can be changed at any time."`
	Instance       string        `json:"instance,omitempty" readOnly:"true" doc:"ID of the instance whose NIC it is."`
	Owned          bool          `json:"owned,omitempty" readOnly:"true" doc:"It was made with its instance and goes with it."`
}

// PortAddress is an address of a port. One of the two is enough to ask for it.
type PortAddress struct {
	Subnet  string     `json:"subnet,omitempty" doc:"ID or name. Default: the subnet of the network that the address is in."`
	Address netip.Addr `json:"address,omitempty,omitzero" doc:"Default: a free one of the subnet." format:"ip"`
}

// Bandwidth limits what a port may send and be sent, each way for itself, in
// megabits (1,000,000 bits) a second of Ethernet frames. What is more waits a
// moment, and is then lost.
type Bandwidth struct {
	IngressMbps *int `json:"ingress_mbps,omitempty" minimum:"1" maximum:"100000" doc:"To the guest, in megabits a second. Default: no limit."`
	EgressMbps  *int `json:"egress_mbps,omitempty" minimum:"1" maximum:"100000" doc:"From the guest, in megabits a second. Default: no limit."`
}

// maxMbps is what the counters of the kernel's shapers hold, and more than NICs have.
const maxMbps = 100_000

func (b *Bandwidth) validate(at string, f *Faults) {
	if b == nil {
		return
	}
	for _, x := range []struct {
		field string
		mbps  *int
	}{{"ingress_mbps", b.IngressMbps}, {"egress_mbps", b.EgressMbps}} {
		if x.mbps != nil && (*x.mbps < 1 || *x.mbps > maxMbps) {
			f.Add(at+"."+x.field, "leave it out for no limit", "%d is not between 1 and %d megabits a second", *x.mbps, maxMbps)
		}
	}
}

// PortStatus is what is seen of a port.
type PortStatus struct {
	Status
	Host        string       `json:"host,omitempty" doc:"ID of the host where the port is up."`
	FloatingIPs []netip.Addr `json:"floating_ips,omitempty" doc:"Floating IPs that its host has put into place."`
	Bandwidth   *Bandwidth   `json:"bandwidth,omitempty" doc:"Limits that its host has put into place."`
}

var portKind = kind[Port](Kind{
	Name: KindPort, Plural: "ports", IDPrefix: "prt", Scope: ScopeProject,
	Doc:     "One NIC of an instance: a MAC, and addresses in the subnets of a network.",
	States:  []State{StatePending, StateActive, StateDown},
	Columns: []Column{{"ADDRESSES", "spec.addresses.address"}, {"MAC", "spec.mac"}, {"NETWORK", "spec.network"}, {"INSTANCE", "spec.instance"}},
})

// Default implements Object.
func (p *Port) Default() {}

// Validate implements Object.
func (p *Port) Validate() error {
	f := validateMeta(&p.Meta)
	if p.Spec.Network == "" && !namesSubnet(p.Spec.Addresses) {
		f.Add("spec.network", "give a network or a subnet", "a port is in a network")
	}
	validateAddresses(&f, "spec.addresses", p.Spec.Addresses)
	if p.Spec.MAC != "" {
		if m, err := net.ParseMAC(p.Spec.MAC); err != nil || len(m) != 6 {
			f.Add("spec.mac", "give six pairs of hexadecimal digits with colons", "%q is not a MAC address", p.Spec.MAC)
		} else if m[0]&1 != 0 {
			f.Add("spec.mac", "clear the lowest bit of the first byte", "%s is a multicast address", p.Spec.MAC)
		} else if p.Spec.MAC == GatewayMAC {
			f.Add("spec.mac", "leave it out", "%s is the MAC of every gateway", p.Spec.MAC)
		}
	}
	validateGroups("spec.security_groups", p.Spec.SecurityGroups, &f)
	p.Spec.Bandwidth.validate("spec.bandwidth", &f)
	return f.Err()
}

// maxAddresses is how many addresses a port may have.
const maxAddresses = 16

func namesSubnet(as []PortAddress) bool {
	return slices.ContainsFunc(as, func(a PortAddress) bool { return a.Subnet != "" })
}

func validateAddresses(f *Faults, at string, as []PortAddress) {
	if len(as) > maxAddresses {
		f.Add(at, "", "%d addresses are more than %d", len(as), maxAddresses)
	}
	for i, a := range as {
		switch field := fmt.Sprintf("%s[%d]", at, i); {
		case a.Subnet == "" && !a.Address.IsValid():
			f.Add(field, "give a subnet, an address, or both", "it names neither a subnet nor an address")
		case a.Address.Is4In6() || a.Address.Zone() != "":
			f.Add(field+".address", "give it as 10.0.0.5 or fd00::5", "%s is no plain address", a.Address)
		case a.Address.IsValid() && slices.ContainsFunc(as[:i], func(b PortAddress) bool { return b.Address == a.Address }):
			f.Add(field+".address", "give each address once", "%s is given twice", a.Address)
		}
	}
}

// GatewayMAC is the MAC address of every network's gateway on every host.
const GatewayMAC = "02:ca:1a:00:00:01"

// Claims implements Object.
func (p *Port) Claims() Claims {
	c := Claims{
		Unique: []Unique{
			NameClaim(KindPort, &p.Meta),
			{Key: "mac/" + p.Spec.Network + "/" + p.Spec.MAC, Field: "spec.mac", Code: "mac_taken"},
		},
		Counts: []Count{{Key: QuotaKey(p.Project), Amounts: map[string]int64{"ports": 1}}},
		Refs: []Ref{
			{Kind: KindProject, ID: p.Project, Field: "project"},
			{Kind: KindNetwork, ID: p.Spec.Network, Field: "spec.network"},
		},
	}
	for i, a := range p.Spec.Addresses {
		field := fmt.Sprintf("spec.addresses[%d]", i)
		c.Unique = append(c.Unique, Unique{Key: AddressKey(p.Spec.Network, a.Address), Field: field + ".address", Code: "address_taken"})
		if !slices.ContainsFunc(p.Spec.Addresses[:i], func(b PortAddress) bool { return b.Subnet == a.Subnet }) {
			c.Refs = append(c.Refs, Ref{Kind: KindSubnet, ID: a.Subnet, Field: field + ".subnet"})
		}
	}
	for i, g := range p.Spec.SecurityGroups {
		c.Refs = append(c.Refs, Ref{Kind: KindSecurityGroup, ID: g, Field: fmt.Sprintf("spec.security_groups[%d]", i)})
	}
	if p.Spec.Instance != "" {
		c.Refs = append(c.Refs, Ref{Kind: KindInstance, ID: p.Spec.Instance, Field: "spec.instance"})
	}
	return c
}

// AddressKey is the claim on an address in a network.
func AddressKey(network string, a netip.Addr) string { return "ip/" + network + "/" + a.String() }
