package controller

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// givePort completes a new port: its network and subnets become IDs, and it gets
// addresses, a MAC and security groups. at is the path of the fields in the request, for problems.
func (a *admission) givePort(at string, p *api.Port) error {
	if err := a.giveGroups(at+".security_groups", p); err != nil {
		return err
	}
	asked, err := a.portNetwork(at, p)
	if err != nil {
		return err
	}
	if err := a.giveMAC(at+".mac", p); err != nil {
		return err
	}
	p.Spec.Addresses = slices.Clone(p.Spec.Addresses) // the request's own stay as they were
	return a.giveAddresses(at, p, asked)
}

// portNetwork resolves the network of a port, and the subnets that its addresses
// name: nil where one names none.
func (a *admission) portNetwork(at string, p *api.Port) (asked []*api.Subnet, err error) {
	if p.Spec.Network != "" {
		n, err := a.resolve(api.KindNetwork, p.Project, at+".network", p.Spec.Network)
		if err != nil {
			return nil, err
		}
		p.Spec.Network = n.GetMeta().ID
	}
	for i, x := range p.Spec.Addresses {
		if x.Subnet == "" {
			asked = append(asked, nil)
			continue
		}
		field := fmt.Sprintf("%s.addresses[%d].subnet", at, i)
		o, err := a.resolve(api.KindSubnet, p.Project, field, x.Subnet)
		if err != nil {
			return nil, err
		}
		s := o.(*api.Subnet)
		if p.Spec.Network == "" {
			p.Spec.Network = s.Spec.Network
		}
		if p.Spec.Network != s.Spec.Network {
			return nil, api.NewProblem(422, "invalid_value", field, "name subnets of one network", "subnet %s is in %s, and the port in %s", s.Name, a.describe(s.Spec.Network), a.describe(p.Spec.Network))
		}
		asked = append(asked, s)
	}
	return asked, nil
}

// subnetsOf returns the subnets of a network that ports may be in.
func (a *admission) subnetsOf(field, network string) ([]*api.Subnet, error) {
	var all []*api.Subnet
	for r := range a.view.Referrers(api.KindSubnet, api.KindNetwork, network) {
		if s := r.(*api.Subnet); !s.Deleting() {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, api.NewProblem(422, "network_without_subnet", field, "make a subnet in it first", "%s has no subnet, so there are no addresses in it", a.describe(network))
	}
	return all, nil
}

// giveAddresses completes the addresses of a port. One of IPv4 has to be among
// them: over it its instance is set up.
func (a *admission) giveAddresses(at string, p *api.Port, asked []*api.Subnet) error {
	if err := a.chooseAddresses(at, p, asked); err != nil {
		return err
	}
	if !slices.ContainsFunc(p.Spec.Addresses, func(x api.PortAddress) bool { return x.Address.Is4() }) {
		return api.NewProblem(422, "invalid_value", at+".addresses", "ask for one of an IPv4 subnet as well; make such a subnet if there is none",
			"the port would have no IPv4 address in %s, and instances are set up over IPv4", a.describe(p.Spec.Network))
	}
	return nil
}

// chooseAddresses finds what a port asks for. asked are the subnets that its
// addresses name. Where none is asked for, it gets one of each family of the network.
func (a *admission) chooseAddresses(at string, p *api.Port, asked []*api.Subnet) error {
	all, err := a.subnetsOf(at+".network", p.Spec.Network)
	if err != nil {
		return err
	}
	if len(p.Spec.Addresses) == 0 {
		for _, subnets := range families(all) {
			p.Spec.Addresses = append(p.Spec.Addresses, api.PortAddress{})
			if err := a.findAddress(at+".network", p, len(p.Spec.Addresses)-1, subnets); err != nil {
				return err
			}
		}
		return nil
	}
	// Those that are named come first, so that no other takes them.
	for _, named := range []bool{true, false} {
		for i, x := range p.Spec.Addresses {
			if x.Address.IsValid() != named {
				continue
			}
			among, field := all, fmt.Sprintf("%s.addresses[%d]", at, i)
			if asked[i] != nil {
				among = []*api.Subnet{asked[i]}
			}
			if named {
				err = a.takeAddress(field+".address", p, i, among)
			} else {
				err = a.findAddress(field+".subnet", p, i, among)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// families groups subnets by the family of their addresses, IPv4 first.
func families(all []*api.Subnet) (out [][]*api.Subnet) {
	for _, v4 := range []bool{true, false} {
		var of []*api.Subnet
		for _, s := range all {
			if s.Spec.CIDR.Addr().Is4() == v4 {
				of = append(of, s)
			}
		}
		if len(of) > 0 {
			out = append(out, of)
		}
	}
	return out
}

// takeAddress gives the port the address that its i-th entry names.
func (a *admission) takeAddress(field string, p *api.Port, i int, subnets []*api.Subnet) error {
	at := p.Spec.Addresses[i].Address
	for _, s := range subnets {
		if !s.Spec.CIDR.Contains(at) {
			continue
		}
		if why := kept(s, api.ParseRanges(s.Spec.Reserved), at); why != "" {
			return api.NewProblem(422, "invalid_value", field, "leave it out for a free one", "%s is %s of the subnet %s", at, why, s.Name)
		}
		key := api.AddressKey(p.Spec.Network, at)
		if !a.free(key) {
			owner := a.view.Owner(key)
			if owner == "" {
				owner = "another port of this request"
			}
			return api.NewProblem(409, "address_taken", field, "leave it out for a free one", "%s is held by %s", at, a.describe(owner))
		}
		p.Spec.Addresses[i].Subnet = s.ID
		return nil
	}
	return api.NewProblem(422, "address_out_of_range", field, "leave it out for a free one", "%s is not in %s", at, ranges(subnets))
}

func ranges(subnets []*api.Subnet) string {
	s := ""
	for i, x := range subnets {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("%s (subnet %s)", x.Spec.CIDR, x.Name)
	}
	return s
}

// kept says what an address of a subnet is that no port can have, or "". reserved
// are the subnet's, as they are parsed.
func kept(s *api.Subnet, reserved []api.Pool, at netip.Addr) string {
	switch {
	case at == s.Spec.CIDR.Addr():
		return "the network's address"
	case at.Is4() && at == api.LastAddr(s.Spec.CIDR):
		return "the broadcast address"
	case at == s.Spec.Gateway:
		return "the gateway"
	case slices.ContainsFunc(reserved, func(r api.Pool) bool { return r.Contains(at) }):
		return "one of the reserved addresses"
	}
	return ""
}

// probes is how often a free address is looked for at random before all are
// tried in turn: random ones spread, so that an address is not given again at once.
const probes = 32

// findAddress gives the port's i-th entry a free address of one of the subnets.
func (a *admission) findAddress(field string, p *api.Port, i int, subnets []*api.Subnet) error {
	usable := uint32(0)
	for _, s := range subnets {
		if s.Spec.CIDR.Addr().Is6() {
			if a.findAddress6(p, i, s) {
				return nil
			}
			continue
		}
		reserved := api.ParseRanges(s.Spec.Reserved)
		for _, r := range rangesOf(s) {
			first := binary.BigEndian.Uint32(r.First.AsSlice())
			n := binary.BigEndian.Uint32(r.Last.AsSlice()) - first + 1
			for range probes {
				if at := nth(first, a.dice.Uint32N(n)); kept(s, reserved, at) == "" && a.tryAddress(p, i, s, at) {
					return nil
				}
			}
			start := a.dice.Uint32N(n)
			for k := range n {
				at := nth(first, (start+k)%n)
				if kept(s, reserved, at) != "" {
					continue
				}
				usable++
				if a.tryAddress(p, i, s, at) {
					return nil
				}
			}
		}
	}
	return api.NewProblem(409, "subnet_exhausted", field, "delete ports that nobody needs, or add a subnet", "all %d addresses for ports of %s are taken", usable, ranges(subnets))
}

// findAddress6 tries the address that a guest makes from its port's MAC by
// itself, and where that is taken, others of the /64 at random.
func (a *admission) findAddress6(p *api.Port, i int, s *api.Subnet) bool {
	mac, err := net.ParseMAC(p.Spec.MAC)
	if err != nil {
		return false // validation has refused it
	}
	reserved := api.ParseRanges(s.Spec.Reserved)
	at := network.EUI64(s.Spec.CIDR, mac)
	for range probes {
		if kept(s, reserved, at) == "" && a.tryAddress(p, i, s, at) {
			return true
		}
		b := at.As16()
		binary.BigEndian.PutUint64(b[8:], a.dice.Uint64())
		at = netip.AddrFrom16(b)
	}
	return false
}

// rangesOf are those that ports of a subnet of IPv4 get addresses from.
func rangesOf(s *api.Subnet) []api.Pool {
	if len(s.Spec.Ranges) > 0 {
		return api.ParseRanges(s.Spec.Ranges)
	}
	return []api.Pool{{First: s.Spec.CIDR.Addr().Next(), Last: api.LastAddr(s.Spec.CIDR).Prev()}}
}

func nth(first, i uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], first+i)
	return netip.AddrFrom4(b)
}

func (a *admission) tryAddress(p *api.Port, i int, s *api.Subnet, at netip.Addr) bool {
	mine := slices.ContainsFunc(p.Spec.Addresses, func(x api.PortAddress) bool { return x.Address == at })
	if mine || !a.free(api.AddressKey(p.Spec.Network, at)) {
		return false
	}
	p.Spec.Addresses[i] = api.PortAddress{Subnet: s.ID, Address: at}
	return true
}

// giveMAC gives a locally administered unicast address that is free in the network.
func (a *admission) giveMAC(field string, p *api.Port) error {
	if p.Spec.MAC != "" {
		return nil // whether it is free is judged with all that is unique
	}
	for range probes {
		x := a.dice.Uint64()
		mac := fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", byte(x>>32), byte(x>>24), byte(x>>16), byte(x>>8), byte(x))
		if mac != api.GatewayMAC && a.free("mac/"+p.Spec.Network+"/"+mac) {
			p.Spec.MAC = mac
			return nil
		}
	}
	return api.NewProblem(409, "mac_taken", field, "try again", "%d random MAC addresses were all taken", probes)
}
