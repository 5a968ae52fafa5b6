package network

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Plan says what to do, in this order, so that what is observed becomes what is
// wanted. Once it is, the plan is empty.
//
// What goes, goes before anything comes, so that a MAC or an address can move.
// A tap is the last of a network to be switched on, when all that guards it and
// leads to it is there, and the first to go, before its rules.
func Plan(want Desired, have Observed) []Op {
	p := &planner{want: lay(want, have), have: have, gone: map[place]bool{}, flushed: map[place]bool{}}
	p.obsolete()
	p.hostTables()
	p.restore()
	for name := range p.want.Routers {
		p.router(name)
	}
	p.space("", p.want.Host, have.Host)
	p.remains()
	p.connections(want)
	slices.SortFunc(p.steps, func(a, b step) int {
		return cmp.Or(cmp.Compare(a.stage, b.stage), cmp.Compare(a.op.Subject(), b.op.Subject()), cmp.Compare(a.rank, b.rank), cmp.Compare(a.key, b.key))
	})
	ops := make([]Op, len(p.steps))
	for i, s := range p.steps {
		ops[i] = s.op
	}
	return ops
}

// stage is a part of the plan; within one, ops go network by network, and
// within a network by rank.
type stage int

const (
	removing stage = iota // what is not wanted
	onHost                // what all networks stand on
	making
	ending // what no network stands on any more
)

type rank int

// Ranks of what is removed.
const (
	goDetour rank = iota // before where it leads, or what comes would be lost
	goTap
	goDetourLink
	goRate
	goForward
	goTunnel
	goNeighbour
	goProxy
	goRoute
	goAddress
	goElements
	goConnections
	goCable
	goVXLAN
	goBridge
	goRouterLink
	goNamespace
)

// Ranks of what is made. What is said of a link comes before it is switched on.
const (
	putNamespace rank = iota
	putTable
	putSetting
	putBridge
	putVXLAN
	putCable
	putRouterLink
	putLinkSetting
	putAddress
	putForward
	putTunnel
	putNeighbour
	putElements
	onRouterLink
	onBridge
	onVXLAN
	onCable
	putRoute
	putTap
	putDetourLink
	putTapSetting
	putTapForward
	onDetourLink
	putRate
	putDetour
	onTap
	putProxy
	announce
)

type step struct {
	stage stage
	rank  rank
	key   string
	op    Op
}

type place struct{ namespace, link string }

type planner struct {
	want    layout
	have    Observed
	gone    map[place]bool // links that are not there, or will be made anew: with them went what was said of them
	flushed map[place]bool // links that lose their neighbours
	steps   []step
}

func (p *planner) add(s stage, r rank, op Op) {
	p.steps = append(p.steps, step{s, r, op.String(), op})
}

// host is where and for whom an op about a link of the host is done.
func (p *planner) host(link string) Of {
	if vni, ok := vniOf(link); ok {
		return Of{VNI: vni}
	}
	if vni, ok := p.want.networks[link]; ok {
		return Of{VNI: vni}
	}
	vni, _ := vniOf(p.have.Host.Links[link].Bridge)
	return Of{VNI: vni}
}

func (p *planner) of(namespace, link string) Of {
	if namespace == "" {
		return p.host(link)
	}
	return ofRouter(namespace)
}

func ofRouter(namespace string) Of {
	vni, _ := digits(namespace, "cairn-")
	return Of{VNI: vni, Namespace: namespace}
}

// becomes tells whether a link can be made the wanted one without being made anew.
func (l Link) becomes(want Link) bool {
	return l.Kind == want.Kind && l.Tunnel == want.Tunnel && l.Peer == want.Peer
}

// is tells whether a link is the wanted one, but for being switched on.
func (l Link) is(want Link) bool {
	l.Up = want.Up
	if want.MAC == (MAC{}) {
		l.MAC = want.MAC
	}
	if want.MTU == 0 {
		l.MTU = want.MTU
	}
	return l == want
}

// obsolete plans the end of links and namespaces that are not wanted, or that
// are not what they should be and cannot become it.
func (p *planner) obsolete() {
	for name, space := range p.have.Routers {
		want, wanted := p.want.Routers[name]
		if !wanted {
			p.add(removing, goNamespace, RemoveNamespace{ofRouter(name)})
		}
		for link, have := range space.Links {
			if w, ok := want.Links[link]; wanted && (!ok || !have.becomes(w)) {
				p.add(removing, goRouterLink, RemoveLink{ofRouter(name), link})
			} else if wanted {
				continue
			}
			p.gone[place{name, link}] = true
		}
	}
	for name, have := range p.have.Host.Links {
		if w, wanted := p.want.Host.Links[name]; wanted && have.becomes(w) {
			continue
		}
		p.add(removing, goLink(have.Kind), RemoveLink{p.host(name), name})
		p.gone[place{"", name}] = true
	}
	// A cable is two links: what becomes of one becomes of the other.
	for name, space := range p.want.Routers {
		for _, w := range space.Links {
			if w.Kind == KindCable {
				p.cable(name, w)
			}
		}
	}
}

// cable plans the end of a link whose other end is missing, or is not its other end.
func (p *planner) cable(router string, want Link) {
	inside, outside := place{router, want.Name}, place{"", strings.TrimPrefix(want.Peer, PeerIn("", ""))}
	if !p.missing(inside) && !p.missing(outside) {
		return
	}
	if h := p.have.Routers[router].Links[inside.link]; !p.missing(inside) && h.Peer == "" {
		p.add(removing, goRouterLink, RemoveLink{ofRouter(router), inside.link})
	}
	if h := p.have.Host.Links[outside.link]; !p.missing(outside) && h.Peer == "" {
		p.add(removing, goCable, RemoveLink{p.host(outside.link), outside.link})
	}
	p.gone[inside], p.gone[outside] = true, true
}

func goLink(k Kind) rank {
	switch k {
	case KindTap:
		return goTap
	case KindDetour:
		return goDetourLink
	case KindCable:
		return goCable
	case KindVXLAN:
		return goVXLAN
	default:
		return goBridge
	}
}

// missing tells whether a link is not there, or about to go.
func (p *planner) missing(at place) bool {
	if p.gone[at] {
		return true
	}
	space := p.have.Host
	if at.namespace != "" {
		space = p.have.Routers[at.namespace]
	}
	_, there := space.Links[at.link]
	return !there
}

// hostTables plans the host's rules and settings.
func (p *planner) hostTables() {
	for key, t := range p.want.tables[""] {
		if p.put("", t, onHost) {
			continue
		}
		have := p.have.Host.Tables[key].Sets
		for _, set := range t.Sets {
			p.elements("", key, set, have[set.Name])
		}
	}
}

// restore puts back settings of the host's that nobody needs changed any more,
// before it is forgotten how they were.
func (p *planner) restore() {
	for key, was := range p.have.Were {
		if _, wanted := p.want.Host.Settings[key]; !wanted && p.have.Host.Settings[key] == uplinkValue(key) {
			p.add(removing, goForward, PutSetting{Of{}, key, was})
		}
	}
}

// put plans a table that is not as it should be.
func (p *planner) put(namespace string, t Table, s stage) bool {
	space := p.have.Host
	o := Of{}
	if namespace != "" {
		space, o = p.have.Routers[namespace], ofRouter(namespace)
	}
	have, there := space.Tables[t.TableKey]
	if there && have.Skeleton == p.want.space(namespace).Tables[t.TableKey].Skeleton {
		return false
	}
	p.add(s, putTable, PutTable{o, t})
	return true
}

// elements plans the difference of a set, by network.
func (p *planner) elements(namespace string, key TableKey, set Set, have map[string]bool) {
	adds, removes := map[Of][]string{}, map[Of][]string{}
	of := func(element string) Of {
		if namespace != "" {
			return ofRouter(namespace)
		}
		return Of{VNI: p.host(tapOf(element)).VNI}
	}
	for e := range set.Elements {
		if !have[e] {
			adds[of(e)] = append(adds[of(e)], e)
		}
	}
	var late []string
	for e := range have {
		switch {
		case set.Elements[e]:
		case namespace == "" && consentSet(key, set.Name) && set.Interval && !p.want.asked[tapOf(e)]:
			late = append(late, e)
		default:
			removes[of(e)] = append(removes[of(e)], e)
		}
	}
	if len(late) > 0 { // until its port is another, it is allowed what it was
		slices.Sort(late)
		p.add(ending, goElements, RemoveElements{Of{}, key, set.SetType, late})
	}
	for o, es := range adds {
		slices.Sort(es)
		s := making
		if o.VNI == 0 {
			s = onHost
		}
		// What changes what is allowed has no moment in between, where nothing is.
		if gone := removes[o]; len(gone) > 0 && namespace == "" && consentSet(key, set.Name) {
			slices.Sort(gone)
			delete(removes, o)
			p.add(s, putElements, ReplaceElements{o, key, set.SetType, gone, es})
			continue
		}
		p.add(s, putElements, AddElements{o, key, set.SetType, es})
	}
	for o, es := range removes {
		slices.Sort(es)
		p.add(removing, goElements, RemoveElements{o, key, set.SetType, es})
	}
}

// connections plans the end of those that are not allowed any more, after all
// that may have forbidden them.
func (p *planner) connections(want Desired) {
	unjudged := p.have.Unjudged && len(want.Networks) > 0
	for _, s := range p.steps {
		unjudged = UnjudgedAfter(unjudged, s.op)
	}
	if unjudged {
		p.add(ending, announce, EndConnections{Of{}, newJudge(want, p.want.zones)})
	}
}

// router plans a router and what is in it.
func (p *planner) router(name string) {
	have, there := p.have.Routers[name]
	if !there {
		p.add(making, putNamespace, AddNamespace{ofRouter(name)})
		have = NewSpace()
	}
	for key, t := range p.want.tables[name] {
		p.strangers(name, have.Tables[key].Sets[mapPublicIn], p.want.Routers[name].Tables[key].Sets[mapPublicIn])
		if p.put(name, t, making) {
			continue
		}
		for _, set := range t.Sets {
			p.elements(name, key, set, have.Tables[key].Sets[set.Name])
		}
	}
	p.space(name, p.want.Routers[name], have)
}

// strangers plans the end of connections by public addresses that lead elsewhere
// now: they would be translated as before for as long as somebody sends.
func (p *planner) strangers(router string, have, want map[string]bool) {
	for e := range have {
		if want[e] {
			continue
		}
		public, _, _ := strings.Cut(e, " : ")
		if a, err := netip.ParseAddr(public); err == nil {
			p.add(removing, goConnections, ForgetConnections{ofRouter(router), a})
		}
	}
}

// remains plans the end of what networks have together, after the last of them.
func (p *planner) remains() {
	if len(p.want.Host.Tables) > 0 {
		return
	}
	if p.have.ForwardingWasOff && p.have.Host.Settings[forwarding] == "1" {
		p.add(ending, putSetting, PutSetting{Of{}, forwarding, "0"})
	}
	for _, key := range slices.SortedFunc(maps.Keys(p.have.Host.Tables), func(a, b TableKey) int { return cmp.Compare(a.Family, b.Family) }) {
		p.add(ending, goNamespace, RemoveTable{Of{}, key})
	}
}
