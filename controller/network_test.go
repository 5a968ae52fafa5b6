package controller

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

func TestNetwork_hasADomainThatStays(t *testing.T) {
	c := newCloud(t)
	if got := c.view().Get(api.KindNetwork, c.network).(*api.Network).Spec.Domain; got != "net.p.internal" {
		t.Errorf("domain %q", got)
	}
	own := &api.Network{}
	own.Name, own.Spec.Domain = "own", "shop.example"
	id := c.create(own).GetMeta().ID
	if n := hostNetwork(c.view(), id); n.Domain != "shop.example" {
		t.Errorf("hosts are told %q", n.Domain)
	}
	_, err := c.b.Update(c.ctx, c.write(), api.KindNetwork, id, func(o api.Object) error { o.(*api.Network).Spec.Domain = "other.example"; return nil })
	refused(t, err, 422, "immutable", "spec.domain")
	// A new name of the network is no new domain.
	_, err = c.b.Update(c.ctx, c.write(), api.KindNetwork, c.network, func(o api.Object) error { o.GetMeta().Name = "renamed"; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if got := c.view().Get(api.KindNetwork, c.network).(*api.Network).Spec.Domain; got != "net.p.internal" {
		t.Errorf("domain %q after the network got a new name", got)
	}
}

// That egress stays as it was made is what keeps a floating IP out of a network
// without a way out, whoever is faster.
func TestNetwork_withoutEgressHasNoFloatingIPs(t *testing.T) {
	c := newCloud(t)
	c.external("internet", "203.0.113.4/32")
	shut := &api.Network{}
	shut.Name, shut.Spec.Egress = "shut", api.EgressNone
	id := c.create(shut).GetMeta().ID
	s := &api.Subnet{}
	s.Name, s.Spec = "shut-sub", api.SubnetSpec{Network: "shut", CIDR: netip.MustParsePrefix("10.7.0.0/24")}
	c.create(s)
	p := &api.Port{}
	p.Name, p.Spec.Network = "p", "shut"
	c.create(p)
	if n := hostNetwork(c.view(), id); n.Egress != api.EgressNone {
		t.Errorf("hosts are told %q", n.Egress)
	}
	says := func(err error, field, what string) {
		t.Helper()
		if p := refused(t, err, 422, "invalid_value", field); !strings.Contains(p.Detail, what) {
			t.Errorf("it says %q", p.Detail)
		}
	}
	_, err := c.try(c.write(), floating("x", api.FloatingIPSpec{Port: "p"}))
	says(err, "spec.port", "the network shut of port p has the egress none")
	f := c.create(floating("y", api.FloatingIPSpec{}))
	_, err = c.update(api.KindFloatingIP, f.GetMeta().ID, func(o api.Object) { o.(*api.FloatingIP).Spec.Port = "p" })
	says(err, "spec.port", "the network shut of port p has the egress none")
	for network, egress := range map[string]api.EgressMode{id: api.EgressNAT, c.network: api.EgressNone} {
		_, err := c.update(api.KindNetwork, network, func(o api.Object) { o.(*api.Network).Spec.Egress = egress })
		refused(t, err, 422, "immutable", "spec.egress")
	}
}
