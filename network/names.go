package network

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
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

// Detour is the name of the link by which frames from a port's guest go, where
// they are limited: only what leaves by a link can wait there.
func Detour(port string) string { return "ci" + port[max(0, len(port)-12):] }

func name(prefix string, vni uint32) string { return fmt.Sprintf("%s%06x", prefix, vni) }

// Names of the links in a router's namespace.
const (
	GatewayLink = "gw" // towards the guests
	UplinkLink  = "up" // towards the host, for the way out
)

// NamespaceDir is where named network namespaces are, by custom.
const NamespaceDir = "/run/netns"

// Mark is the alias of every link of ours. A link that has our prefix and not
// the mark is somebody else's.
const Mark = "cairn"

// Group is the group of links of ours. The kernel makes a link with its group,
// but sets the alias in a second step: a link of our prefix and group that has
// no alias is one whose making was interrupted.
const Group = 0xca19

// OwnedLink tells whether a link of the host is ours.
func OwnedLink(name, alias string, group uint32) bool {
	if _, ok := vniOf(name); !ok && !strings.HasPrefix(name, "ct") && !strings.HasPrefix(name, "ci") {
		return false
	}
	return alias == Mark || alias == "" && group == Group
}

// OwnedNamespace tells whether a namespace has a router's name.
func OwnedNamespace(name string) bool {
	vni, ok := digits(name, "cairn-")
	return ok && name == Namespace(vni)
}

// vniOf finds the network of a link that is named for one.
func vniOf(link string) (uint32, bool) {
	for _, prefix := range []string{"cb", "cx", "cg", "cu"} {
		if vni, ok := digits(link, prefix); ok {
			return vni, true
		}
	}
	return 0, false
}

func digits(s, prefix string) (uint32, bool) {
	hex, ok := strings.CutPrefix(s, prefix)
	n, err := strconv.ParseUint(hex, 16, 24)
	return uint32(n), ok && err == nil && len(hex) == 6
}

// GatewayMAC is the gateway's on every host and in every network, so that a
// guest that moves keeps its gateway. It is never sent between hosts.
func GatewayMAC() net.HardwareAddr { return net.HardwareAddr{0x02, 0xca, 0x1a, 0, 0, 0x01} }

func gatewayMAC() MAC { m, _ := macOf(GatewayMAC()); return m }

// GatewayLinkLocal is the router's in every network and on every host: where
// guests send what leaves their subnet, and who advertises itself to them.
func GatewayLinkLocal() netip.Addr { return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: 1}) }

// EUI64 is the address of a MAC in a /64 (RFC 4291, appendix A): the one that a
// guest makes for itself.
func EUI64(p netip.Prefix, mac net.HardwareAddr) netip.Addr {
	a := p.Masked().Addr().As16()
	copy(a[8:], []byte{mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	return netip.AddrFrom16(a)
}

// linkLocal is where link-local addresses are.
var linkLocal = netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80}), 64)

// hostMAC is the source of what this host's routers send to other hosts.
func hostMAC(underlay netip.Addr) MAC {
	m := MAC{0x02, 0xcb}
	if underlay.Is4() {
		a := underlay.As4()
		copy(m[2:], a[:])
	}
	return m
}

// MetadataAddress is where guests ask for their metadata, in every router.
func MetadataAddress() netip.Addr { return netip.AddrFrom4([4]byte{169, 254, 169, 254}) }

// MetadataAddress6 is the same in networks of IPv6, as EC2 has it: fd00:ec2::254.
func MetadataAddress6() netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfd, 2: 0x0e, 3: 0xc2, 14: 0x02, 15: 0x54})
}
