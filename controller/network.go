package controller

import "github.com/cairn-cloud/cairn/api"

var networkKind = Kind{Name: api.KindNetwork, Admit: admitNetwork}

// maxVNI is the largest VXLAN network identifier: it has 24 bits. 0 is not given.
const maxVNI = 1<<24 - 1

func admitNetwork(a *admission, old, o api.Object) error {
	if old != nil {
		return immutable(old, o, "make another network: what guests learn when they boot, and whether there is a way out, stays", "description")
	}
	n := o.(*api.Network)
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
