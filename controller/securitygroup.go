package controller

import (
	"fmt"
	"slices"

	"github.com/cairn-cloud/cairn/api"
)

var securityGroupKind = Kind{Name: api.KindSecurityGroup, Admit: admitSecurityGroup}

// admitSecurityGroup turns the names of groups in its rules into IDs.
func admitSecurityGroup(a *admission, _, o api.Object) error {
	g := o.(*api.SecurityGroup)
	for i := range g.Spec.Rules {
		r := &g.Spec.Rules[i]
		if r.Group == "" {
			continue
		}
		if r.Group == g.Name || r.Group == g.ID {
			r.Group = g.ID
			continue
		}
		other, err := a.resolve(api.KindSecurityGroup, g.Project, fmt.Sprintf("spec.rules[%d].group", i), r.Group)
		if err != nil {
			return err
		}
		r.Group = other.GetMeta().ID
	}
	return nil
}

// giveGroups turns the groups of a port into IDs. Where no list was given it
// gets the project's default group, which is made if there is none.
func (a *admission) giveGroups(at string, p *api.Port) error {
	if p.Spec.SecurityGroups == nil {
		p.Spec.SecurityGroups = []string{a.defaultGroup(p.Project)}
		return nil
	}
	for i, name := range p.Spec.SecurityGroups {
		field := fmt.Sprintf("%s[%d]", at, i)
		g, err := a.resolve(api.KindSecurityGroup, p.Project, field, name)
		if err != nil {
			return err
		}
		if slices.Contains(p.Spec.SecurityGroups[:i], g.GetMeta().ID) {
			return api.NewProblem(422, "invalid_value", field, "name each group once", "the security group %s is named twice", g.GetMeta().Name)
		}
		p.Spec.SecurityGroups[i] = g.GetMeta().ID
	}
	return nil
}

// defaultGroup is the ID of the project's default group. A project has it from
// its beginning; one that has lost it gets another with its next port.
func (a *admission) defaultGroup(project string) string {
	if o := a.view.Lookup(api.KindSecurityGroup, project, api.DefaultGroup); o != nil && o.GetMeta().Project == project && !o.GetMeta().Deleting() {
		return o.GetMeta().ID
	}
	for _, o := range a.change.Create {
		if g, ok := o.(*api.SecurityGroup); ok && g.Project == project && g.Name == api.DefaultGroup {
			return g.ID
		}
	}
	g := &api.SecurityGroup{}
	g.ID, g.Project, g.Name = a.newID(api.KindSecurityGroup), project, api.DefaultGroup
	g.Spec = api.SecurityGroupSpec{
		Description: "Of ports that name no group: they reach one another and everything outside, and nothing else reaches them.",
		Rules: []api.SecurityRule{
			{Direction: api.Ingress, Group: g.ID, Description: "From one another."},
			{Direction: api.Egress, Description: "To everywhere."},
		},
	}
	g.Default()
	a.create(g)
	return g.ID
}
