package network

import (
	"fmt"
	"net"
	"net/netip"
)

// Names of what a network has on a host. Every one begins with a prefix of
// ours; nothing else is ever touched. An identifier of 24 bits is six digits of
// hexadecimal, so that a link's name stays within the kernel's 15 bytes.

// Bridge is the name of a network's bridge, which holds its taps.
func Bridge(vni uint32) string { return name("cb", vni) }

// VXLAN is the name of a network's tunnel device.
func VXLAN(vni uint32) string { return name("cx", vni) }

// GatewayCable is the bridge's end of the cable to the router; the other end is GatewayLink.
func GatewayCable(vni uint32) string { return name("cg", vni) }

// UplinkCable is the host's end of the cable to the router; the other end is UplinkLink.
func UplinkCable(vni uint32) string { return name("cu", vni) }

// Namespace is the name of the network namespace that is a network's router.
func Namespace(vni uint32) string { return name("cairn-", vni) }

// Tap is the name of a port's tap: the cable of one guest's NIC.
func Tap(port string) string { return "ct" + port[max(0, len(port)-12):] }

func name(prefix string, vni uint32) string { return fmt.Sprintf("%s%06x", prefix, vni) }

// Names of the links in a router's namespace.
const (
	GatewayLink = "gw" // towards the guests
	UplinkLink  = "up" // towards the host, for the way out
)

// NamespaceDir is where named network namespaces are, by custom.
const NamespaceDir = "/run/netns"

// GatewayMAC is the gateway's on every host and in every network, so that a
// guest that moves keeps its gateway. It is never sent between hosts.
func GatewayMAC() net.HardwareAddr { return net.HardwareAddr{0x02, 0xca, 0x19, 0, 0, 0x01} }

// MetadataAddress is where guests ask for their metadata, in every router.
func MetadataAddress() netip.Addr { return netip.AddrFrom4([4]byte{169, 254, 169, 254}) }
