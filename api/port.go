package api

import (
	"net"
	"net/netip"
)

// Port is one NIC of an instance: an address and a MAC in a subnet.
type Port struct {
	Resource[PortSpec, PortStatus]
}

// PortSpec is what is wanted of a port.
type PortSpec struct {
	Network  string     `json:"network,omitempty" doc:"ID or name of the network. May be left out where the subnet is given."`
	Subnet   string     `json:"subnet,omitempty" doc:"ID or name of the subnet. May be left out where the network has one."`
	Address  netip.Addr `json:"address,omitempty,omitzero" doc:"Default: a free one of the subnet." format:"ipv4"`
	MAC      string     `json:"mac,omitempty" doc:"Unicast. Default: made by Cairn." example:"02:16:3e:4a:5b:6c" pattern:"^([0-9a-f]{2}:){5}[0-9a-f]{2}$"`
	Instance string     `json:"instance,omitempty" readOnly:"true" doc:"ID of the instance whose NIC it is."`
	Owned    bool       `json:"owned,omitempty" readOnly:"true" doc:"It was made with its instance and goes with it."`
}

// PortStatus is what is seen of a port.
type PortStatus struct {
	Status
	Host        string       `json:"host,omitempty" doc:"ID of the host where the port is up."`
	FloatingIPs []netip.Addr `json:"floating_ips,omitempty" doc:"Floating IPs that its host has put into place."`
}

var portKind = kind[Port](Kind{
	Name: KindPort, Plural: "ports", IDPrefix: "prt", Scope: ScopeProject,
	Doc:     "One NIC of an instance: an address and a MAC in a subnet.",
	States:  []State{StatePending, StateActive, StateDown},
	Columns: []Column{{"ADDRESS", "spec.address"}, {"MAC", "spec.mac"}, {"NETWORK", "spec.network"}, {"INSTANCE", "spec.instance"}},
})

// Default implements Object.
func (p *Port) Default() {}

// Validate implements Object.
func (p *Port) Validate() error {
	f := validateMeta(&p.Meta)
	if p.Spec.Network == "" && p.Spec.Subnet == "" {
		f.Add("spec.network", "give a network or a subnet", "a port is in a subnet")
	}
	if p.Spec.Address.IsValid() && !p.Spec.Address.Is4() {
		f.Add("spec.address", "give an IPv4 address", "%s is not IPv4", p.Spec.Address)
	}
	if p.Spec.MAC != "" {
		if m, err := net.ParseMAC(p.Spec.MAC); err != nil || len(m) != 6 {
			f.Add("spec.mac", "give six pairs of hexadecimal digits with colons", "%q is not a MAC address", p.Spec.MAC)
		} else if m[0]&1 != 0 {
			f.Add("spec.mac", "clear the lowest bit of the first byte", "%s is a multicast address", p.Spec.MAC)
		} else if p.Spec.MAC == GatewayMAC {
			f.Add("spec.mac", "leave it out", "%s is the MAC of every gateway", p.Spec.MAC)
		}
	}
	return f.Err()
}

// GatewayMAC is the MAC address of every network's gateway on every host.
const GatewayMAC = "02:ca:1a:00:00:01"

// Claims implements Object.
func (p *Port) Claims() Claims {
	c := Claims{
		Unique: []Unique{
			NameClaim(KindPort, &p.Meta),
			{Key: AddressKey(p.Spec.Network, p.Spec.Address), Field: "spec.address", Code: "address_taken"},
			{Key: "mac/" + p.Spec.Network + "/" + p.Spec.MAC, Field: "spec.mac", Code: "mac_taken"},
		},
		Counts: []Count{{Key: QuotaKey(p.Project), Amounts: map[string]int64{"ports": 1}}},
		Refs: []Ref{
			{Kind: KindProject, ID: p.Project, Field: "project"},
			{Kind: KindNetwork, ID: p.Spec.Network, Field: "spec.network"},
			{Kind: KindSubnet, ID: p.Spec.Subnet, Field: "spec.subnet"},
		},
	}
	if p.Spec.Instance != "" {
		c.Refs = append(c.Refs, Ref{Kind: KindInstance, ID: p.Spec.Instance, Field: "spec.instance"})
	}
	return c
}

// AddressKey is the claim on an address in a network.
func AddressKey(network string, a netip.Addr) string { return "ip/" + network + "/" + a.String() }
