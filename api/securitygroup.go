package api

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
)

// SecurityGroup is a list of what the ports in it may send and be sent. Groups
// only ever allow: a port may do what any one of its groups allows, and nothing else.
type SecurityGroup struct {
	Resource[SecurityGroupSpec, SecurityGroupStatus]
}

// SecurityGroupSpec is what is wanted of a security group.
type SecurityGroupSpec struct {
	Description string         `json:"description,omitempty" doc:"Free text for people." maxLength:"1024"`
	Rules       []SecurityRule `json:"rules,omitempty" doc:"What is allowed. The answers to what is allowed are allowed too." maxItems:"100"`
}

// SecurityRule allows connections of one kind. Of ports, types and codes, what
// is left out means all; of cidr and group, what is left out means everybody.
type SecurityRule struct {
	Direction   Direction    `json:"direction" enum:"ingress,egress" doc:"Whether it is about what comes to the group's ports, or about what they send."`
	Protocol    string       `json:"protocol,omitempty" doc:"tcp, udp, icmp, icmpv6, any, or a protocol's number. Default any." example:"tcp"`
	Ports       *PortRange   `json:"ports,omitempty" doc:"Destination ports, of tcp and udp only."`
	ICMPType    *int         `json:"icmp_type,omitempty" minimum:"0" maximum:"255" doc:"Of icmp and icmpv6 only."`
	ICMPCode    *int         `json:"icmp_code,omitempty" minimum:"0" maximum:"255" doc:"Of a type that is given."`
	CIDR        netip.Prefix `json:"cidr,omitempty,omitzero" doc:"The other side, by its addresses." format:"cidr" example:"203.0.113.0/24"`
	Group       string       `json:"group,omitempty" doc:"The other side, by the security group (ID or name) that its port has; it may be this one."`
	Description string       `json:"description,omitempty" doc:"Free text for people." maxLength:"255"`
}

// Direction is which way a connection is begun, as the port sees it.
type Direction string

// The directions.
const (
	Ingress Direction = "ingress"
	Egress  Direction = "egress"
)

// PortRange is a range of TCP or UDP ports.
type PortRange struct {
	First int `json:"first" minimum:"0" maximum:"65535" doc:"The lowest."`
	Last  int `json:"last,omitempty" minimum:"0" maximum:"65535" doc:"The highest. Default: the first."`
}

// SecurityGroupStatus is what is seen of a security group.
type SecurityGroupStatus struct{ Status }

// DefaultGroup is the name of the group that a port gets where none is named.
// Every project has one.
const DefaultGroup = "default"

// Limits of security groups. What a host's tables hold for a port grows with their product.
const (
	maxRules      = 100
	maxPortGroups = 8
)

var securityGroupKind = kind[SecurityGroup](Kind{
	Name: KindSecurityGroup, Plural: "security-groups", IDPrefix: "sgr", Scope: ScopeProject, Immediate: true,
	Doc:     "What the ports in it may send and be sent, beside what answers that.",
	States:  []State{StateReady},
	Columns: []Column{{"DESCRIPTION", "spec.description"}},
})

// Numbers of protocols (IANA).
const (
	ProtocolICMP   = 1
	ProtocolTCP    = 6
	ProtocolUDP    = 17
	ProtocolICMPv6 = 58
)

var protocolNames = map[int]string{ProtocolICMP: "icmp", ProtocolTCP: "tcp", ProtocolUDP: "udp", ProtocolICMPv6: "icmpv6"}

// ProtocolAny stands for all protocols.
const ProtocolAny = "any"

// ProtocolNumber is the number of the rule's protocol; false: it is any.
func (r SecurityRule) ProtocolNumber() (n uint8, one bool) {
	for k, name := range protocolNames {
		if r.Protocol == name {
			return uint8(k), true
		}
	}
	k, err := strconv.ParseUint(r.Protocol, 10, 8)
	return uint8(k), err == nil
}

// Default implements Object.
func (g *SecurityGroup) Default() {
	for i := range g.Spec.Rules {
		r := &g.Spec.Rules[i]
		if r.Protocol == "" {
			r.Protocol = ProtocolAny
		}
		if n, err := strconv.ParseUint(r.Protocol, 10, 8); err == nil {
			if r.Protocol = protocolNames[int(n)]; r.Protocol == "" {
				r.Protocol = strconv.FormatUint(n, 10)
			}
		}
		if r.Ports != nil && r.Ports.Last == 0 {
			r.Ports.Last = r.Ports.First
		}
	}
}

// Validate implements Object.
func (g *SecurityGroup) Validate() error {
	f := validateMeta(&g.Meta)
	if n := len(g.Spec.Rules); n > maxRules {
		f.Add("spec.rules", "make several groups: a port can have up to 8", "%d rules are more than %d", n, maxRules)
		return f
	}
	for i, r := range g.Spec.Rules {
		r.validate(fmt.Sprintf("spec.rules[%d]", i), &f)
	}
	return f.Err()
}

func (r SecurityRule) validate(at string, f *Faults) {
	if r.Direction != Ingress && r.Direction != Egress {
		f.Add(at+".direction", "give ingress or egress", "%q is neither ingress nor egress", string(r.Direction))
	}
	if len(r.Description) > 255 {
		f.Add(at+".description", "", "%d bytes are more than 255", len(r.Description))
	}
	n, one := r.ProtocolNumber()
	if !one && r.Protocol != ProtocolAny {
		f.Add(at+".protocol", "give tcp, udp, icmp, icmpv6, any or a number from 0 to 255", "%q is no protocol", r.Protocol)
		return
	}
	r.validatePorts(at, f, one && (n == ProtocolTCP || n == ProtocolUDP))
	r.validateICMP(at, f, one && (n == ProtocolICMP || n == ProtocolICMPv6))
	r.validateOther(at, f)
}

func (r SecurityRule) validatePorts(at string, f *Faults, hasPorts bool) {
	p := r.Ports
	switch {
	case p == nil:
	case !hasPorts:
		f.Add(at+".ports", "give the protocol tcp or udp, or leave the ports out", "the protocol %s has no ports", r.Protocol)
	case p.First < 0 || p.First > 65535 || p.Last < 0 || p.Last > 65535:
		f.Add(at+".ports", "give ports from 0 to 65535", "%d to %d is not between 0 and 65535", p.First, p.Last)
	case p.First > p.Last:
		f.Add(at+".ports", "give the lower one first", "the first port %d is behind the last %d", p.First, p.Last)
	}
}

func (r SecurityRule) validateICMP(at string, f *Faults, isICMP bool) {
	for _, x := range []struct {
		name  string
		value *int
	}{{"icmp_type", r.ICMPType}, {"icmp_code", r.ICMPCode}} {
		switch {
		case x.value == nil:
		case !isICMP:
			f.Add(at+"."+x.name, "give the protocol icmp or icmpv6, or leave it out", "the protocol %s has no types and codes", r.Protocol)
		case *x.value < 0 || *x.value > 255:
			f.Add(at+"."+x.name, "give a number from 0 to 255", "%d is not between 0 and 255", *x.value)
		}
	}
	if isICMP && r.ICMPCode != nil && r.ICMPType == nil {
		f.Add(at+".icmp_code", "give the type as well", "a code belongs to a type, and there is none")
	}
}

func (r SecurityRule) validateOther(at string, f *Faults) {
	c := r.CIDR
	switch {
	case c != netip.Prefix{} && r.Group != "":
		f.Add(at+".group", "make two rules", "the other side is given twice, as a group and as %s", c)
	case c == netip.Prefix{}:
	case !c.IsValid() || c.Addr().Is4In6():
		f.Add(at+".cidr", "give a prefix such as 203.0.113.0/24 or 2001:db8::/32", "it is not a prefix")
	case c.Masked() != c:
		f.Add(at+".cidr", fmt.Sprintf("did you mean %s?", c.Masked()), "%s has bits set behind its prefix length", c)
	case r.Protocol == "icmp" && !c.Addr().Is4():
		f.Add(at+".cidr", "give the protocol icmpv6, or an IPv4 prefix", "icmp is of IPv4, and %s is not", c)
	case r.Protocol == "icmpv6" && c.Addr().Is4():
		f.Add(at+".cidr", "give the protocol icmp, or an IPv6 prefix", "icmpv6 is of IPv6, and %s is not", c)
	}
}

// Claims implements Object. Its own rules may name the group itself, which
// does not keep it from being deleted.
func (g *SecurityGroup) Claims() Claims {
	c := Claims{Unique: []Unique{NameClaim(KindSecurityGroup, &g.Meta)}, Refs: []Ref{{Kind: KindProject, ID: g.Project, Field: "project"}}}
	for i, r := range g.Spec.Rules {
		if r.Group != "" && r.Group != g.ID {
			c.Refs = append(c.Refs, Ref{Kind: KindSecurityGroup, ID: r.Group, Field: fmt.Sprintf("spec.rules[%d].group", i)})
		}
	}
	return c
}

// validateGroups judges the groups that a port is to have.
func validateGroups(at string, groups []string, f *Faults) {
	if len(groups) > maxPortGroups {
		f.Add(at, "put their rules into fewer groups", "%d security groups are more than %d", len(groups), maxPortGroups)
	}
	for i, g := range groups {
		if g == "" {
			f.Add(fmt.Sprintf("%s[%d]", at, i), "give a name or an ID", "it names no security group")
		} else if slices.Contains(groups[:i], g) {
			f.Add(fmt.Sprintf("%s[%d]", at, i), "name each group once", "%s is named twice", g)
		}
	}
}
