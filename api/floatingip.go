package api

import "net/netip"

// FloatingIP is an address of an external network by which a port is reached
// from outside, and which can be given to another port at any time.
type FloatingIP struct {
	Resource[FloatingIPSpec, FloatingIPStatus]
}

// FloatingIPSpec is what is wanted of a floating IP.
type FloatingIPSpec struct {
	Description     string     `json:"description,omitempty" doc:"Free text for people." maxLength:"1024"`
	ExternalNetwork string     `json:"external_network,omitempty" doc:"ID or name of the external network. May be left out where there is one."`
	Address         netip.Addr `json:"address,omitempty,omitzero" doc:"Default: a free one of the external network's pools." format:"ipv4" example:"203.0.113.20"`
	Port            string     `json:"port,omitempty" doc:"ID or name of the port that it leads to; empty: to none."`
	PortAddress     netip.Addr `json:"port_address,omitempty,omitzero" doc:"Which IPv4 address of the port. Default: its first." format:"ipv4"`
	Instance        string     `json:"instance,omitempty" doc:"Instead of a port: ID or name of an instance, of whose first NIC the port is put here."`
}

// FloatingIPStatus is what is seen of a floating IP.
type FloatingIPStatus struct {
	Status
	Host string `json:"host,omitempty" doc:"ID of the host that it is at."`
}

var floatingIPKind = kind[FloatingIP](Kind{
	Name: KindFloatingIP, Plural: "floating-ips", IDPrefix: "fip", Scope: ScopeProject,
	Doc:     "An address outside by which a port is reached.",
	States:  []State{StateDetached, StateDown, StatePending, StateAttached},
	Columns: []Column{{"ADDRESS", "spec.address"}, {"PORT", "spec.port"}, {"PORT ADDRESS", "spec.port_address"}, {"EXTERNAL NETWORK", "spec.external_network"}},
	Actions: []Action{
		{Name: "attach", Doc: "Lead it to a port, also one of another instance than now.", Input: &attachInput{}, Apply: func(o Object, in any) error {
			f, a := o.(*FloatingIP), in.(*attachInput)
			f.Spec.Port, f.Spec.PortAddress, f.Spec.Instance = a.Port, a.PortAddress, a.Instance
			return nil
		}},
		{Name: "detach", Doc: "Lead it nowhere, and keep it.", Apply: func(o Object, _ any) error {
			f := o.(*FloatingIP)
			f.Spec.Port, f.Spec.PortAddress, f.Spec.Instance = "", netip.Addr{}, ""
			return nil
		}},
	},
})

type attachInput struct {
	Port        string     `json:"port,omitempty" doc:"ID or name of the port."`
	PortAddress netip.Addr `json:"port_address,omitempty,omitzero" doc:"Which IPv4 address of the port. Default: its first." format:"ipv4"`
	Instance    string     `json:"instance,omitempty" doc:"Instead of a port: ID or name of an instance, whose first NIC is meant."`
}

// Default implements Object.
func (i *FloatingIP) Default() {}

// Validate implements Object.
func (i *FloatingIP) Validate() error {
	f := validateMeta(&i.Meta)
	for _, x := range []struct {
		field string
		is    netip.Addr
	}{{"spec.address", i.Spec.Address}, {"spec.port_address", i.Spec.PortAddress}} {
		if x.is.IsValid() && !x.is.Is4() {
			f.Add(x.field, "give an IPv4 address; IPv6 needs none: make a subnet that is routed", "%s is not IPv4", x.is)
		}
	}
	return f.Err()
}

// Claims implements Object. Pools of external networks do not overlap, so that an
// address is one for the whole cloud.
func (i *FloatingIP) Claims() Claims {
	c := Claims{
		Unique: []Unique{
			NameClaim(KindFloatingIP, &i.Meta),
			{Key: FloatingKey(i.Spec.Address), Field: "spec.address", Code: "address_taken"},
		},
		Counts: []Count{
			{Key: QuotaKey(i.Project), Amounts: map[string]int64{"floating_ips": 1}},
			{Key: GivenKey(i.Spec.ExternalNetwork), Amounts: map[string]int64{"floating_ips": 1}},
		},
		Refs: []Ref{
			{Kind: KindProject, ID: i.Project, Field: "project"},
			{Kind: KindExternalNetwork, ID: i.Spec.ExternalNetwork, Field: "spec.external_network"},
		},
	}
	if i.Spec.Port != "" {
		c.Unique = append(c.Unique, Unique{Key: "floating-port/" + i.Spec.Port + "/" + i.Spec.PortAddress.String(), Field: "spec.port", Code: "port_in_use"})
		c.Refs = append(c.Refs, Ref{Kind: KindPort, ID: i.Spec.Port, Field: "spec.port"})
	}
	return c
}

// FloatingKey is the claim on an address outside.
func FloatingKey(a netip.Addr) string { return "floating/" + a.String() }
