package agent

import (
	"context"
	"fmt"

	"github.com/cairn-cloud/cairn/api"
)

// Suspend makes a domain stand still.
type Suspend struct{ target }

// Do implements Action.
func (a Suspend) Do(ctx context.Context, d Drivers) error {
	return d.Hypervisor.Suspend(ctx, a.Instance)
}
func (a Suspend) String() string           { return a.Instance + ": suspend" }
func (a Suspend) breaks() (string, string) { return Running, "SuspendFailed" }

// Resume lets a domain go on that is whole and stands still.
type Resume struct {
	target
	// Repairs: another hand has suspended it.
	Repairs []api.Drift
}

// Do implements Action.
func (a Resume) Do(ctx context.Context, d Drivers) error { return d.Hypervisor.Resume(ctx, a.Instance) }
func (a Resume) String() string                          { return a.Instance + ": resume" }
func (a Resume) breaks() (string, string)                { return Running, "ResumeFailed" }
func (a Resume) repairs() []api.Drift                    { return a.Repairs }

// Plug gives a running guest a tap that was made anew.
type Plug struct {
	target
	MAC string
	Tap string
}

// Do implements Action.
func (a Plug) Do(ctx context.Context, d Drivers) error {
	return d.Hypervisor.Plug(ctx, a.Instance, a.MAC, a.Tap)
}

func (a Plug) String() string           { return fmt.Sprintf("%s: plug into %s", a.Instance, a.Tap) }
func (a Plug) breaks() (string, string) { return NetworkReady, "PlugFailed" }
func (a Plug) networked()               {}
func (a Plug) repairs() []api.Drift     { return unpluggedTap(a.Tap) }
