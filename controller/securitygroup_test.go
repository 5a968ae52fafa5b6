package controller

import (
	"slices"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

func group(name string, rules ...api.SecurityRule) *api.SecurityGroup {
	g := &api.SecurityGroup{}
	g.Name, g.Spec.Rules = name, rules
	return g
}

func TestSecurityGroups_aPortHasThoseThatItNamesAndElseTheDefault(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	standard := c.view().Lookup(api.KindSecurityGroup, c.project, api.DefaultGroup)
	if standard == nil {
		t.Fatal("the project has no default group")
	}
	web := c.create(group("web", api.SecurityRule{Direction: api.Ingress, Group: "web"}, api.SecurityRule{Direction: api.Ingress, Group: api.DefaultGroup})).(*api.SecurityGroup)
	if r := web.Spec.Rules; r[0].Group != web.ID || r[1].Group != standard.GetMeta().ID {
		t.Errorf("its rules name %+v", r)
	}
	port := func(name string, groups []string) *api.Port {
		p := &api.Port{}
		p.Name, p.Spec = name, api.PortSpec{Network: "net", SecurityGroups: groups}
		return p
	}
	has := func(id string, want ...string) {
		t.Helper()
		if p := get[*api.Port](c.view(), api.KindPort, id); p.Spec.SecurityGroups == nil || !slices.Equal(p.Spec.SecurityGroups, want) {
			t.Errorf("port %s has the groups %#v and not %q", p.Name, p.Spec.SecurityGroups, want)
		}
	}
	has(c.create(port("left-out", nil)).GetMeta().ID, standard.GetMeta().ID)
	has(c.create(port("none", []string{})).GetMeta().ID)
	named := c.create(port("named", []string{"web"})).(*api.Port)
	has(named.ID, web.ID)

	i := instance("i")
	i.Spec.NICs = []api.NIC{{Network: "net", SecurityGroups: []string{"web", api.DefaultGroup}}, {Network: "net"}}
	nics := c.create(i).(*api.Instance).Spec.NICs
	has(nics[0].Port, web.ID, standard.GetMeta().ID)
	has(nics[1].Port, standard.GetMeta().ID)

	i = instance("j")
	i.Spec.NICs = []api.NIC{{Port: "named", SecurityGroups: []string{"web"}}}
	_, err := c.try(c.write(), i)
	refused(t, err, 422, "invalid_value", "spec.nics[0].security_groups")
	_, err = c.try(c.write(), port("x", []string{"web", web.ID}))
	refused(t, err, 422, "invalid_value", "spec.security_groups[1]")
	_, err = c.try(c.write(), port("x", []string{"nobody"}))
	refused(t, err, 422, "reference_not_found", "spec.security_groups[0]")
	_, err = c.try(c.write(), group("y", api.SecurityRule{Direction: api.Ingress, Group: "nobody"}))
	refused(t, err, 422, "reference_not_found", "spec.rules[0].group")

	_, err = c.b.Update(c.ctx, c.write(), api.KindPort, named.ID, func(o api.Object) error {
		o.(*api.Port).Spec.SecurityGroups = []string{api.DefaultGroup}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	has(named.ID, standard.GetMeta().ID)
}

func TestSecurityGroups_whatIsInUseStays(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	web := c.create(group("web", api.SecurityRule{Direction: api.Ingress, Group: "web"})).GetMeta().ID
	p := &api.Port{}
	p.Name, p.Spec = "p", api.PortSpec{Network: "net", SecurityGroups: []string{"web"}}
	port := c.create(p).GetMeta().ID
	remove := func(kind, id string) error {
		_, err := c.b.Delete(c.ctx, c.write(), kind, id, false)
		return err
	}
	refused(t, remove(api.KindSecurityGroup, web), 409, "in_use", "")
	if err := remove(api.KindPort, port); err != nil {
		t.Fatal(err)
	}
	ssh := c.create(group("ssh", api.SecurityRule{Direction: api.Ingress, Group: "web"})).GetMeta().ID
	refused(t, remove(api.KindSecurityGroup, web), 409, "in_use", "")
	for _, id := range []string{ssh, web} { // that a group names itself does not hold it
		if err := remove(api.KindSecurityGroup, id); err != nil {
			t.Fatal(err)
		}
	}
}

// A project goes with its default group, and with no other.
func TestSecurityGroups_aProjectTakesItsDefaultAlong(t *testing.T) {
	c := newCloud(t)
	other := &api.Project{}
	other.Name = "other"
	id := c.create(other).GetMeta().ID
	mine := group("mine")
	mine.Project = id
	kept := c.create(mine).GetMeta().ID
	_, err := c.b.Delete(c.ctx, c.write(), api.KindProject, id, false)
	refused(t, err, 409, "in_use", "")
	// Another project's group is as one that does not exist.
	_, err = c.try(c.write(), group("z", api.SecurityRule{Direction: api.Ingress, Group: kept}))
	refused(t, err, 422, "reference_not_found", "spec.rules[0].group")
	for _, x := range []struct{ kind, id string }{{api.KindSecurityGroup, kept}, {api.KindProject, id}} {
		if _, err := c.b.Delete(c.ctx, c.write(), x.kind, x.id, false); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(c.view(), api.KindSecurityGroup, func(o api.Object) bool { return o.GetMeta().Project == id }); n != 0 {
		t.Errorf("%d groups are left of it", n)
	}
}
