package controller

import (
	"reflect"
	"slices"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

// TestDesired_floatingIPsFollowTheirPort: the host of the port is told, and the
// one where it was; nobody else is, however many hosts have the network.
func TestDesired_floatingIPsFollowTheirPort(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	c.external("internet", "203.0.113.0/24")
	hosts := []string{c.host("h1", 8, 128, 100), c.host("h2", 8, 128, 100), c.host("h3", 8, 128, 100)} // memory for one each
	c.run()
	at := map[string]*api.Instance{}
	for _, name := range []string{"a", "b", "c"} {
		i := c.create(instance(name)).(*api.Instance)
		c.until("it is placed", func(v api.View) bool { return placed(v.Get(api.KindInstance, i.ID)) })
		at[c.getInstance(i.ID).Placement.Host] = i
	}
	know, streams := map[string]wanted{}, map[string]<-chan []api.DesiredItem{}
	for _, h := range hosts {
		know[h], streams[h] = wanted{}, c.follow(h)
		for len(know[h]) < 7 { // host, network, group, three ports, instance
			know[h].apply(c.next(streams[h], "the map"))
		}
	}
	f := c.create(floating("f", api.FloatingIPSpec{})).(*api.FloatingIP)
	name := "floating-ip " + f.ID
	to := func(h string) {
		t.Helper()
		if _, err := c.update(api.KindFloatingIP, f.ID, func(o api.Object) { o.(*api.FloatingIP).Spec.Instance = at[h].Name }); err != nil {
			t.Fatal(err)
		}
	}
	to(hosts[0])
	items := c.next(streams[hosts[0]], "the floating IP")
	know[hosts[0]].apply(items)
	got := know[hosts[0]][name].Floating
	nic := at[hosts[0]].Spec.NICs[0]
	if len(items) != 2 || got == nil || got.Address != f.Spec.Address || got.Port != nic.Port || got.Inside != nic.Addresses[0].Address {
		t.Fatalf("its host is told %+v", items)
	}
	to(hosts[1])
	for h, there := range map[string]bool{hosts[0]: false, hosts[1]: true} {
		items := c.next(streams[h], "the move")
		know[h].apply(items)
		if _, ok := know[h][name]; ok != there || len(items) != 2 {
			t.Errorf("after the move a host is told %+v", items)
		}
	}
	// What the third host hears next is something else.
	if _, err := c.update(api.KindHost, hosts[2], func(o api.Object) { o.(*api.Host).Spec.VCPUOvercommit = 8 }); err != nil {
		t.Fatal(err)
	}
	if items := c.next(streams[hosts[2]], "its spec"); items[0].Host == nil {
		t.Errorf("a host without the port is told %+v", items)
	}
	fresh := wanted{}
	for s := c.follow(hosts[1]); !fresh.apply(c.next(s, "all")); {
	}
	if !reflect.DeepEqual(fresh, know[hosts[1]]) {
		t.Errorf("the differences came to\n%v, and a new stream says\n%v", know[hosts[1]], fresh)
	}
	// Without its instance it leads nowhere, and its host hears that as well.
	if _, err := c.b.Delete(c.ctx, c.write(), api.KindInstance, at[hosts[1]].ID, false); err != nil {
		t.Fatal(err)
	}
	if err := c.report(hosts[1], at[hosts[1]].ID, 1, api.StateGone); err != nil {
		t.Fatal(err)
	}
	for len(know[hosts[1]]) > 1 {
		know[hosts[1]].apply(c.next(streams[hosts[1]], "an empty host"))
	}
}

// TestDesired_bothHostsOfAMoveHaveTheFloatingIP, of which each sees by itself
// whether the port is there.
func TestDesired_bothHostsOfAMoveHaveTheFloatingIP(t *testing.T) {
	m := newMoving(t)
	m.external("internet", "203.0.113.0/24")
	f := m.create(floating("f", api.FloatingIPSpec{Instance: "i"})).(*api.FloatingIP)
	knows := func() (out []string) {
		for _, h := range []string{m.from, m.to} {
			if hostFloating(m.view(), h, f.ID) != nil {
				out = append(out, h)
			}
			named := slices.ContainsFunc(everything(m.view(), h, surroundingsOf(m.view(), h)), func(at item) bool { return at.kind == api.KindFloatingIP })
			if named != (hostFloating(m.view(), h, f.ID) != nil) {
				t.Errorf("of all that host %s may have, it is named: %v", h, named)
			}
		}
		return out
	}
	if got := knows(); !slices.Equal(got, []string{m.from}) {
		t.Errorf("before the move it is told to %v", got)
	}
	if err := m.migrate("", false); err != nil {
		t.Fatal(err)
	}
	m.settle()
	if got := knows(); !slices.Equal(got, []string{m.from, m.to}) {
		t.Errorf("during the move it is told to %v", got)
	}
	m.say(m.to, 2, api.StateStarting, api.Migration{Epoch: 2, Incoming: api.IncomingReady})
	m.settle()
	m.say(m.to, 2, api.StateRunning, api.Migration{Epoch: 2, Incoming: api.IncomingArrived})
	m.settle()
	if got := knows(); !slices.Equal(got, []string{m.to}) {
		t.Errorf("after the move it is told to %v", got)
	}
}
