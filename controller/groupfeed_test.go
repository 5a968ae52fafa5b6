package controller

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

// groups are the security groups that a host was told of, by name.
func (w wanted) groups(c *cloud) []string {
	var names []string
	for _, d := range w {
		if d.Group != nil {
			names = append(names, c.view().Get(api.KindSecurityGroup, d.ID).GetMeta().Name)
		}
	}
	slices.Sort(names)
	return names
}

// TestDesired_groupsFollowTheirPorts: a host knows the rules of its own ports'
// groups, and of everybody's ports which groups they have.
func TestDesired_groupsFollowTheirPorts(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	h1, h2 := c.host("h1", 8, 128, 100), c.host("h2", 8, 128, 100) // memory for one each
	c.run()
	rule := api.SecurityRule{Direction: api.Ingress, Protocol: "tcp", Ports: &api.PortRange{First: 80}, Description: "for people"}
	web, db := c.create(group("web", rule)).(*api.SecurityGroup), c.create(group("db")).(*api.SecurityGroup)
	at := map[string]*api.Instance{}
	for name, g := range map[string]string{"a": "web", "b": "db"} {
		i := instance(name)
		i.Spec.NICs = []api.NIC{{Network: "net", SecurityGroups: []string{g}}}
		i = c.create(i).(*api.Instance)
		c.until("it is placed", func(v api.View) bool { return placed(v.Get(api.KindInstance, i.ID)) })
		at[g] = c.getInstance(i.ID)
	}
	webHost, dbHost := at["web"].Placement.Host, at["db"].Placement.Host
	if webHost == dbHost || !slices.Contains([]string{h1, h2}, webHost) {
		t.Fatalf("they are on %s and %s", webHost, dbHost)
	}
	know, streams := map[string]wanted{}, map[string]<-chan []api.DesiredItem{}
	for _, h := range []string{webHost, dbHost} {
		know[h], streams[h] = wanted{}, c.follow(h)
		for len(know[h]) < 6 { // host, network, group, two ports, instance
			know[h].apply(c.next(streams[h], "the map"))
		}
	}
	says := func(h string, names ...string) {
		t.Helper()
		if got := know[h].groups(c); !slices.Equal(got, names) {
			t.Errorf("the host knows %q and not %q", got, names)
		}
	}
	says(webHost, "web")
	says(dbHost, "db")
	port := func(h, g string) *api.HostPort { return know[h]["port "+at[g].Spec.NICs[0].Port].Port }
	if p := port(webHost, "db"); !slices.Equal(p.Groups, []string{db.ID}) {
		t.Errorf("the port elsewhere has %q", p.Groups)
	}
	if r := know[webHost]["security-group "+web.ID].Group.Rules; len(r) != 1 || r[0].Description != "" || r[0].Ports.Last != 80 {
		t.Errorf("its rules are %+v", r)
	}
	// A rule more: the host that has a port of the group hears of it, alone.
	if _, err := c.update(api.KindSecurityGroup, web.ID, func(o api.Object) {
		g := o.(*api.SecurityGroup)
		g.Spec.Rules = append(g.Spec.Rules, api.SecurityRule{Direction: api.Egress})
	}); err != nil {
		t.Fatal(err)
	}
	items := c.next(streams[webHost], "the rule")
	if know[webHost].apply(items); len(items) != 2 || len(items[0].Group.Rules) != 2 {
		t.Errorf("it is told %+v", items)
	}
	// A group more of one port: both hear of the port, and its host of the group.
	if _, err := c.update(api.KindPort, at["db"].Spec.NICs[0].Port, func(o api.Object) {
		o.(*api.Port).Spec.SecurityGroups = []string{db.ID, web.ID}
	}); err != nil {
		t.Fatal(err)
	}
	for _, h := range []string{webHost, dbHost} {
		know[h].apply(c.next(streams[h], "the group"))
		if p := port(h, "db"); !slices.Equal(p.Groups, []string{db.ID, web.ID}) {
			t.Errorf("the port has %q", p.Groups)
		}
	}
	says(webHost, "web")
	says(dbHost, "db", "web")
	// And without the first: it is of no concern to the host any more.
	if _, err := c.update(api.KindPort, at["db"].Spec.NICs[0].Port, func(o api.Object) {
		o.(*api.Port).Spec.SecurityGroups = []string{web.ID}
	}); err != nil {
		t.Fatal(err)
	}
	for _, h := range []string{webHost, dbHost} {
		know[h].apply(c.next(streams[h], "the other group"))
		says(h, "web")
		fresh := wanted{}
		for s := c.follow(h); !fresh.apply(c.next(s, "all")); {
		}
		if !reflect.DeepEqual(fresh, know[h]) {
			t.Errorf("the differences came to %q, and a new stream says %q", slices.Sorted(maps.Keys(know[h])), slices.Sorted(maps.Keys(fresh)))
		}
	}
}
