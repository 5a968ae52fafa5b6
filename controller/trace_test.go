package controller

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

func TestTrace_walksThroughWhatTheHostsAreSent(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	c.typ("half", api.Size{VCPUs: 1, MemoryMiB: 1000, DiskGiB: 10})
	boot := func(name string) *api.Instance {
		i := instance(name)
		i.Spec.Type = "half"
		return c.create(i).(*api.Instance)
	}
	i := boot("i")
	port := func(i *api.Instance) *api.Port { return get[*api.Port](c.view(), api.KindPort, i.Spec.NICs[0].Port) }
	_, err := c.b.Trace(c.ctx, port(i), api.TraceQuery{To: netip.MustParseAddr("10.0.0.1"), Protocol: "ping"})
	refused(t, err, 409, "not_placed", "")

	for n, name := range []string{"h1", "h2"} {
		h := c.host(name, 2, 1500, 100) // room for one each
		s := get[*api.Host](c.view(), api.KindHost, h).Status
		s.Address = "192.0.2." + string(rune('1'+n))
		if _, err := c.b.Report(c.ctx, h, 0, []api.Report{{Kind: api.KindHost, ID: h, Host: &s}}); err != nil {
			t.Fatal(err)
		}
	}
	j := boot("j")
	c.place()
	c.until("both are placed", func(v api.View) bool {
		return placed(v.Get(api.KindInstance, i.ID)) && placed(v.Get(api.KindInstance, j.ID))
	})
	i, j = c.getInstance(i.ID), c.getInstance(j.ID)
	if i.Placement.Host == j.Placement.Host {
		t.Fatal("both are on one host")
	}
	to := port(j)
	way, err := c.b.Trace(c.ctx, port(i), api.TraceQuery{To: to.Spec.Addresses[0].Address, Protocol: "tcp", Port: 80})
	if err != nil || !way.Passes || way.Port != to.ID {
		t.Fatalf("%+v %v", way, err)
	}
	all := fmt.Sprint(way.Hops)
	for _, s := range []string{"port " + to.Name + " it may be sent this", "ingress rule 0 of default"} {
		if !strings.Contains(all, s) {
			t.Errorf("it does not say %q: %s", s, all)
		}
	}
	if strings.Contains(all, "sgr_") || strings.Contains(all, "prt_") {
		t.Errorf("it says IDs and not names: %s", all)
	}
	if first, last := way.Hops[0].Host, way.Hops[len(way.Hops)-1].Host; first != i.Placement.HostName || last != j.Placement.HostName {
		t.Errorf("it goes from %s to %s", first, last)
	}
	other := get[*api.Host](c.view(), api.KindHost, j.Placement.Host).Status.Address
	if way, err = c.b.Trace(c.ctx, port(i), api.TraceQuery{To: netip.MustParseAddr(other), Protocol: "tcp", Port: 22}); err != nil || way.Passes || !strings.Contains(way.End, "chain forward: ") {
		t.Errorf("to the other host: %+v %v", way, err)
	}
}
