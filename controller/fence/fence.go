package fence

import (
	"context"
	"fmt"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// timeout bounds one attempt.
const timeout = 2 * time.Minute

// Fencer switches hosts off in the ways that it was given: by Redfish where the
// host has a BMC and its credentials are here, else by the program.
type Fencer struct {
	Exec    *Exec    // nil: there is no program
	Redfish *Redfish // nil: there are no credentials
}

// Can tells whether there is a way to switch the host off.
func (f *Fencer) Can(h *api.Host) bool { return f.byRedfish(h) || f.Exec != nil }

func (f *Fencer) byRedfish(h *api.Host) bool {
	return f.Redfish != nil && h.Spec.BMC != nil && f.Redfish.has(h.Spec.BMC.Credentials)
}

// Fence returns without an error only when the host is off for sure, and says how
// that is known. It may be called again.
func (f *Fencer) Fence(ctx context.Context, h *api.Host) (how string, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch {
	case f.byRedfish(h):
		return f.Redfish.Fence(ctx, h)
	case f.Exec != nil:
		return f.Exec.Fence(ctx, h)
	}
	return "", fmt.Errorf("fence host %s: there is neither a program nor a BMC with credentials for it", h.Name)
}
