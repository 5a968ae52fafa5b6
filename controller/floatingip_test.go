package controller

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

func (c *cloud) external(name string, pools ...string) *api.ExternalNetwork {
	c.Helper()
	n := &api.ExternalNetwork{}
	n.Name, n.Spec.Pools = name, pools
	return c.create(n).(*api.ExternalNetwork)
}

func floating(name string, s api.FloatingIPSpec) *api.FloatingIP {
	f := &api.FloatingIP{}
	f.Name, f.Spec = name, s
	return f
}

// portOf makes a port that no instance has.
func (c *cloud) portOf(name, address string) *api.Port {
	c.Helper()
	p := &api.Port{}
	p.Name, p.Spec = name, api.PortSpec{Network: "net", Addresses: at(address)}
	return c.create(p).(*api.Port)
}

func (c *cloud) update(kind, id string, change func(o api.Object)) (api.Object, error) {
	done, err := c.b.Update(c.ctx, c.write(), kind, id, func(o api.Object) error { change(o); return nil })
	return done.Object, err
}

func TestFloatingIP_refusesWithTheFieldAndTheOtherParty(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	c.external("internet", "203.0.113.4-203.0.113.5", "2001:db8::/48")
	p, q := c.portOf("p", "10.0.0.10"), c.portOf("q", "10.0.0.11")
	c.create(floating("one", api.FloatingIPSpec{Address: netip.MustParseAddr("203.0.113.4"), Port: "p"}))
	bare := instance("bare")
	bare.Spec.NICs = nil
	c.create(bare)
	ip := netip.MustParseAddr
	net := func(pools ...string) *api.ExternalNetwork {
		n := &api.ExternalNetwork{}
		n.Name, n.Spec.Pools = "other", pools
		return n
	}
	for _, x := range []struct {
		name   string
		o      api.Object
		status int
		code   string
		field  string
		says   string
	}{
		{"taken", floating("x", api.FloatingIPSpec{Address: ip("203.0.113.4")}), 409, "address_taken", "spec.address", "203.0.113.4 is held by floating-ip one"},
		{"in no pool", floating("x", api.FloatingIPSpec{Address: ip("203.0.113.9")}), 422, "address_out_of_range", "spec.address", "203.0.113.4-203.0.113.5"},
		{"no such network", floating("x", api.FloatingIPSpec{ExternalNetwork: "x"}), 422, "reference_not_found", "spec.external_network", ""},
		{"no such port", floating("x", api.FloatingIPSpec{Port: "x"}), 422, "reference_not_found", "spec.port", ""},
		{"the port has one", floating("x", api.FloatingIPSpec{Port: "p"}), 409, "port_in_use", "spec.port", "10.0.0.10 of port p has the floating IP 203.0.113.4 (one) already"},
		{"an address of another port", floating("x", api.FloatingIPSpec{Port: "q", PortAddress: ip("10.0.0.10")}), 422, "invalid_value", "spec.port_address", "port q has [10.0.0.11] and not 10.0.0.10"},
		{"port and instance", floating("x", api.FloatingIPSpec{Port: "q", Instance: "bare"}), 422, "invalid_value", "spec.instance", ""},
		{"no such instance", floating("x", api.FloatingIPSpec{Instance: "x"}), 422, "reference_not_found", "spec.instance", ""},
		{"an instance without a NIC", floating("x", api.FloatingIPSpec{Instance: "bare"}), 422, "invalid_value", "spec.instance", "has no NIC"},
		{"pools overlap", net("203.0.112.0/22"), 409, "pool_overlap", "spec.pools", "203.0.112.0/22 overlaps 203.0.113.4-203.0.113.5 of the external network internet"},
		{"IPv6 pools overlap", net("2001:db8::/40"), 409, "pool_overlap", "spec.pools", "of the external network internet"},
	} {
		t.Run(strings.ReplaceAll(x.name, " ", "_"), func(t *testing.T) {
			_, err := c.try(c.write(), x.o)
			if p := refused(t, err, x.status, x.code, x.field); !strings.Contains(p.Detail, x.says) {
				t.Errorf("it says %q, want %q in it", p.Detail, x.says)
			}
		})
	}
	two := c.create(floating("two", api.FloatingIPSpec{Port: q.ID})).(*api.FloatingIP)
	if two.Spec.Address != ip("203.0.113.5") || two.Spec.Port != q.ID || two.Spec.PortAddress != ip("10.0.0.11") {
		t.Errorf("it is made as %+v", two.Spec)
	}
	_, err := c.try(c.write(), floating("three", api.FloatingIPSpec{}))
	if p := refused(t, err, 409, "pool_exhausted", "spec.external_network"); !strings.Contains(p.Detail, "all 2 IPv4 addresses") {
		t.Errorf("it says %q", p.Detail)
	}
	if _, err := c.b.Delete(c.ctx, c.write(), api.KindPort, p.ID, false); err == nil {
		t.Error("a port is deleted under its floating IP")
	} else if problem := refused(t, err, 409, "in_use", ""); !strings.Contains(problem.Detail, "floating-ip one") {
		t.Errorf("it says %q", problem.Detail)
	}
	external := two.Spec.ExternalNetwork
	_, err = c.update(api.KindExternalNetwork, external, func(o api.Object) { o.(*api.ExternalNetwork).Spec.Pools = []string{"203.0.113.4/32"} })
	if p := refused(t, err, 409, "in_use", "spec.pools"); !strings.Contains(p.Detail, "203.0.113.5 is floating IP two of project p") {
		t.Errorf("it says %q", p.Detail)
	}
	if _, err := c.update(api.KindExternalNetwork, external, func(o api.Object) { o.(*api.ExternalNetwork).Spec.Pools = []string{"203.0.113.0/28"} }); err != nil {
		t.Errorf("more addresses: %v", err)
	}
	_, err = c.b.Delete(c.ctx, c.write(), api.KindExternalNetwork, external, false)
	refused(t, err, 409, "in_use", "")
	given := present(c.view(), c.view().Get(api.KindExternalNetwork, external)).(*api.ExternalNetwork).Status.Given
	if used := c.view().Used(api.QuotaKey(c.project))["floating_ips"]; used != 2 || given["floating_ips"] != 2 {
		t.Errorf("%d are counted for the project and %v for the external network", used, given)
	}
}

// A pool that was given with a host's address in it does not cut the host off.
func TestFloatingIP_isNoAddressOfAHost(t *testing.T) {
	c := newCloud(t)
	c.external("internet", "192.0.2.1-192.0.2.2")
	c.cpuHost("h1", "192.0.2.1")
	_, err := c.try(c.write(), floating("x", api.FloatingIPSpec{Address: netip.MustParseAddr("192.0.2.1")}))
	refused(t, err, 409, "address_taken", "spec.address")
	if f := c.create(floating("y", api.FloatingIPSpec{})).(*api.FloatingIP); f.Spec.Address != netip.MustParseAddr("192.0.2.2") {
		t.Errorf("it is given %s", f.Spec.Address)
	}
	_, err = c.try(c.write(), floating("z", api.FloatingIPSpec{}))
	refused(t, err, 409, "pool_exhausted", "spec.external_network")
}

// What another tenant has called its own is not told.
func TestFloatingIP_ofAnotherProjectIsNotNamed(t *testing.T) {
	c := newCloud(t)
	c.external("internet", "203.0.113.4/32")
	c.create(floating("secret", api.FloatingIPSpec{}))
	other := &api.Project{}
	other.Name = "other"
	tenant := c.write()
	tenant.Principal.Cloud = false
	f := floating("x", api.FloatingIPSpec{Address: netip.MustParseAddr("203.0.113.4")})
	f.Project = c.create(other).GetMeta().ID
	_, err := c.try(tenant, f)
	if p := refused(t, err, 409, "address_taken", "spec.address"); strings.Contains(p.Detail, "secret") || !strings.Contains(p.Detail, "another project") {
		t.Errorf("it says %q", p.Detail)
	}
}

// TestFloatingIP_movesInOneChange: there is no moment without it.
func TestFloatingIP_movesInOneChange(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	c.external("internet", "203.0.113.0/24")
	c.portOf("p", "10.0.0.10")
	q := c.portOf("q", "10.0.0.11")
	f := c.create(floating("f", api.FloatingIPSpec{Port: "p"})).(*api.FloatingIP)
	o, err := c.update(api.KindFloatingIP, f.ID, func(o api.Object) { o.(*api.FloatingIP).Spec.Port = "q" })
	if err != nil {
		t.Fatal(err)
	}
	if got := o.(*api.FloatingIP); got.Generation != 2 || got.Spec.Port != q.ID || got.Spec.PortAddress != netip.MustParseAddr("10.0.0.11") || got.Spec.Address != f.Spec.Address {
		t.Errorf("it is at %+v", got.Spec)
	}
	o, err = c.update(api.KindFloatingIP, f.ID, func(o api.Object) { o.(*api.FloatingIP).Spec.Port = "" })
	if err != nil {
		t.Fatal(err)
	}
	if got := o.(*api.FloatingIP); got.Spec.PortAddress.IsValid() {
		t.Errorf("it leads nowhere, to %+v", got.Spec)
	}
	_, err = c.update(api.KindFloatingIP, f.ID, func(o api.Object) { o.(*api.FloatingIP).Spec.Address = netip.MustParseAddr("203.0.113.7") })
	refused(t, err, 422, "immutable", "spec.address")
}

// TestFloatingIP_onePortAtOnce: of many that want one port, one gets it; of many
// that want one address as well.
func TestFloatingIP_onePortAtOnce(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	c.external("internet", "203.0.113.0/24")
	c.portOf("p", "10.0.0.10")
	// The address by hand comes first: one that is drawn may be the same.
	addresses := atOnce(t, 20, func(n int) error {
		_, err := c.try(c.write(), floating(fmt.Sprint("a", n), api.FloatingIPSpec{Address: netip.MustParseAddr("203.0.113.250")}))
		return err
	})
	ports := atOnce(t, 20, func(n int) error {
		_, err := c.try(c.write(), floating(fmt.Sprint("p", n), api.FloatingIPSpec{Port: "p"}))
		return err
	})
	if ports[""] != 1 || ports["port_in_use"] != 19 || addresses[""] != 1 || addresses["address_taken"] != 19 {
		t.Errorf("there came %v and %v", ports, addresses)
	}
}

// TestFloatingIP_outlivesItsInstance: it leads nowhere afterwards, and its status
// follows what the port's host says.
func TestFloatingIP_outlivesItsInstance(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	c.external("internet", "203.0.113.0/24")
	h := c.host("h1", 8, 8192, 100)
	c.run()
	i := c.create(instance("i")).(*api.Instance)
	f := c.create(floating("f", api.FloatingIPSpec{Instance: "i"})).(*api.FloatingIP)
	port := i.Spec.NICs[0].Port
	if f.Spec.Port != port || f.Spec.Instance != "" || f.Spec.PortAddress != i.Spec.NICs[0].Addresses[0].Address {
		t.Fatalf("it leads to %+v", f.Spec)
	}
	state := func(want api.State, host string) {
		t.Helper()
		c.until(string(want), func(v api.View) bool {
			f := v.Get(api.KindFloatingIP, f.ID).(*api.FloatingIP)
			return f.Status.State == want && f.Status.Host == host && f.Status.ObservedGeneration == f.Generation
		})
	}
	c.until("it is placed", func(v api.View) bool { return placed(v.Get(api.KindInstance, i.ID)) })
	state(api.StateDown, "")
	say := func(floating ...netip.Addr) {
		t.Helper()
		s := &api.PortStatus{Status: api.Status{State: api.StateActive}, FloatingIPs: floating}
		if _, err := c.b.Report(c.ctx, h, 0, []api.Report{{Kind: api.KindPort, ID: port, Epoch: 1, Port: s}}); err != nil {
			t.Fatal(err)
		}
	}
	say()
	state(api.StatePending, "")
	say(f.Spec.Address)
	state(api.StateAttached, h)
	if _, err := c.b.Delete(c.ctx, c.write(), api.KindInstance, i.ID, false); err != nil {
		t.Fatal(err)
	}
	if err := c.report(h, i.ID, 1, api.StateGone); err != nil {
		t.Fatal(err)
	}
	state(api.StateDetached, "")
	v := c.view()
	if got := v.Get(api.KindFloatingIP, f.ID).(*api.FloatingIP); got.Spec.Port != "" || got.Spec.Address != f.Spec.Address {
		t.Errorf("it is left as %+v", got.Spec)
	}
	if v.Get(api.KindPort, port) != nil {
		t.Error("its port is still there")
	}
	if !slices.ContainsFunc(slices.Collect(v.List(api.KindEvent, c.project, "")), func(o api.Object) bool {
		e := o.(*api.Event)
		return e.Spec.Reason == reasonDetached && strings.Contains(e.Spec.Message, f.Spec.Address.String())
	}) {
		t.Error("no event tells that it was detached")
	}
}
