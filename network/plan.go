package network

import (
	"bytes"
	"cmp"
	"maps"
	"net/netip"
	"slices"
)

// Plan says what to do, in this order, so that what is observed becomes what is
// desired. Once it is, the plan is empty. What guards a guest comes before its
// tap does and goes after it; where a MAC is, is known before its link is up.
func Plan(want Desired, have State) []Op {
	p := &planner{want: target(want, have), have: have}
	p.removeLinks()
	p.missing()
	p.routersAndRules()
	for _, kinds := range [][]LinkKind{{KindBridge}, {KindVXLAN}, {KindGateway, KindUplink}} {
		p.links(kinds...)
	}
	p.routers()
	p.links(KindTap)
	p.leftovers()
	return p.ops
}

type planner struct {
	want, have State
	ops        []Op
	fresh      map[string]bool // links that are made anew: what was said of them is gone
	fdb        map[string][]FDBEntry
	neighbours map[string][]Neighbour
}

func (p *planner) do(o ...Op) { p.ops = append(p.ops, o...) }

// removeLinks removes what is not wanted, or cannot become what is wanted:
// taps first, and bridges last.
func (p *planner) removeLinks() {
	p.fresh = map[string]bool{}
	for name, w := range p.want.Links {
		h, there := p.have.Links[name]
		_, routed := p.have.Routers[w.VNI]
		cable := w.Kind == KindGateway || w.Kind == KindUplink
		p.fresh[name] = !there || h.made() != w.made() || cable && !routed
	}
	order := map[LinkKind]int{KindTap: 0, KindGateway: 1, KindUplink: 1, KindVXLAN: 2, KindBridge: 3}
	names := slices.SortedFunc(maps.Keys(p.have.Links), func(a, b string) int {
		return cmp.Or(cmp.Compare(order[p.have.Links[a].Kind], order[p.have.Links[b].Kind]), cmp.Compare(a, b))
	})
	for _, name := range names {
		if _, wanted := p.want.Links[name]; !wanted || p.fresh[name] {
			p.do(DeleteLink{name})
		}
	}
	for _, vni := range slices.Sorted(maps.Keys(p.have.Routers)) {
		if _, wanted := p.want.Routers[vni]; !wanted {
			p.do(DeleteRouter{vni})
		}
	}
}

// routersAndRules makes what must be there before a link is.
func (p *planner) routersAndRules() {
	w, h := p.want.Rules, p.have.Rules
	switch {
	case w.Whole && !h.Whole:
		p.do(MakeRules{sorted(w.Ports, comparePorts)})
	case w.Whole:
		if add := sorted(without(w.Ports, h.Ports), comparePorts); len(add) > 0 {
			p.do(ChangeRules{Add: add})
		}
	}
	if p.want.Forwarding && !p.have.Forwarding {
		p.do(AllowForwarding{})
	}
	for _, vni := range slices.Sorted(maps.Keys(p.want.Routers)) {
		if _, there := p.have.Routers[vni]; !there {
			p.do(AddRouter{vni})
		}
		if !p.have.Routers[vni].Rules {
			p.do(MakeRouterRules{vni})
		}
	}
}

// links makes the links of these kinds, with what is said of them.
func (p *planner) links(kinds ...LinkKind) {
	for _, name := range slices.Sorted(maps.Keys(p.want.Links)) {
		w := p.want.Links[name]
		if !slices.Contains(kinds, w.Kind) {
			continue
		}
		h := p.have.Links[name]
		if p.fresh[name] {
			h = w.made()
			p.do(AddLink{name, w})
		}
		down := w
		down.Up = h.Up
		if h != down {
			p.do(SetLink{name, w})
		}
		p.said(name)
		if !h.Up {
			p.do(SetUp{name})
		}
	}
}

// missing collects, by link, what is to be said of it and is not yet.
func (p *planner) missing() {
	p.fdb, p.neighbours = map[string][]FDBEntry{}, map[string][]Neighbour{}
	for e := range p.want.FDB {
		if p.fresh[e.Link] || !p.have.FDB[e] {
			p.fdb[e.Link] = append(p.fdb[e.Link], e)
		}
	}
	for e := range p.want.Neighbours {
		if p.fresh[e.Link] || !p.have.Neighbours[e] {
			p.neighbours[e.Link] = append(p.neighbours[e.Link], e)
		}
	}
}

// said plans what is said of a link: where MACs are, and whose addresses are.
func (p *planner) said(link string) {
	slices.SortFunc(p.fdb[link], compareFDB)
	for _, e := range p.fdb[link] {
		p.do(AddFDB{e})
	}
	slices.SortFunc(p.neighbours[link], compareNeighbours)
	for _, e := range p.neighbours[link] {
		p.do(AddNeighbour{e})
	}
}

// routers sets what is in each router, which has its links now.
func (p *planner) routers() {
	for _, vni := range slices.Sorted(maps.Keys(p.want.Routers)) {
		w, h := p.want.Routers[vni], p.have.Routers[vni]
		for i, cable := range []string{GatewayCable(vni), UplinkCable(vni)} {
			if p.fresh[cable] {
				h.Addresses[i], h.Up = nil, false
				if i == 0 {
					h.Neighbours = nil
				} else {
					h.Default = netip.Addr{}
				}
			}
		}
		o := SetRouter{VNI: vni, Want: w}
		for i := range w.Addresses {
			o.AddAddresses[i] = sorted(without(w.Addresses[i], h.Addresses[i]), netip.Prefix.Compare)
			o.DeleteAddresses[i] = sorted(without(h.Addresses[i], w.Addresses[i]), netip.Prefix.Compare)
		}
		o.AddNeighbours = sorted(without(w.Neighbours, h.Neighbours), compareNeighbours)
		o.DelNeighbours = replaced(sorted(without(h.Neighbours, w.Neighbours), compareNeighbours), w.Neighbours)
		if o.changes() || w.Up != h.Up || w.MTU != h.MTU || w.Forwarding != h.Forwarding || w.Default != h.Default {
			p.do(o)
		}
	}
}

func (o SetRouter) changes() bool {
	return len(o.AddAddresses[0])+len(o.AddAddresses[1])+len(o.DeleteAddresses[0])+len(o.DeleteAddresses[1])+len(o.AddNeighbours)+len(o.DelNeighbours) > 0
}

// leftovers takes back what is no longer true. Where a MAC or an address has
// moved, the new entry has taken the old one's place already.
func (p *planner) leftovers() {
	stays := func(link string) bool {
		_, wanted := p.want.Links[link]
		return wanted && !p.fresh[link]
	}
	moved := map[FDBEntry]bool{}
	for e := range p.want.FDB {
		moved[FDBEntry{Link: e.Link, MAC: e.MAC}] = true
	}
	for _, e := range sorted(without(p.have.FDB, p.want.FDB), compareFDB) {
		if stays(e.Link) && !moved[FDBEntry{Link: e.Link, MAC: e.MAC}] {
			p.do(DeleteFDB{e})
		}
	}
	gone := sorted(without(p.have.Neighbours, p.want.Neighbours), compareNeighbours)
	for _, e := range replaced(gone, p.want.Neighbours) {
		if stays(e.Link) {
			p.do(DeleteNeighbour{e})
		}
	}
	if p.want.Rules.Whole && p.have.Rules.Whole {
		if gone := sorted(without(p.have.Rules.Ports, p.want.Rules.Ports), comparePorts); len(gone) > 0 {
			p.do(ChangeRules{Delete: gone})
		}
	}
	if !p.want.Rules.Whole && (p.have.Rules.Whole || len(p.have.Rules.Ports) > 0) {
		p.do(RemoveRules{})
	}
}

// replaced drops the neighbours whose address another entry has now.
func replaced(gone []Neighbour, want map[Neighbour]bool) []Neighbour {
	type at struct {
		link    string
		address netip.Addr
	}
	now := map[at]bool{}
	if len(gone) > 0 {
		for e := range want {
			now[at{e.Link, e.Address}] = true
		}
	}
	return slices.DeleteFunc(gone, func(e Neighbour) bool { return now[at{e.Link, e.Address}] })
}

// without is what is in a and not in b.
func without[K comparable, M ~map[K]bool](a, b M) M {
	out := M{}
	for k := range a {
		if !b[k] {
			out[k] = true
		}
	}
	return out
}

func sorted[K comparable, M ~map[K]bool](m M, compare func(a, b K) int) []K {
	return slices.SortedFunc(maps.Keys(m), compare)
}

func compareFDB(a, b FDBEntry) int {
	return cmp.Or(cmp.Compare(a.Link, b.Link), bytes.Compare(a.MAC[:], b.MAC[:]), a.Host.Compare(b.Host))
}

func compareNeighbours(a, b Neighbour) int {
	return cmp.Or(cmp.Compare(a.Link, b.Link), a.Address.Compare(b.Address), bytes.Compare(a.MAC[:], b.MAC[:]))
}

func comparePorts(a, b PortRule) int {
	return cmp.Or(cmp.Compare(a.Tap, b.Tap), a.Address.Compare(b.Address), bytes.Compare(a.MAC[:], b.MAC[:]))
}
