package network

import (
	"fmt"
	"strings"
)

// Difference is something of a host's network that is not as it is wanted.
type Difference struct {
	Field    string // such as "link ct0001 mtu"
	Is, Want string
	Link     string // of the host that it is about; empty: none
}

// Absent is what there is, or is to be, of what is not there.
const (
	Absent = "absent"
	there  = "there"
)

// Differences says field by field what the ops of a Plan put right. What goes or
// comes with a link, a namespace or a table is not told beside it.
func Differences(have Observed, ops []Op) (out []Difference) {
	d := &differences{have: have, gone: map[string]bool{}, made: map[place]bool{}}
	for _, op := range ops {
		if o, ok := op.(interface{ Router() string }); ok && d.gone[o.Router()] {
			continue
		}
		d.add(op)
	}
	return d.out
}

type differences struct {
	have Observed
	gone map[string]bool // namespaces that are made anew
	made map[place]bool  // links that are made anew
	out  []Difference
}

func (d *differences) space(o Of) Space {
	if o.Namespace == "" {
		return d.have.Host
	}
	return d.have.Routers[o.Namespace]
}

func (d *differences) tell(o Of, link, field, is, want string) {
	if d.made[place{o.Namespace, link}] && link != "" {
		return
	}
	if o.Namespace != "" {
		field = o.Namespace + ": " + field
		link = ""
	}
	d.out = append(d.out, Difference{Field: field, Is: is, Want: want, Link: link})
}

// isOr writes what there is.
func isOr[K comparable, V any](m map[K]V, key K) string {
	if v, ok := m[key]; ok {
		return fmt.Sprint(v)
	}
	return Absent
}

func (d *differences) add(op Op) {
	switch o := op.(type) {
	case AddNamespace:
		d.tell(Of{}, "", "namespace "+o.Namespace, Absent, there)
		d.gone[o.Namespace] = true
	case RemoveNamespace:
		d.tell(Of{}, "", "namespace "+o.Namespace, there, Absent)
	case PutLink:
		d.link(o)
	case RemoveLink:
		d.tell(o.Of, o.Name, "link "+o.Name, there, Absent)
	case SwitchOn:
		d.tell(o.Of, o.Name, "link "+o.Name+" state", "down", "up")
	case AddAddress:
		d.tell(o.Of, o.Link, fmt.Sprintf("address %s of %s", o.Address, o.Link), Absent, there)
	case RemoveAddress:
		d.tell(o.Of, o.Link, fmt.Sprintf("address %s of %s", o.Address, o.Link), there, Absent)
	case PutRoute:
		is := Absent
		if r, ok := d.space(o.Of).Routes[o.To]; ok {
			is = r.String()
		}
		d.tell(o.Of, o.Route.Link, fmt.Sprintf("route %s", o.To), is, o.Route.String())
	case RemoveRoute:
		d.tell(o.Of, o.Route.Link, fmt.Sprintf("route %s", o.To), o.Route.String(), Absent)
	case PutRate:
		if d.space(o.Of).Rates[o.Link] == NoQueue {
			return // a guest was started there
		}
		d.tell(o.Of, o.Link, "rate of "+o.Link, d.rate(o.Of, o.Link), rateText(o.Rate))
	case RemoveRate:
		d.tell(o.Of, o.Link, "rate of "+o.Link, d.rate(o.Of, o.Link), Absent)
	case PutDetour:
		d.tell(o.Of, o.Link, "detour of "+o.Link, d.detour(o.Of, o.Link), o.To)
	case RemoveDetour:
		d.tell(o.Of, o.Link, "detour of "+o.Link, d.detour(o.Of, o.Link), Absent)
	case PutSetting:
		d.tell(o.Of, o.Link, "setting "+o.File, isOr(d.space(o.Of).Settings, o.SettingKey), o.Value)
	default:
		d.entry(op)
	}
}

const altered = "altered"

func (d *differences) rate(o Of, link string) string {
	switch r, ok := d.space(o).Rates[link]; {
	case !ok:
		return Absent
	case r == 0:
		return altered
	default:
		return rateText(r)
	}
}

func (d *differences) detour(o Of, link string) string {
	to, ok := d.space(o).Detours[link]
	if ok && to == "" {
		return altered
	}
	return isOr(d.space(o).Detours, link)
}

// entry tells of forwarding entries, neighbours and rules.
func (d *differences) entry(op Op) {
	switch o := op.(type) {
	case PutForward:
		if !d.made[place{o.Namespace, o.Bridge}] {
			d.tell(o.Of, o.To, fmt.Sprintf("forwarding of %s on %s", o.MAC, o.Bridge), isOr(d.space(o.Of).Forwards, o.ForwardKey), o.To)
		}
	case RemoveForward:
		d.tell(o.Of, o.To, fmt.Sprintf("forwarding of %s on %s", o.MAC, o.Bridge), o.To, Absent)
	case PutTunnel:
		d.tell(o.Of, o.Link, fmt.Sprintf("tunnel to %s by %s", o.MAC, o.Link), isOr(d.space(o.Of).Tunnels, o.TunnelKey), o.Host.String())
	case RemoveTunnel:
		d.tell(o.Of, o.Link, fmt.Sprintf("tunnel to %s by %s", o.MAC, o.Link), isOr(d.space(o.Of).Tunnels, o.TunnelKey), Absent)
	case PutNeighbour:
		d.tell(o.Of, o.Link, fmt.Sprintf("neighbour %s on %s", o.Address, o.Link), isOr(d.space(o.Of).Neighbours, o.NeighbourKey), o.MAC.String())
	case RemoveNeighbour:
		d.tell(o.Of, o.Link, fmt.Sprintf("neighbour %s on %s", o.Address, o.Link), isOr(d.space(o.Of).Neighbours, o.NeighbourKey), Absent)
	case PutProxy:
		d.tell(o.Of, "", fmt.Sprintf("answers for %s on %s", o.Address, o.Link), Absent, there)
	case RemoveProxy:
		d.tell(o.Of, "", fmt.Sprintf("answers for %s on %s", o.Address, o.Link), there, Absent)
	case PutTable:
		is := Absent
		if _, ok := d.space(o.Of).Tables[o.Table.TableKey]; ok {
			is = altered
		}
		d.tell(o.Of, "", tableField(o.Table.TableKey), is, there)
	case RemoveTable:
		d.tell(o.Of, "", tableField(o.TableKey), there, Absent)
	case AddElements:
		d.tell(o.Of, "", fmt.Sprintf("set %s of %s", o.Set.Name, tableField(o.TableKey)), "without "+some(o.Elements), "with")
	case RemoveElements:
		d.tell(o.Of, "", fmt.Sprintf("set %s of %s", o.Set.Name, tableField(o.TableKey)), "with "+some(o.Elements), "without")
	case ReplaceElements:
		d.tell(o.Of, "", fmt.Sprintf("set %s of %s", o.Set.Name, tableField(o.TableKey)), "with "+some(o.Gone), "with "+some(o.New))
	}
}

func tableField(k TableKey) string { return fmt.Sprintf("table %s %s", k.Family, k.Name) }

func (r Route) String() string { return fmt.Sprintf("by %s on %s", r.Via, r.Link) }

// link tells what of a link differs.
func (d *differences) link(o PutLink) {
	name := o.Link.Name
	have, ok := d.space(o.Of).Links[name]
	if !ok || !have.becomes(o.Link) {
		is := Absent
		if ok {
			is = "another " + string(have.Kind)
		}
		d.tell(o.Of, name, "link "+name, is, there)
		d.made[place{o.Namespace, name}] = true
		return
	}
	field := func(what string, is, want any) {
		if is != want {
			d.tell(o.Of, name, "link "+name+" "+what, strings.TrimSpace(fmt.Sprint(is)), fmt.Sprint(want))
		}
	}
	w := o.Link
	if w.MTU != 0 {
		field("mtu", have.MTU, w.MTU)
	}
	if w.MAC != (MAC{}) {
		field("mac", have.MAC, w.MAC)
	}
	field("bridge", have.Bridge, w.Bridge)
	field("alias", have.Alias, w.Alias)
	field("learning", have.Port.Learning, w.Port.Learning)
	field("flood", have.Port.Flood, w.Port.Flood)
	field("snooping", have.Snooping, w.Snooping)
	field("group addresses", have.Group, w.Group)
	field("filtered", have.Filtered, w.Filtered)
}
