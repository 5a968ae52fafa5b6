package network

import (
	"fmt"
	"net/netip"
)

// Op is one step on a host. It may be done again, and whatever comes after it
// may fail: the next Plan goes on from there. The list of its kinds is closed.
type Op interface {
	fmt.Stringer
	// Subject groups ops that stand and fall together: 0 is the host, which
	// comes before all, and anything else is a network's VNI.
	Subject() uint32
}

// Of says where an op is done.
type Of struct {
	VNI       uint32
	Namespace string // of a router; empty for the host's own
}

// Subject implements Op.
func (o Of) Subject() uint32 { return o.VNI }

// Router is the namespace that the op is done in; empty for the host's own.
func (o Of) Router() string { return o.Namespace }

func (o Of) String() string {
	if o.Namespace == "" {
		return "host"
	}
	return o.Namespace
}

type (
	// AddNamespace makes a router's namespace.
	AddNamespace struct{ Of }
	// RemoveNamespace removes it, with what is in it.
	RemoveNamespace struct{ Of }
	// PutLink makes a link, or makes it what it is to be; switched off if it is new.
	PutLink struct {
		Of
		Link Link
	}
	// RemoveLink removes a link, and a cable's other end with it.
	RemoveLink struct {
		Of
		Name string
	}
	// SwitchOn lets a link pass packets.
	SwitchOn struct {
		Of
		Name string
	}
	// PutForward sets a bridge's forwarding entry.
	PutForward struct {
		Of
		ForwardKey
		To string // a port of the bridge
	}
	// RemoveForward removes it.
	RemoveForward struct {
		Of
		ForwardKey
		To string
	}
	// PutTunnel sets a VXLAN device's forwarding entry.
	PutTunnel struct {
		Of
		TunnelKey
		Host netip.Addr
	}
	// RemoveTunnel removes it.
	RemoveTunnel struct {
		Of
		TunnelKey
	}
	// PutNeighbour sets a permanent neighbour.
	PutNeighbour struct {
		Of
		NeighbourKey
		MAC MAC
	}
	// RemoveNeighbour removes it.
	RemoveNeighbour struct {
		Of
		NeighbourKey
	}
	// PutProxy answers for an address on a link.
	PutProxy struct {
		Of
		NeighbourKey
	}
	// RemoveProxy answers for it no more.
	RemoveProxy struct {
		Of
		NeighbourKey
	}
	// Announce tells all on a link that an address is here from now on.
	Announce struct {
		Of
		NeighbourKey
	}
	// ForgetConnections ends what is tracked of an address.
	ForgetConnections struct {
		Of
		Address netip.Addr
	}
	// AddAddress gives a link an address.
	AddAddress struct {
		Of
		AddressKey
	}
	// RemoveAddress takes it away.
	RemoveAddress struct {
		Of
		AddressKey
	}
	// PutRoute sets the route to a destination.
	PutRoute struct {
		Of
		To    netip.Prefix
		Route Route
	}
	// RemoveRoute removes it.
	RemoveRoute struct {
		Of
		To    netip.Prefix
		Route Route
	}
	// PutRate limits what leaves by a link.
	PutRate struct {
		Of
		Link string
		Rate int64 // bytes a second
	}
	// RemoveRate limits it no more.
	RemoveRate struct {
		Of
		Link string
	}
	// PutDetour sends all that comes by a link out by another, after which it goes
	// on as if it came by the first.
	PutDetour struct {
		Of
		Link string
		To   string
	}
	// RemoveDetour does so no more.
	RemoveDetour struct {
		Of
		Link string
	}
	// PutSetting writes a sysctl.
	PutSetting struct {
		Of
		SettingKey
		Value string
	}
	// PutTable makes a table of rules anew, in one transaction.
	PutTable struct {
		Of
		Table Table
	}
	// RemoveTable removes it.
	RemoveTable struct {
		Of
		TableKey
	}
	// AddElements puts elements into a set of a table.
	AddElements struct {
		Of
		TableKey
		Set      SetType
		Elements []string
	}
	// RemoveElements takes them out.
	RemoveElements struct {
		Of
		TableKey
		Set      SetType
		Elements []string
	}
	// ReplaceElements takes some out and puts others in, in one step.
	ReplaceElements struct {
		Of
		TableKey
		Set  SetType
		Gone []string
		New  []string
	}
	// EndConnections ends those that the groups of their ports allow no more.
	EndConnections struct {
		Of
		Judge *Judge
	}
)

func (o AddNamespace) String() string    { return o.Of.String() + ": make the namespace" }
func (o RemoveNamespace) String() string { return o.Of.String() + ": remove the namespace" }
func (o RemoveLink) String() string      { return fmt.Sprintf("%s: remove link %s", o.Of, o.Name) }
func (o SwitchOn) String() string        { return fmt.Sprintf("%s: switch on %s", o.Of, o.Name) }

func (o PutLink) String() string {
	k := o.Link
	s := fmt.Sprintf("%s: put %s %s mtu %d", o.Of, k.Kind, k.Name, k.MTU)
	if k.MAC != (MAC{}) {
		s += " mac " + k.MAC.String()
	}
	if k.Tunnel != (Tunnel{}) {
		s += fmt.Sprintf(" vni %d local %s", k.Tunnel.VNI, k.Tunnel.Local)
	}
	if k.Bridge != "" {
		s += " on " + k.Bridge
	}
	if k.Peer != "" {
		s += " to " + k.Peer
	}
	return s
}

func (o PutForward) String() string {
	return fmt.Sprintf("%s: forward %s to %s on %s", o.Of, o.MAC, o.To, o.Bridge)
}

func (o RemoveForward) String() string {
	return fmt.Sprintf("%s: forward %s no more on %s", o.Of, o.MAC, o.Bridge)
}

func (o PutTunnel) String() string {
	return fmt.Sprintf("%s: tunnel %s to %s by %s", o.Of, o.MAC, o.Host, o.Link)
}

func (o RemoveTunnel) String() string {
	return fmt.Sprintf("%s: tunnel %s no more by %s", o.Of, o.MAC, o.Link)
}

func (o PutNeighbour) String() string {
	return fmt.Sprintf("%s: neighbour %s is %s on %s", o.Of, o.Address, o.MAC, o.Link)
}

func (o RemoveNeighbour) String() string {
	return fmt.Sprintf("%s: no neighbour %s on %s", o.Of, o.Address, o.Link)
}

func (o PutProxy) String() string {
	return fmt.Sprintf("%s: answer for %s on %s", o.Of, o.Address, o.Link)
}

func (o RemoveProxy) String() string {
	return fmt.Sprintf("%s: answer for %s no more on %s", o.Of, o.Address, o.Link)
}

func (o Announce) String() string {
	return fmt.Sprintf("%s: announce %s on %s", o.Of, o.Address, o.Link)
}

func (o ForgetConnections) String() string {
	return fmt.Sprintf("%s: forget connections of %s", o.Of, o.Address)
}

func (o AddAddress) String() string {
	return fmt.Sprintf("%s: add address %s to %s", o.Of, o.Address, o.Link)
}

func (o RemoveAddress) String() string {
	return fmt.Sprintf("%s: remove address %s from %s", o.Of, o.Address, o.Link)
}

func (o PutRoute) String() string {
	return fmt.Sprintf("%s: route %s by %s on %s", o.Of, o.To, o.Route.Via, o.Route.Link)
}

func (o PutRate) String() string {
	return fmt.Sprintf("%s: limit %s to %s", o.Of, o.Link, rateText(o.Rate))
}

func (o RemoveRate) String() string { return fmt.Sprintf("%s: limit %s no more", o.Of, o.Link) }

func (o PutDetour) String() string {
	return fmt.Sprintf("%s: send what comes by %s by %s", o.Of, o.Link, o.To)
}

func (o RemoveDetour) String() string {
	return fmt.Sprintf("%s: send what comes by %s by no other", o.Of, o.Link)
}

// rateText writes bytes a second as people say it.
func rateText(rate int64) string { return fmt.Sprintf("%g Mbit/s", float64(rate)/Megabit) }

func (o RemoveRoute) String() string { return fmt.Sprintf("%s: no route %s", o.Of, o.To) }
func (o PutSetting) String() string  { return fmt.Sprintf("%s: set %s to %s", o.Of, o.File, o.Value) }

func (o PutTable) String() string {
	return fmt.Sprintf("%s: put table %s %s", o.Of, o.Table.Family, o.Table.Name)
}

func (o RemoveTable) String() string {
	return fmt.Sprintf("%s: remove table %s %s", o.Of, o.Family, o.Name)
}

func (o AddElements) String() string {
	return fmt.Sprintf("%s: add to set %s of table %s %s: %s", o.Of, o.Set.Name, o.Family, o.Name, some(o.Elements))
}

func (o RemoveElements) String() string {
	return fmt.Sprintf("%s: remove from set %s of table %s %s: %s", o.Of, o.Set.Name, o.Family, o.Name, some(o.Elements))
}

func (o ReplaceElements) String() string {
	return fmt.Sprintf("%s: replace in set %s of table %s %s: %s by %s", o.Of, o.Set.Name, o.Family, o.Name, some(o.Gone), some(o.New))
}

func (o EndConnections) String() string {
	return o.Of.String() + ": end connections that are not allowed any more"
}

// some writes out what is few, and counts what is many.
func some(elements []string) string {
	const few = 4
	if len(elements) > few {
		return fmt.Sprintf("%s and %d more", elements[0], len(elements)-1)
	}
	s := ""
	for i, e := range elements {
		if i > 0 {
			s += ", "
		}
		s += e
	}
	return s
}

// Summary says in words what ops come to: what is many of a kind is counted.
func Summary(ops []Op) []string {
	const few = 3
	var out []string
	for i := 0; i < len(ops); {
		j := i
		for j < len(ops) && sameKind(ops[i], ops[j]) {
			j++
		}
		for k := i; k < j; k++ {
			if j-i > few && k == i+1 {
				out = append(out, fmt.Sprintf("… and %d more like it", j-i-1))
				break
			}
			out = append(out, ops[k].String())
		}
		i = j
	}
	return out
}

func sameKind(a, b Op) bool { return fmt.Sprintf("%T", a) == fmt.Sprintf("%T", b) }
