package agent

import (
	"net/netip"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// Underlay is this host's end of the tunnels.
type Underlay struct {
	Address netip.Addr
	MTU     int    // of the interface that holds it
	Uplink  string // the interface on which public addresses are announced
}

// GuestMTU is what guests of a network may send that asks for so much.
func (u Underlay) GuestMTU(asked int) int { return network.GuestMTU(u.MTU, asked) }

func networkDesired(u Underlay, want api.HostDesired) (network.Desired, error) {
	d, err := network.FromHost(u.Address, u.MTU, want)
	d.Uplink = u.Uplink
	return d, err
}

// equalNetworks tells whether two desired networks are the same.
func equalNetworks(a, b network.Desired) bool {
	return digest(a) == digest(b)
}
