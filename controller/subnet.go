package controller

import (
	"github.com/cairn-cloud/cairn/api"
)

var subnetKind = Kind{Name: api.KindSubnet, Admit: admitSubnet}

func admitSubnet(a *admission, old, o api.Object) error {
	s := o.(*api.Subnet)
	if old != nil {
		a.sameByName(api.KindNetwork, s.Project, old.(*api.Subnet).Spec.Network, &s.Spec.Network)
		return immutable(old, o, "make another subnet: ports hold addresses of this one", "dns_servers", "ranges", "reserved")
	}
	n, err := a.resolve(api.KindNetwork, s.Project, "spec.network", s.Spec.Network)
	if err != nil {
		return err
	}
	s.Spec.Network = n.GetMeta().ID
	for r := range a.view.Referrers(api.KindSubnet, api.KindNetwork, s.Spec.Network) {
		if other := r.(*api.Subnet); other.Spec.CIDR.Overlaps(s.Spec.CIDR) {
			return api.NewProblem(409, "subnet_overlap", "spec.cidr", "choose a range beside it", "%s overlaps %s of the subnet %s in the network %s",
				s.Spec.CIDR, other.Spec.CIDR, other.Name, n.GetMeta().Name)
		}
	}
	for i, r := range n.(*api.Network).Spec.Routes {
		if r.Destination.Bits() > 0 && r.Destination.Overlaps(s.Spec.CIDR) {
			return api.NewProblem(409, "route_overlap", "spec.cidr", "choose a range beside it, or change the route", "%s overlaps %s, the destination of routes[%d] of the network %s",
				s.Spec.CIDR, r.Destination, i, n.GetMeta().Name)
		}
	}
	return nil
}
