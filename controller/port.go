package controller

import (
	"github.com/cairn-cloud/cairn/api"
)

var portKind = Kind{Name: api.KindPort, Admit: admitPort, Remove: removePort, Preview: previewPort}

func admitPort(a *admission, old, o api.Object) error {
	p := o.(*api.Port)
	if old == nil {
		if err := a.givePort("spec", p); err != nil {
			return err
		}
		a.change.Status = append(a.change.Status, portDown(p, 1))
		return nil
	}
	was := old.(*api.Port)
	a.sameByName(api.KindNetwork, p.Project, was.Spec.Network, &p.Spec.Network)
	for i := range min(len(p.Spec.Addresses), len(was.Spec.Addresses)) {
		a.sameByName(api.KindSubnet, p.Project, was.Spec.Addresses[i].Subnet, &p.Spec.Addresses[i].Subnet)
	}
	if err := a.giveGroups("spec.security_groups", p); err != nil {
		return err
	}
	return immutable(old, o, "make another port", "security_groups", "bandwidth")
}

// sameByName puts the ID back where a change names the same object by its name.
func (a *admission) sameByName(kind, project, was string, now *string) {
	if *now == was || *now == "" {
		return
	}
	if o, err := a.resolve(kind, project, "", *now); err == nil {
		*now = o.GetMeta().ID
	}
}

func removePort(a *admission, o api.Object, _ bool) (bool, error) {
	p := o.(*api.Port)
	if p.Spec.Instance != "" {
		return false, api.NewProblem(409, "in_use", "spec.instance", "delete the instance: its own ports go with it, others are detached", "port %s is a NIC of %s", p.Name, a.describe(p.Spec.Instance))
	}
	return true, nil
}

func previewPort(_ *admission, o api.Object, p *api.Preview) {
	p.Addresses = texts(o.(*api.Port).Spec.Addresses)
}

// portDown is a port that no instance has: nothing is left to be done for it. Its
// status is the control plane's then, and an agent's while an instance has it.
func portDown(p *api.Port, generation int64) *api.Port {
	p.Status = api.PortStatus{Status: api.Status{State: api.StateDown, ObservedGeneration: generation}}
	return p
}
