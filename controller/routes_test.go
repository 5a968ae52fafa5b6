package controller

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

func route(to, via string) api.Route {
	return api.Route{Destination: netip.MustParsePrefix(to), Via: netip.MustParseAddr(via)}
}

func subnetOf(network, cidr string) *api.Subnet {
	s := &api.Subnet{}
	s.Name, s.Spec = "s-"+strings.NewReplacer(".", "-", "/", "-", ":", "x").Replace(cidr), api.SubnetSpec{Network: network, CIDR: netip.MustParsePrefix(cidr)}
	return s
}

func TestRoutes_leadToPortsOfTheNetwork(t *testing.T) {
	c := newCloud(t)
	n := &api.Network{}
	n.Name = "lan"
	lan := c.create(n).GetMeta().ID
	s := c.create(subnetOf("lan", "10.0.0.0/24")).(*api.Subnet)
	c.create(subnetOf("lan", "fd00::/64"))
	give := func(routes ...api.Route) error {
		_, err := c.update(api.KindNetwork, lan, func(o api.Object) { o.(*api.Network).Spec.Routes = routes })
		return err
	}
	if err := give(route("172.16.0.0/12", "10.0.0.5"), route("fd12::/48", "fd00::5")); err != nil {
		t.Fatal(err)
	}
	if n = get[*api.Network](c.view(), api.KindNetwork, lan); n.Spec.Routes[0].Subnet != s.ID {
		t.Errorf("the routes are %+v", n.Spec.Routes)
	}
	h := hostNetwork(c.view(), lan)
	if len(h.Routes) != 2 || h.Routes[0].Via != netip.MustParseAddr("10.0.0.5") {
		t.Errorf("a host is told %+v", h)
	}
	for _, x := range []struct {
		name        string
		route       api.Route
		status      int
		code, field string
	}{
		{"by nobody", route("172.16.0.0/12", "10.9.9.9"), 422, "invalid_value", "spec.routes[0].via"},
		{"by the gateway", route("172.16.0.0/12", "10.0.0.1"), 422, "invalid_value", "spec.routes[0].via"},
		{"into a subnet", route("10.0.0.0/16", "10.0.0.5"), 409, "subnet_overlap", "spec.routes[0].destination"},
	} {
		t.Run(x.name, func(t *testing.T) { refused(t, give(x.route), x.status, x.code, x.field) })
	}
	// What routes lead to stays as long as they do.
	_, err := c.b.Delete(c.ctx, c.write(), api.KindSubnet, s.ID, false)
	refused(t, err, 409, "in_use", "")
	_, err = c.try(c.write(), subnetOf("lan", "172.20.0.0/24"))
	refused(t, err, 409, "route_overlap", "spec.cidr")
	n = &api.Network{}
	n.Name, n.Spec.Routes = "other", []api.Route{route("172.16.0.0/12", "10.0.0.5")}
	_, err = c.try(c.write(), n)
	refused(t, err, 422, "invalid_value", "spec.routes")
	if err := give(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.b.Delete(c.ctx, c.write(), api.KindSubnet, s.ID, false); err != nil {
		t.Error(err)
	}
}
