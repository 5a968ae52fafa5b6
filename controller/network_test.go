package controller

import (
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
