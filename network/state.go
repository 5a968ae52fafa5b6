package network

import (
	"net"
	"net/netip"
)

// State is a host's network, as far as it is ours.
type State struct {
	Host    Space
	Routers map[string]Space // by name of their namespace
}

// Observed is what there is on a host.
type Observed struct {
	State
	// Taken are the addresses and routes of others within TransitRange.
	Taken []netip.Prefix
	// ForwardingWasOff: the host forwards because of us, and shall not afterwards.
	ForwardingWasOff bool
	// Unjudged: there may be connections that the groups of their ports allow no more.
	Unjudged bool
	// Were are settings of the host's that were changed for us, as they were before.
	Were map[SettingKey]string
}

// Space is what there is in a network namespace.
type Space struct {
	Links      map[string]Link
	Forwards   map[ForwardKey]string    // forwarding entries of bridges: to which port
	Tunnels    map[TunnelKey]netip.Addr // forwarding entries of VXLAN devices: to which host
	Neighbours map[NeighbourKey]MAC     // permanent ones
	Proxies    map[NeighbourKey]bool    // addresses of others that are answered for
	Addresses  map[AddressKey]bool
	Routes     map[netip.Prefix]Route // but those that the kernel makes for addresses
	Settings   map[SettingKey]string
	Tables     map[TableKey]TableState
	Rates      map[string]int64  // by link: how much may leave by it, in bytes a second; 0: something else holds it up; or NoQueue
	Detours    map[string]string // by link: where all goes that comes by it; empty: something else is done with it
}

// NoQueue is the rate of a link by which all leaves at once because somebody has
// said so: libvirt does, of each tap, when it starts a guest on it.
const NoQueue = -1

// NewSpace returns an empty one.
func NewSpace() Space {
	return Space{
		Links: map[string]Link{}, Forwards: map[ForwardKey]string{}, Tunnels: map[TunnelKey]netip.Addr{},
		Neighbours: map[NeighbourKey]MAC{}, Proxies: map[NeighbourKey]bool{}, Addresses: map[AddressKey]bool{}, Routes: map[netip.Prefix]Route{},
		Settings: map[SettingKey]string{}, Tables: map[TableKey]TableState{}, Rates: map[string]int64{}, Detours: map[string]string{},
	}
}

// MAC is an Ethernet address that can be compared.
type MAC [6]byte

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// macOf makes a MAC; false when it is none that a NIC may have.
func macOf(a net.HardwareAddr) (MAC, bool) {
	var m MAC
	copy(m[:], a)
	return m, len(a) == len(m) && m != MAC{} && m[0]&1 == 0
}

// Kind is a kind of link, in the kernel's word.
type Kind string

// The kinds of links that we make, and the one that comes with a namespace.
const (
	KindBridge   Kind = "bridge"
	KindVXLAN    Kind = "vxlan"
	KindTap      Kind = "tun"
	KindCable    Kind = "veth"
	KindDetour   Kind = "ifb"
	KindLoopback Kind = "loopback"
)

// Link is a network device.
type Link struct {
	Name     string
	Kind     Kind
	Alias    string     // Mark, once it is made whole
	MTU      int        // bytes; wanted zero: whatever it has
	MAC      MAC        // wanted zero: whatever it has
	Up       bool       // switched on
	Bridge   string     // that it is a port of
	Port     BridgePort // how it is one
	Snooping bool       // of multicast, by a bridge
	Group    uint16     // a bridge's: which group addresses of 802.1D it forwards, as any other frame
	Filtered bool       // what a bridge passes on comes by the rules of the host's IP, whatever the host's sysctls say
	Tunnel   Tunnel
	Peer     string // the other end of a cable, as PeerIn writes it
}

// BridgePort says how a bridge treats a port.
type BridgePort struct {
	Learning bool // from the source of frames
	Flood    bool // frames for a MAC that it does not know
	Hairpin  bool // frames may leave by it that came by it
}

// Tunnel is what cannot be changed on a VXLAN device once it is made.
type Tunnel struct {
	VNI      uint32
	Local    netip.Addr
	Port     int // UDP
	Learning bool
	Proxy    bool // answers ARP from the device's neighbours, and lets none through
}

// VXLANPort is the UDP port of the tunnels (RFC 7348).
const VXLANPort = 4789

// PeerIn writes where the other end of a cable is: the name of a router's
// namespace, or "" for the host's own, and the name of the link there.
func PeerIn(namespace, link string) string { return namespace + "/" + link }

// ForwardKey is a bridge's forwarding entry.
type ForwardKey struct {
	Bridge string
	MAC    MAC
}

// TunnelKey is a VXLAN device's forwarding entry.
type TunnelKey struct {
	Link string
	MAC  MAC
}

// NeighbourKey is who is asked for on a link.
type NeighbourKey struct {
	Link    string
	Address netip.Addr
}

// AddressKey is an address of a link, with its network's length.
type AddressKey struct {
	Link    string
	Address netip.Prefix
}

// Route is where packets go.
type Route struct {
	Link   string
	Via    netip.Addr
	Source netip.Addr // of what this machine itself sends; not valid: the kernel's choice
}

// SettingKey is a sysctl: its file under /proc/sys, and the link that it is
// about and comes and goes with.
type SettingKey struct {
	File string
	Link string
}

// TableKey names a table of nftables.
type TableKey struct {
	Family Family
	Name   string
}

// TableState is a table by what it does and what its sets hold.
type TableState struct {
	// Skeleton is what Table.Skeleton returns: everything but elements.
	Skeleton string
	Sets     map[string]map[string]bool
}
