package agent

import (
	"context"
	"fmt"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// ApplyNetwork makes the host's network match.
type ApplyNetwork struct{ Want network.Desired }

// Do implements Action.
func (a ApplyNetwork) Do(ctx context.Context, d Drivers) error {
	_, err := d.Network.Apply(ctx, a.Want)
	return err
}

func (a ApplyNetwork) String() string {
	ports, local := 0, 0
	for _, n := range a.Want.Networks {
		for _, p := range n.Ports {
			ports++
			if p.Local {
				local++
			}
		}
	}
	return fmt.Sprintf("host: apply network: %d networks, %d ports, %d of them here", len(a.Want.Networks), ports, local)
}

// Target implements Action.
func (a ApplyNetwork) Target() string { return "" }

// ServeGuests gives DHCP and metadata what they serve.
type ServeGuests struct {
	Want   api.HostDesired
	Digest string
}

// Do implements Action.
func (a ServeGuests) Do(ctx context.Context, d Drivers) error { return d.Guests.Set(ctx, a.Want) }
func (a ServeGuests) String() string                          { return "host: serve guests" }

// Target implements Action.
func (a ServeGuests) Target() string { return "" }
