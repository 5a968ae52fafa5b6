package controller

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/cairn-cloud/cairn/api"
)

// givePort completes a new port: its network and subnet become IDs, and it gets
// an address and a MAC. at is the path of the fields in the request, for problems.
func (a *admission) givePort(at string, p *api.Port) error {
	subnets, err := a.subnetsFor(at, p)
	if err != nil {
		return err
	}
	if p.Spec.Address.IsValid() {
		err = a.takeAddress(at+".address", p, subnets)
	} else {
		err = a.findAddress(at, p, subnets)
	}
	if err != nil {
		return err
	}
	return a.giveMAC(at+".mac", p)
}

// subnetsFor returns the subnets that the port may be in, and resolves its network.
func (a *admission) subnetsFor(at string, p *api.Port) ([]*api.Subnet, error) {
	if p.Spec.Network != "" {
		n, err := a.resolve(api.KindNetwork, p.Project, at+".network", p.Spec.Network)
		if err != nil {
			return nil, err
		}
		p.Spec.Network = n.GetMeta().ID
	}
	if p.Spec.Subnet != "" {
		o, err := a.resolve(api.KindSubnet, p.Project, at+".subnet", p.Spec.Subnet)
		if err != nil {
			return nil, err
		}
		s := o.(*api.Subnet)
		if p.Spec.Network != "" && p.Spec.Network != s.Spec.Network {
			return nil, api.NewProblem(422, "invalid_value", at+".subnet", "leave out the network or the subnet", "subnet %s is in another network than %s", s.Name, a.describe(p.Spec.Network))
		}
		p.Spec.Network = s.Spec.Network
		return []*api.Subnet{s}, nil
	}
	var all []*api.Subnet
	for r := range a.view.Referrers(api.KindSubnet, api.KindNetwork, p.Spec.Network) {
		if s := r.(*api.Subnet); !s.Deleting() {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, api.NewProblem(422, "network_without_subnet", at+".network", "make a subnet in it first", "%s has no subnet, so there are no addresses in it", a.describe(p.Spec.Network))
	}
	return all, nil
}

func (a *admission) takeAddress(field string, p *api.Port, subnets []*api.Subnet) error {
	at := p.Spec.Address
	for _, s := range subnets {
		if !s.Spec.CIDR.Contains(at) {
			continue
		}
		p.Spec.Subnet = s.ID
		if why := kept(s, at); why != "" {
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

// kept says what an address of a subnet is that no port can have, or "".
func kept(s *api.Subnet, at netip.Addr) string {
	switch at {
	case s.Spec.CIDR.Addr():
		return "the network's address"
	case api.LastAddr(s.Spec.CIDR):
		return "the broadcast address"
	case s.Spec.Gateway:
		return "the gateway"
	}
	return ""
}

// probes is how often a free address is looked for at random before all are
// tried in turn: random ones spread, so that an address is not given again at once.
const probes = 32

func (a *admission) findAddress(at string, p *api.Port, subnets []*api.Subnet) error {
	usable := uint32(0)
	for _, s := range subnets {
		first, n := addressRange(s.Spec.CIDR)
		usable += n - 1 // the gateway is one of them
		for range probes {
			if a.tryAddress(p, s, nth(first, a.dice.Uint32N(n))) {
				return nil
			}
		}
		start := a.dice.Uint32N(n)
		for i := range n {
			if a.tryAddress(p, s, nth(first, (start+i)%n)) {
				return nil
			}
		}
	}
	return api.NewProblem(409, "subnet_exhausted", at+".network", "delete ports that nobody needs, or add a subnet", "all %d addresses for ports of %s are taken", usable, ranges(subnets))
}

// addressRange is the first address behind the network's own, and how many
// there are before the broadcast address.
func addressRange(c netip.Prefix) (first uint32, n uint32) {
	b := c.Addr().As4()
	return binary.BigEndian.Uint32(b[:]) + 1, 1<<(32-c.Bits()) - 2
}

func nth(first, i uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], first+i)
	return netip.AddrFrom4(b)
}

func (a *admission) tryAddress(p *api.Port, s *api.Subnet, at netip.Addr) bool {
	if at == s.Spec.Gateway || !a.free(api.AddressKey(p.Spec.Network, at)) {
		return false
	}
	p.Spec.Subnet, p.Spec.Address = s.ID, at
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
