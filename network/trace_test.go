package network

import (
	"net/netip"
	"strings"
	"testing"
)

// rooms are two hosts of the network blue.
func rooms() map[string]Desired {
	one, two := blue(), blue()
	two.Underlay = netip.MustParseAddr("192.0.2.2")
	ports := two.Networks[0].Ports
	ports[0].Local, ports[0].Underlay = false, one.Underlay
	ports[1].Local, ports[1].Underlay = true, netip.Addr{}
	return map[string]Desired{"one": one, "two": two}
}

// public gives each of the two ports a public address.
func public(h map[string]Desired) {
	a := netip.MustParseAddr
	h["one"].Networks[0].Public = []Public{{a("203.0.113.20"), a("10.0.1.10")}}
	h["two"].Networks[0].Public = []Public{{a("203.0.113.21"), a("10.0.2.10")}}
}

// closed takes the way out from the network, on both hosts.
func closed(h map[string]Desired) {
	for _, d := range h {
		d.Networks[0].Closed = true
	}
}

// web lets the other host's port be reached on one port, and no ping.
func web(h map[string]Desired) {
	for _, d := range h {
		d.Networks[0].Ports[1].Groups = []string{"sgr_web"}
		d.Groups["sgr_web"] = SecurityGroup{Rules: []SecurityRule{{Egress: true, Protocols: AllProtocols, Details: AllDetails}, {Protocols: Range{6, 6}, Details: Range{80, 443}, CIDR: netip.MustParsePrefix("10.0.0.0/8")}}}
	}
}

// routed has a range behind the other host's port, which its own group lets in.
func routed(h map[string]Desired) {
	for _, d := range h {
		d.Networks[0].Routes = []StaticRoute{{netip.MustParsePrefix("172.16.0.0/12"), netip.MustParseAddr("10.0.2.10")}}
	}
}

// mute has no groups.
func mute(h map[string]Desired) {
	for _, d := range h {
		d.Networks[0].Ports[0].Groups = nil
	}
}

func TestTrace_golden(t *testing.T) {
	a := netip.MustParseAddr
	for _, c := range []struct {
		name   string
		packet Packet
		change func(map[string]Desired)
	}{
		{"to another subnet", Packet{a("10.0.2.10"), TCP, 443}, nil},
		{"to the world", Packet{a("203.0.113.1"), TCP, 443}, nil},
		{"to the world from a closed network", Packet{a("203.0.113.1"), TCP, 443}, closed},
		{"to another subnet of a closed network", Packet{a("10.0.2.10"), TCP, 443}, closed},
		{"to a port that is allowed", Packet{a("10.0.2.10"), TCP, 443}, web},
		{"to a port that is not", Packet{a("10.0.2.10"), TCP, 22}, web},
		{"from who may send nothing", Packet{a("10.0.2.10"), TCP, 443}, mute},
		{"from who may send nothing to its router", Packet{a("10.0.1.1"), Ping, 0}, mute},
		{"to a range behind a port", Packet{a("172.16.9.9"), TCP, 443}, routed},
		{"to the gateway", Packet{a("10.0.1.1"), Ping, 0}, nil},
		{"to the metadata", Packet{a("169.254.169.254"), TCP, 80}, nil},
		{"to the host", Packet{a("192.0.2.1"), TCP, 22}, nil},
		{"to another host", Packet{a("192.0.2.2"), TCP, 22}, nil},
		{"to a tunnel", Packet{a("203.0.113.1"), UDP, VXLANPort}, nil},
		{"as a DHCP server", Packet{a("10.0.2.10"), UDP, 68}, nil},
		{"to nobody", Packet{a("10.0.1.99"), Ping, 0}, nil},
		{"to nobody in another subnet", Packet{a("10.0.2.99"), Ping, 0}, nil},
		{"to a host without the network", Packet{a("10.0.2.10"), Ping, 0}, func(h map[string]Desired) { d := h["two"]; d.Networks = nil; h["two"] = d }},
		{"to the world by a public address", Packet{a("203.0.113.1"), TCP, 443}, public},
		{"to its own public address", Packet{a("203.0.113.20"), Ping, 0}, public},
		{"to a public address of the other host", Packet{a("203.0.113.21"), TCP, 443}, public},
	} {
		hosts := rooms()
		if c.change != nil {
			c.change(hosts)
		}
		way := Trace(func(underlay netip.Addr) (string, Desired, bool) {
			for name, d := range hosts {
				if d.Underlay == underlay {
					return name, d, true
				}
			}
			return "", Desired{}, false
		}, netip.MustParseAddr("192.0.2.1"), "prt_aaaaaaaaaaaa", c.packet)
		var s strings.Builder
		for _, h := range way.Hops {
			s.WriteString(h.String() + "\n")
		}
		s.WriteString(map[bool]string{true: "passes", false: "dropped"}[way.Passes] + ": " + way.End + "\n")
		golden(t, "trace-"+strings.ReplaceAll(c.name, " ", "-"), s.String())
	}
}
