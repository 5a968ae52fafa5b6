package controller

import (
	"github.com/cairn-cloud/cairn/api"
)

var externalNetworkKind = Kind{Name: api.KindExternalNetwork, Admit: admitExternalNetwork}

// admitExternalNetwork refuses pools that another one has, and the end of what was given.
func admitExternalNetwork(a *admission, _, o api.Object) error {
	n := o.(*api.ExternalNetwork)
	pools := n.ParsedPools()
	for x := range a.view.List(api.KindExternalNetwork, "", "") {
		other := x.(*api.ExternalNetwork)
		if other.ID == n.ID {
			continue
		}
		for _, theirs := range other.ParsedPools() {
			for i, p := range pools {
				if p.Overlaps(theirs) {
					return api.NewProblem(409, "pool_overlap", "spec.pools", "choose addresses beside it", "%s overlaps %s-%s of the external network %s", n.Spec.Pools[i], theirs.First, theirs.Last, other.Name)
				}
			}
		}
	}
	for r := range a.view.Referrers(api.KindFloatingIP, api.KindExternalNetwork, n.ID) {
		f := r.(*api.FloatingIP)
		if poolOf(pools, f) < 0 {
			return api.NewProblem(409, "in_use", "spec.pools", "delete it first, or leave its address in", "%s is floating IP %s of %s", f.Spec.Address, f.Name, a.describe(f.Project))
		}
	}
	return nil
}

// poolOf finds the pool that a floating IP is of; -1: none.
func poolOf(pools []api.Pool, f *api.FloatingIP) int {
	for i, p := range pools {
		if p.Contains(f.Spec.Address) {
			return i
		}
	}
	return -1
}
