package guest

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// A view is all that the servers of one network answer from. It is made whole
// and never changed.
type view struct {
	network string
	byMAC   map[mac]nic
	byAddr  map[netip.Addr]guest
	zone    *zone
}

type mac [6]byte

// guest is an instance as it is told about itself.
type guest struct {
	known    bool // the instance is to be on this host; without it there is only a port
	instance api.HostInstance
	nics     []nic // in the guest's order
	tree     func() (*node, error)
}

// nic is a port as its guest sees it.
type nic struct {
	port    api.HostPort
	mac     mac
	network api.HostNetwork
	// Its addresses, those of IPv4 first; the first is the one that DHCP leases, and
	// its gateway is the way to all else.
	addresses []address
	mtu       int
	routes    []route
}

// address is one of a NIC, with its subnet.
type address struct {
	netip.Addr
	id     string // of the subnet
	subnet api.HostSubnet
}

func (n nic) address() netip.Addr    { return n.addresses[0].Addr }
func (n nic) subnet() api.HostSubnet { return n.addresses[0].subnet }

// route is a way that a NIC gives, through its subnet's gateway.
type route struct {
	to  netip.Prefix
	via netip.Addr
}

// nameServers are whom the guest asks: where its subnets name none, its gateways.
func (n nic) nameServers() (out []netip.Addr) {
	add := func(servers ...netip.Addr) {
		for _, s := range servers {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	for _, a := range n.addresses {
		add(a.subnet.DNSServers...)
	}
	if len(out) > 0 {
		return out
	}
	for _, a := range n.addresses {
		add(a.subnet.Gateway)
	}
	return out
}

func (m mac) String() string { return net.HardwareAddr(m[:]).String() }

// buildViews sorts the local ports by network (VNI). A port that cannot be
// served is left out, and bad says why.
func buildViews(want api.HostDesired, u agent.Underlay) (views map[uint32]*view, bad []string) {
	views = map[uint32]*view{}
	zones := buildZones(want)
	guests := map[string]guest{}
	for _, id := range slices.Sorted(maps.Keys(want.Ports)) {
		p := want.Ports[id]
		if !p.Local {
			continue
		}
		n, err := nicOf(want, u, id)
		if err != nil {
			bad = append(bad, err.Error())
			continue
		}
		g, ok := guests[p.Instance]
		if !ok {
			g = guestOf(want, u, p.Instance)
			guests[p.Instance] = g
		}
		n.routes = []route{defaultRoute(n), metadataRoute(n)} // of a port alone
		for _, of := range g.nics {
			if of.port.ID == id {
				n.routes = of.routes
			}
		}
		v := views[n.network.VNI]
		if v == nil {
			v = &view{network: p.Network, byMAC: map[mac]nic{}, byAddr: map[netip.Addr]guest{}, zone: zones[p.Network]}
			views[n.network.VNI] = v
		}
		v.byMAC[n.mac] = n
		for _, a := range n.addresses {
			v.byAddr[a.Addr] = g
		}
	}
	return views, bad
}

// guestOf gathers what an instance is to know of itself.
func guestOf(want api.HostDesired, u agent.Underlay, instance string) guest {
	i, known := want.Instances[instance]
	g := guest{known: known, instance: i}
	for _, id := range i.Ports {
		if n, err := nicOf(want, u, id); err == nil {
			g.nics = append(g.nics, n)
		}
	}
	for at := range g.nics {
		g.nics[at].routes = routesOf(g.nics, at)
	}
	of := g
	g.tree = sync.OnceValues(func() (*node, error) { return treeOf(of) }) // most never ask again
	return g
}

func nicOf(want api.HostDesired, u agent.Underlay, port string) (nic, error) {
	p, ok := want.Ports[port]
	if !ok {
		return nic{}, fmt.Errorf("port %s is not known yet", port)
	}
	hw, err := net.ParseMAC(p.MAC)
	if err != nil || len(hw) != len(mac{}) || hw[0]&1 != 0 {
		return nic{}, fmt.Errorf("port %s: %q is not the MAC of a NIC", port, p.MAC)
	}
	n := nic{port: p, mac: mac(hw), network: want.Networks[p.Network]}
	n.mtu = max(0, u.GuestMTU(n.network.MTU))
	for _, a := range p.Addresses {
		s, ok := n.network.Subnets[a.Subnet]
		if !ok {
			return nic{}, fmt.Errorf("port %s: its subnet %s in network %s is not known yet", port, a.Subnet, p.Network)
		}
		if !s.CIDR.Contains(a.Address) || !s.CIDR.Contains(s.Gateway) {
			return nic{}, fmt.Errorf("port %s: address %s and gateway %s are not both of the subnet %s", port, a.Address, s.Gateway, s.CIDR)
		}
		n.addresses = append(n.addresses, address{a.Address, a.Subnet, s})
	}
	slices.SortStableFunc(n.addresses, func(a, b address) int { return a.BitLen() - b.BitLen() })
	if len(n.addresses) == 0 || !n.address().Is4() {
		return nic{}, fmt.Errorf("port %s has no IPv4 address", port)
	}
	return n, nil
}

// gateway6 is the gateway of its first IPv6 address, if it has one.
func (n nic) gateway6() netip.Addr {
	for _, a := range n.addresses {
		if a.Is6() {
			return a.subnet.Gateway
		}
	}
	return netip.Addr{}
}

// routesOf are the ways through one of a guest's NICs. Only the first leads out
// and to the metadata: two default routes would be a lottery. The others lead to
// the rest of their own network, unless a NIC before does so. IPv6 leads nowhere
// else, also by the first.
func routesOf(nics []nic, at int) []route {
	n := nics[at]
	direct := map[string]bool{}
	for i, other := range nics {
		if i < at && other.network.ID == n.network.ID {
			return nil
		}
		for _, a := range other.addresses {
			direct[a.id] = true
		}
	}
	var out []route
	if at == 0 {
		out = []route{defaultRoute(n), metadataRoute(n)}
	}
	via6 := n.gateway6()
	for _, id := range slices.Sorted(maps.Keys(n.network.Subnets)) {
		switch s := n.network.Subnets[id]; {
		case direct[id] || !s.CIDR.IsValid():
		case s.CIDR.Addr().Is4() && at > 0:
			out = append(out, route{s.CIDR.Masked(), n.subnet().Gateway})
		case s.CIDR.Addr().Is6() && via6.IsValid():
			out = append(out, route{s.CIDR.Masked(), via6})
		}
	}
	for _, r := range n.network.Routes {
		switch d := r.Destination; {
		case d.Addr().Is4() && at > 0 && d.Bits() > 0:
			out = append(out, route{d, n.subnet().Gateway})
		case d.Addr().Is6() && via6.IsValid():
			out = append(out, route{d, via6})
		}
	}
	return out
}

func defaultRoute(n nic) route {
	return route{netip.PrefixFrom(netip.IPv4Unspecified(), 0), n.subnet().Gateway}
}

func metadataRoute(n nic) route {
	return route{netip.PrefixFrom(network.MetadataAddress(), 32), n.subnet().Gateway}
}
