package network

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
)

// model is a host as the kernel would keep it: what an op needs must be there,
// and what hangs on something goes with it.
type model struct{ Observed }

func newModel() *model {
	m := &model{Observed{State: State{Host: NewSpace(), Routers: map[string]Space{}}}}
	m.Host.Settings[forwarding] = "0"
	for k := range UplinkSettings("eth0") {
		m.Host.Settings[k] = "80"
	}
	return m
}

func (m *model) space(name string) (Space, error) {
	if name == "" {
		return m.Host, nil
	}
	s, ok := m.Routers[name]
	if !ok {
		return s, fmt.Errorf("there is no namespace %s", name)
	}
	return s, nil
}

// do carries out one op.
func (m *model) do(op Op) error {
	if err := m.try(op); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if off, known := ForwardingWasOff(m.Host); known { // else the agent remembers
		m.ForwardingWasOff = off
	}
	m.Were, m.Unjudged = WereAfter(m.Were, op), UnjudgedAfter(m.Unjudged, op)
	if were, known := Were(m.Host); known && !maps.Equal(were, m.Were) {
		return fmt.Errorf("%s: what is written of the uplink is %v, and what is known %v", op, were, m.Were)
	}
	return nil
}

func (m *model) try(op Op) error {
	switch o := op.(type) {
	case AddNamespace:
		if _, ok := m.Routers[o.Namespace]; !ok {
			s := NewSpace()
			s.Links["lo"] = Link{Name: "lo", Kind: KindLoopback, Alias: Mark}
			m.Routers[o.Namespace] = s
		}
		return nil
	case RemoveNamespace:
		for l := range m.Routers[o.Namespace].Links {
			m.remove(o.Namespace, l)
		}
		delete(m.Routers, o.Namespace)
		return nil
	case RemoveLink:
		m.remove(o.Namespace, o.Name)
		return nil
	case PutLink:
		return m.putLink(o)
	}
	return m.say(op)
}

// say does what is about a link or a namespace that must be there.
func (m *model) say(op Op) error {
	s, err := m.space(op.(interface{ Router() string }).Router())
	if err != nil {
		return err
	}
	need := func(links ...string) error {
		for _, l := range links {
			if _, ok := s.Links[l]; !ok {
				return fmt.Errorf("there is no link %s", l)
			}
		}
		return nil
	}
	switch o := op.(type) {
	case SwitchOn:
		if err := need(o.Name); err != nil {
			return err
		}
		l := s.Links[o.Name]
		l.Up = true
		s.Links[o.Name] = l
	case PutForward:
		if err := need(o.Bridge, o.To); err != nil {
			return err
		}
		if s.Links[o.To].Bridge != o.Bridge {
			return fmt.Errorf("%s is no port of %s", o.To, o.Bridge)
		}
		s.Forwards[o.ForwardKey] = o.To
	case RemoveForward:
		delete(s.Forwards, o.ForwardKey)
	case PutTunnel:
		s.Tunnels[o.TunnelKey] = o.Host
		return need(o.Link)
	case RemoveTunnel:
		delete(s.Tunnels, o.TunnelKey)
	case PutNeighbour:
		s.Neighbours[o.NeighbourKey] = o.MAC
		return errors.Join(need(o.Link), speaks(s, o.Link, o.Address))
	case RemoveNeighbour:
		delete(s.Neighbours, o.NeighbourKey)
	case PutProxy:
		s.Proxies[o.NeighbourKey] = true
	case RemoveProxy:
		delete(s.Proxies, o.NeighbourKey)
	case Announce:
		if !s.Proxies[o.NeighbourKey] {
			return fmt.Errorf("nobody answers for %s", o.Address)
		}
	case ForgetConnections, EndConnections:
	case AddAddress:
		s.Addresses[o.AddressKey] = true
		return errors.Join(need(o.Link), speaks(s, o.Link, o.Address.Addr()))
	case RemoveAddress:
		delete(s.Addresses, o.AddressKey)
	case PutRoute:
		if err := need(o.Route.Link); err != nil {
			return err
		}
		if !s.Links[o.Route.Link].Up {
			return fmt.Errorf("%s is not switched on", o.Route.Link)
		}
		s.Routes[o.To] = o.Route
	case RemoveRoute:
		delete(s.Routes, o.To)
	case PutRate:
		s.Rates[o.Link] = o.Rate
		return need(o.Link)
	case RemoveRate:
		delete(s.Rates, o.Link)
	case PutDetour:
		if err := need(o.Link, o.To); err != nil {
			return err
		}
		if s.Rates[o.To] == 0 || !s.Links[o.To].Up {
			return fmt.Errorf("%s is not ready", o.To)
		}
		s.Detours[o.Link] = o.To
	case RemoveDetour:
		delete(s.Detours, o.Link)
	case PutSetting:
		s.Settings[o.SettingKey] = o.Value
		if o.SettingKey == ipv6Off(o.Link) && o.Value != "0" {
			forget(s.Neighbours, func(k NeighbourKey, _ MAC) bool { return k.Link == o.Link && k.Address.Is6() })
			forget(s.Addresses, func(k AddressKey, _ bool) bool { return k.Link == o.Link && k.Address.Addr().Is6() })
		}
		if o.Link != "" {
			return need(o.Link)
		}
	default:
		return m.rules(op, s)
	}
	return nil
}

// speaks tells whether a link takes addresses of the family.
func speaks(s Space, link string, a netip.Addr) error {
	if a.Is6() && s.Settings[ipv6Off(link)] != "0" {
		return fmt.Errorf("IPv6 is off on %s", link)
	}
	return nil
}

func (m *model) rules(op Op, s Space) error {
	switch o := op.(type) {
	case PutTable:
		t := o.Table.State()
		for name, e := range t.Sets {
			t.Sets[name] = maps.Clone(e)
		}
		s.Tables[o.Table.TableKey] = t
	case RemoveTable:
		delete(s.Tables, o.TableKey)
	case AddElements:
		set := s.Tables[o.TableKey].Sets[o.Set.Name]
		if set == nil {
			return fmt.Errorf("there is no set %s", o.Set.Name)
		}
		for _, e := range o.Elements {
			if err := clash(o.Set, set, e); err != nil {
				return err
			}
			set[e] = true
		}
	case RemoveElements:
		for _, e := range o.Elements {
			delete(s.Tables[o.TableKey].Sets[o.Set.Name], e)
		}
	case ReplaceElements:
		return errors.Join(
			m.rules(RemoveElements{o.Of, o.TableKey, o.Set, o.Gone}, s),
			m.rules(AddElements{o.Of, o.TableKey, o.Set, o.New}, s))
	default:
		return fmt.Errorf("the model does not know %T", op)
	}
	return nil
}

// clash is what the kernel says of a map's key that has another value, and of
// ranges that overlap.
func clash(t SetType, set map[string]bool, e string) error {
	key, _, _ := strings.Cut(e, " : ")
	for have := range set {
		if k, _, _ := strings.Cut(have, " : "); t.Data != "" && k == key && have != e || t.Interval && have != e && overlap(have, e) {
			return fmt.Errorf("set %s has %s, so %s cannot be put in", t.Name, have, e)
		}
	}
	return nil
}

func overlap(a, b string) bool {
	as, bs := strings.Split(a, " . "), strings.Split(b, " . ")
	for i := range as {
		first, _, _ := strings.Cut(strings.Split(as[i], "/")[0], "-")
		other, _, _ := strings.Cut(strings.Split(bs[i], "/")[0], "-")
		if !covers(bs[i], first) && !covers(as[i], other) {
			return false
		}
	}
	return true
}

func (m *model) putLink(o PutLink) error {
	s, err := m.space(o.Namespace)
	if err != nil {
		return err
	}
	if b := o.Link.Bridge; b != "" {
		if _, ok := s.Links[b]; !ok {
			return fmt.Errorf("there is no bridge %s", b)
		}
	}
	have, there := s.Links[o.Link.Name]
	switch {
	case there && !have.becomes(o.Link):
		return fmt.Errorf("there is another one")
	case !there && o.Namespace != "":
		return fmt.Errorf("the cable is missing")
	case !there && o.Link.Kind == KindCable:
		namespace, link, _ := strings.Cut(o.Link.Peer, "/")
		other, err := m.space(namespace)
		if err != nil {
			return err
		}
		if _, ok := other.Links[link]; ok {
			return fmt.Errorf("there is a link %s in %s", link, namespace)
		}
		other.Links[link] = Link{Name: link, Kind: KindCable, MTU: o.Link.MTU, MAC: MAC{2, 9}, Peer: PeerIn(o.Namespace, o.Link.Name)}
	}
	if there && have.Bridge != o.Link.Bridge {
		m.unplug(s, o.Link.Name)
	}
	if there && o.Link.MAC != (MAC{}) && have.MAC != o.Link.MAC {
		forget(s.Neighbours, func(k NeighbourKey, _ MAC) bool { return k.Link == o.Link.Name })
	}
	l := o.Link
	l.Up = have.Up
	s.Links[l.Name] = l
	return nil
}

func (m *model) unplug(s Space, port string) {
	forget(s.Forwards, func(_ ForwardKey, to string) bool { return to == port })
}

// remove removes a link and what hangs on it.
func (m *model) remove(namespace, name string) {
	s, err := m.space(namespace)
	if err != nil {
		return
	}
	l, ok := s.Links[name]
	if !ok {
		return
	}
	delete(s.Links, name)
	m.unplug(s, name)
	forget(s.Forwards, func(k ForwardKey, _ string) bool { return k.Bridge == name })
	forget(s.Tunnels, func(k TunnelKey, _ netip.Addr) bool { return k.Link == name })
	forget(s.Neighbours, func(k NeighbourKey, _ MAC) bool { return k.Link == name })
	forget(s.Addresses, func(k AddressKey, _ bool) bool { return k.Link == name })
	forget(s.Routes, func(_ netip.Prefix, r Route) bool { return r.Link == name })
	forget(s.Settings, func(k SettingKey, _ string) bool { return k.Link == name })
	forget(s.Rates, func(k string, _ int64) bool { return k == name })
	forget(s.Detours, func(k, _ string) bool { return k == name })
	for k, to := range s.Detours {
		if to == name { // as the kernel has it: what comes is lost
			s.Detours[k] = ""
		}
	}
	for n, other := range s.Links {
		if other.Bridge == name {
			other.Bridge, other.Port = "", BridgePort{}
			s.Links[n] = other
		}
	}
	if peer, link, ok := strings.Cut(l.Peer, "/"); ok {
		m.remove(peer, link)
	}
}

func forget[K comparable, V any](from map[K]V, which func(K, V) bool) {
	maps.DeleteFunc(from, which)
}
