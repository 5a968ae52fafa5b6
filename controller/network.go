package controller

import (
	"fmt"

	"github.com/cairn-cloud/cairn/api"
)

var networkKind = Kind{Name: api.KindNetwork, Admit: admitNetwork}

// maxVNI is the largest VXLAN network identifier: it has 24 bits. 0 is not given.
const maxVNI = 1<<24 - 1

func admitNetwork(a *admission, old, o api.Object) error {
	if old != nil {
		if err := a.giveRoutes(o.(*api.Network)); err != nil {
			return err
		}
		return immutable(old, o, "make another network: what guests learn when they boot, and whether there is a way out, stays", "description", "routes")
	}
	n := o.(*api.Network)
	if len(n.Spec.Routes) > 0 {
		return api.NewProblem(422, "invalid_value", "spec.routes", "make the network, its subnets, and then its routes", "routes lead to ports, and a network that is made has none yet")
	}
	if n.Spec.Domain == "" {
		if p := a.lookup(api.KindProject, "", n.Project); p != nil {
			n.Spec.Domain = n.Name + "." + p.GetMeta().Name + ".internal"
		}
	}
	for range 1000 {
		vni := uint32(1 + a.dice.IntN(maxVNI))
		if a.free(api.VNIKey(vni)) {
			n.Spec.VNI = vni
			return nil
		}
	}
	return api.NewProblem(409, "vni_exhausted", "spec.vni", "delete networks that nobody needs", "1000 random VXLAN identifiers were all taken")
}

// giveRoutes finds the subnets of the next hops.
func (a *admission) giveRoutes(n *api.Network) error {
	var subnets []*api.Subnet
	for r := range a.view.Referrers(api.KindSubnet, api.KindNetwork, n.ID) {
		subnets = append(subnets, r.(*api.Subnet))
	}
	for i := range n.Spec.Routes {
		r := &n.Spec.Routes[i]
		at := fmt.Sprintf("spec.routes[%d]", i)
		r.Subnet = ""
		for _, s := range subnets {
			switch c := s.Spec.CIDR; {
			case r.Destination.Bits() > 0 && c.Overlaps(r.Destination):
				return api.NewProblem(409, "subnet_overlap", at+".destination", "give a range outside the network's subnets", "%s overlaps %s of the subnet %s", r.Destination, c, s.Name)
			case c.Contains(r.Via) && r.Via == s.Spec.Gateway:
				return api.NewProblem(422, "invalid_value", at+".via", "give the address of a port", "%s is the gateway of the subnet %s", r.Via, s.Name)
			case c.Contains(r.Via):
				r.Subnet = s.ID
			}
		}
		if r.Subnet == "" {
			return api.NewProblem(422, "invalid_value", at+".via", "give the address of a port of the network", "%s is in no subnet of the network %s", r.Via, n.Name)
		}
	}
	return nil
}
