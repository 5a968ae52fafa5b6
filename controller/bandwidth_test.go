package controller

import (
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

func mbps(n int) *int { return &n }

// The limits of a port are its NIC's at first and then its own, and of concern to
// the host that has it, or is to have it.
func TestBandwidth_isToldToTheHostsOfThePort(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	h1, h2 := c.host("h1", 8, 128, 100), c.host("h2", 8, 128, 100) // memory for one each
	c.run()
	a, b := instance("a"), instance("b")
	a.Spec.NICs = []api.NIC{{Network: "net", Bandwidth: &api.Bandwidth{EgressMbps: mbps(100)}}}
	b.Spec.NICs = []api.NIC{{Network: "net"}}
	for _, i := range []*api.Instance{a, b} {
		*i = *c.create(i).(*api.Instance)
		c.until("it is placed", func(v api.View) bool { return placed(v.Get(api.KindInstance, i.ID)) })
		*i = *c.getInstance(i.ID)
	}
	here, there := a.Placement.Host, h1
	if here == h1 {
		there = h2
	}
	port := a.Spec.NICs[0].Port
	told := func(host string) *api.Bandwidth {
		t.Helper()
		p := hostPort(c.view(), host, map[string]bool{a.Spec.NICs[0].Network: true}, port)
		if p == nil {
			t.Fatal("the host does not know the port")
		}
		return p.Bandwidth
	}
	if got := told(here); got == nil || *got.EgressMbps != 100 || got.IngressMbps != nil || told(there) != nil {
		t.Errorf("its host is told %+v, the other %+v", got, told(there))
	}
	if _, err := c.update(api.KindPort, port, func(o api.Object) {
		o.(*api.Port).Spec.Bandwidth = &api.Bandwidth{IngressMbps: mbps(7)}
	}); err != nil {
		t.Fatal(err)
	}
	if got := told(here); got == nil || got.EgressMbps != nil || *got.IngressMbps != 7 {
		t.Errorf("after the change it is told %+v", got)
	}
	if _, err := c.update(api.KindPort, port, func(o api.Object) { o.(*api.Port).Spec.Bandwidth = nil }); err != nil {
		t.Fatal(err)
	}
	if got := told(here); got != nil {
		t.Errorf("without limits it is told %+v", got)
	}
	p := &api.Port{}
	p.Name, p.Spec = "p", api.PortSpec{Network: "net"}
	c.create(p)
	i := instance("c")
	i.Spec.NICs = []api.NIC{{Port: "p", Bandwidth: &api.Bandwidth{EgressMbps: mbps(1)}}}
	_, err := c.try(c.write(), i)
	refused(t, err, 422, "invalid_value", "spec.nics[0].bandwidth")
}
