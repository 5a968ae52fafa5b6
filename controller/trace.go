package controller

import (
	"context"
	"net/netip"
	"regexp"
	"strings"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// Trace implements rest.Backend. Each host that the packet comes to is worked out
// from the same desired state that its agent is sent.
func (b *Backend) Trace(ctx context.Context, p *api.Port, q api.TraceQuery) (api.Trace, error) {
	v, err := b.store.View(ctx, 0)
	if err != nil {
		return api.Trace{}, err
	}
	var h *api.Host
	if i := get[*api.Instance](v, api.KindInstance, p.Spec.Instance); i != nil {
		h = get[*api.Host](v, api.KindHost, i.Placement.Host)
	}
	if h == nil {
		return api.Trace{}, api.NewProblem(409, "not_placed", "", "wait until its instance is placed", "port %s is on no host, so that it can send nothing", p.Name)
	}
	underlay, err := netip.ParseAddr(h.Status.Address)
	if err != nil {
		return api.Trace{}, api.NewProblem(409, "not_placed", "", "wait for the host's first report", "the host %s has not said where its network is", h.Name)
	}
	way := network.Trace(hostsOfTrace(v), underlay, p.ID, network.Packet{Dest: q.To.Unmap(), Protocol: network.Protocol(q.Protocol), DestPort: q.Port})
	t := api.Trace{Passes: way.Passes, End: named(v, way.End), Port: way.Port, Hops: []api.TraceHop{}}
	for _, hop := range way.Hops {
		t.Hops = append(t.Hops, api.TraceHop{Host: hop.Host, Where: named(v, hop.Where), What: named(v, hop.What)})
	}
	return t, nil
}

var idsOfTrace = regexp.MustCompile(`\b(prt|sgr)_[0-9a-z]+\b`)

// named writes the names of ports and security groups for their IDs. All of a
// network are of one project, and names are unique in it.
func named(v api.View, text string) string {
	return idsOfTrace.ReplaceAllStringFunc(text, func(id string) string {
		kind := api.KindPort
		if strings.HasPrefix(id, "sgr_") {
			kind = api.KindSecurityGroup
		}
		if o := v.Get(kind, id); o != nil {
			return o.GetMeta().Name
		}
		return id
	})
}

// traceMTU is what an underlay is taken to have. A trace is of small packets.
const traceMTU = 1500

// hostsOfTrace finds what a host is to be by its underlay address.
func hostsOfTrace(v api.View) network.Hosts {
	return func(underlay netip.Addr) (string, network.Desired, bool) {
		at := underlay.String()
		for o := range v.List(api.KindHost, "", "") {
			h := o.(*api.Host)
			if h.Status.Address != at {
				continue
			}
			// What cannot be understood is left out, as the host leaves it out.
			want, _ := network.FromHost(underlay, traceMTU, wholeDesired(v, h.ID))
			return h.Name, want, true
		}
		return "", network.Desired{}, false
	}
}

// wholeDesired is all of a host's desired state.
func wholeDesired(v api.View, host string) api.HostDesired {
	d := api.NewHostDesired()
	around := surroundingsOf(v, host)
	for _, at := range everything(v, host, around) {
		if i := desiredItem(v, host, around, at); i != nil {
			d.Set(*i)
		}
	}
	return d
}
