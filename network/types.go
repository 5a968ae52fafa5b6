package network

import (
	"net"
	"net/netip"
)

// Desired is what the network of one host must be. It is a value: Plan compares
// it with an Observed and says what to do.
type Desired struct {
	Underlay    netip.Addr               // this host's end of the tunnels
	UnderlayMTU int                      // of the interface that holds it
	Uplink      string                   // the interface on which public addresses are announced
	Networks    []Network                // sorted by VNI
	Groups      map[string]SecurityGroup // by ID: those of ports that are here, or are coming
}

// Network is a network that has a local port.
type Network struct {
	ID      string
	VNI     uint32
	MTU     int // of guests, in bytes; already made to fit the underlay
	Subnets []Subnet
	Ports   []Port // every placed port of the network, local and remote; sorted by ID
	Public  []Public
	Closed  bool // it has no way out
	Routes  []StaticRoute
}

// StaticRoute sends what is for a range to a port of the network, which may send
// from there.
type StaticRoute struct {
	To  netip.Prefix
	Via netip.Addr
}

// Public is an address outside by which a local port is reached.
type Public struct {
	Address netip.Addr
	Inside  netip.Addr // of the port
}

// Subnet is a subnet of a Network.
type Subnet struct {
	ID         string
	CIDR       netip.Prefix
	Gateway    netip.Addr
	DNSServers []netip.Addr
}

// Port is a NIC somewhere in the network.
type Port struct {
	ID        string
	MAC       net.HardwareAddr
	Addresses []netip.Addr // of its network's subnets
	Groups    []string     // IDs of its security groups
	Local     bool
	Underlay  netip.Addr // of its host; not valid for a local port
	// Tap: a port that is not local has its tap here already, or still, because its
	// instance is coming or going.
	Tap bool
	// Leaving: its instance has just left. Frames that still come here are sent on
	// after it, through the tunnel that they came by.
	Leaving bool
	// Also is another host from which the port may send: the one where its
	// instance is going.
	Also     netip.Addr
	Instance string
	Hostname string
	Limits   Limits // of its tap, if it has one here
}

// Limits is how much may pass a port, in bytes of frames a second; 0 is no limit.
type Limits struct{ ToGuest, FromGuest int64 }

// Megabit is a megabit a second, in bytes a second.
const Megabit = 1_000_000 / 8
