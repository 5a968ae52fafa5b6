package network

import "net/netip"

// State is what is ours on a host: what is observed, and also what is to be.
type State struct {
	Forwarding bool // the host routes
	Links      map[string]Link
	FDB        map[FDBEntry]bool
	Neighbours map[Neighbour]bool // permanent, on VXLAN devices
	Routers    map[uint32]Router  // by VNI
	Rules      HostRules
}

// Set is a set.
type Set[K comparable] map[K]bool

// LinkKind says what a link of ours is for.
type LinkKind string

// The kinds of links on the host.
const (
	KindBridge  LinkKind = "bridge"
	KindVXLAN   LinkKind = "tunnel"
	KindTap     LinkKind = "tap"
	KindGateway LinkKind = "gateway cable"
	KindUplink  LinkKind = "uplink cable"
)

// Link is a link on the host.
type Link struct {
	Kind    LinkKind
	VNI     uint32     // but of a tap, whose network its bridge tells
	Local   netip.Addr // a tunnel's end on this host
	MTU     int
	Master  string // the bridge that it is a port of
	Up      bool
	Guarded bool         // nothing is learnt on it or flooded to it, and it has no IPv6
	Address netip.Prefix // an uplink cable's, on the host
}

// made is what cannot be changed of a link once it is made.
func (l Link) made() Link { return Link{Kind: l.Kind, VNI: l.VNI, Local: l.Local} }

// FDBEntry says where a MAC is: behind a port of a bridge, or at another host.
type FDBEntry struct {
	Link string
	MAC  [6]byte
	Host netip.Addr // of a VXLAN device's entry
}

// Neighbour says whose an address is.
type Neighbour struct {
	Link    string
	Address netip.Addr
	MAC     [6]byte
}

// PortRule is what a tap may send as.
type PortRule struct {
	Tap     string
	MAC     [6]byte
	Address netip.Addr
}

// HostRules are the host's tables.
type HostRules struct {
	Whole bool // all of the fixed rules are there
	Ports Set[PortRule]
}

// Router is what is in a router's namespace.
type Router struct {
	Forwarding bool
	Up         bool // both of its links are, and have the MACs they must have
	MTU        int
	Rules      bool                 // all of its rules are there
	Addresses  [2]Set[netip.Prefix] // of GatewayLink and of UplinkLink
	Neighbours Set[Neighbour]       // permanent
	Default    netip.Addr           // where packets to elsewhere go
}
