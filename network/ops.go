package network

import (
	"fmt"
	"net"
	"net/netip"
)

// Op is one step from what is to what should be. It leaves no choice to its
// execution, and carrying it out a second time changes nothing.
type Op interface{ String() string }

type (
	// AllowForwarding lets the host route. It is never taken back: others may
	// have come to need it.
	AllowForwarding struct{}
	// MakeRules makes the host's fixed rules anew, with these ports in their
	// sets, in one transaction.
	MakeRules struct{ Ports []PortRule }
	// ChangeRules changes the sets of the rules.
	ChangeRules struct{ Add, Delete []PortRule }
	// RemoveRules removes the host's rules.
	RemoveRules struct{}
	// AddLink makes a link, down and with no address. A cable's other end comes
	// with it.
	AddLink struct {
		Name string
		Link Link
	}
	// SetLink gives a link that exists all that it is to be, but not up.
	SetLink struct {
		Name string
		Link Link
	}
	// SetUp switches a link on.
	SetUp struct{ Name string }
	// DeleteLink removes a link, and with it what was said of it.
	DeleteLink struct{ Name string }
	// AddFDB says where a MAC is.
	AddFDB struct{ Entry FDBEntry }
	// DeleteFDB takes that back.
	DeleteFDB struct{ Entry FDBEntry }
	// AddNeighbour says whose an address is.
	AddNeighbour struct{ Entry Neighbour }
	// DeleteNeighbour takes that back.
	DeleteNeighbour struct{ Entry Neighbour }
	// AddRouter makes a router's namespace, empty.
	AddRouter struct{ VNI uint32 }
	// SetRouter changes what is in a router. It has its links.
	SetRouter struct {
		VNI             uint32
		Want            Router
		AddAddresses    [2][]netip.Prefix // of GatewayLink and of UplinkLink
		DeleteAddresses [2][]netip.Prefix
		AddNeighbours   []Neighbour
		DelNeighbours   []Neighbour
	}
	// MakeRouterRules makes a router's rules anew, in one transaction.
	MakeRouterRules struct{ VNI uint32 }
	// DeleteRouter removes a router, and with it its links.
	DeleteRouter struct{ VNI uint32 }
)

func (o AllowForwarding) String() string { return "let the host route" }
func (o MakeRules) String() string       { return fmt.Sprintf("make the rules, for %d ports", len(o.Ports)) }
func (o RemoveRules) String() string     { return "remove the rules" }
func (o ChangeRules) String() string {
	return fmt.Sprintf("rules: %d ports more, %d less", len(o.Add), len(o.Delete))
}
func (o AddLink) String() string    { return fmt.Sprintf("add the %s %s", o.Link.Kind, o.Name) }
func (o SetLink) String() string    { return fmt.Sprintf("set the %s %s", o.Link.Kind, o.Name) }
func (o SetUp) String() string      { return "switch on " + o.Name }
func (o DeleteLink) String() string { return "delete " + o.Name }
func (o AddFDB) String() string     { return "add " + o.Entry.String() }
func (o DeleteFDB) String() string  { return "delete " + o.Entry.String() }
func (o AddNeighbour) String() string {
	return "add " + o.Entry.String()
}
func (o DeleteNeighbour) String() string { return "delete " + o.Entry.String() }
func (o AddRouter) String() string       { return "add the router " + Namespace(o.VNI) }
func (o SetRouter) String() string {
	return fmt.Sprintf("set the router %s: %d addresses and %d neighbours more, %d and %d less", Namespace(o.VNI),
		len(o.AddAddresses[0])+len(o.AddAddresses[1]), len(o.AddNeighbours), len(o.DeleteAddresses[0])+len(o.DeleteAddresses[1]), len(o.DelNeighbours))
}
func (o MakeRouterRules) String() string { return "make the rules of the router " + Namespace(o.VNI) }
func (o DeleteRouter) String() string    { return "delete the router " + Namespace(o.VNI) }

func (e FDBEntry) String() string {
	mac := net.HardwareAddr(e.MAC[:])
	if !e.Host.IsValid() {
		return fmt.Sprintf("%s is at %s", mac, e.Link)
	}
	return fmt.Sprintf("%s is at host %s (%s)", mac, e.Host, e.Link)
}

func (e Neighbour) String() string {
	return fmt.Sprintf("%s is %s (%s)", e.Address, net.HardwareAddr(e.MAC[:]), e.Link)
}
