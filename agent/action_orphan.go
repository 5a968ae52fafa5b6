package agent

import (
	"context"
	"fmt"

	"github.com/cairn-cloud/cairn/api"
)

// NoteOrphan writes down what is found and that no record owns it.
type NoteOrphan struct {
	target
	Orphan Orphan
}

// Do implements Action.
func (a NoteOrphan) Do(ctx context.Context, d Drivers) error {
	return d.Disks.NoteOrphan(ctx, a.Orphan)
}
func (a NoteOrphan) String() string           { return a.Instance + ": note that nobody owns it" }
func (a NoteOrphan) breaks() (string, string) { return DiskReady, "QuarantineFailed" }

// SetAside moves an orphan's files out of the way.
type SetAside struct {
	target
	Orphan Orphan
}

// Do implements Action.
func (a SetAside) Do(ctx context.Context, d Drivers) error { return d.Disks.SetAside(ctx, a.Orphan) }

func (a SetAside) String() string {
	return fmt.Sprintf("%s: set aside its files of epoch %d", a.Instance, a.Orphan.Epoch)
}
func (a SetAside) breaks() (string, string) { return DiskReady, "QuarantineFailed" }

// ForgetOrphan ends a quarantine.
type ForgetOrphan struct {
	target
	Orphan string
	Why    string
}

// Do implements Action.
func (a ForgetOrphan) Do(ctx context.Context, d Drivers) error {
	return d.Disks.ForgetOrphan(ctx, a.Orphan)
}

func (a ForgetOrphan) String() string {
	return fmt.Sprintf("%s: end the quarantine: %s", a.Instance, a.Why)
}
func (a ForgetOrphan) breaks() (string, string) { return DiskReady, "QuarantineFailed" }

// Suspend makes a domain stand still.
type Suspend struct{ target }

// Do implements Action.
func (a Suspend) Do(ctx context.Context, d Drivers) error {
	return d.Hypervisor.Suspend(ctx, a.Instance)
}
func (a Suspend) String() string           { return a.Instance + ": suspend" }
func (a Suspend) breaks() (string, string) { return Running, "SuspendFailed" }

// Resume lets a domain go on that is whole and stands still.
type Resume struct{ target }

// Do implements Action.
func (a Resume) Do(ctx context.Context, d Drivers) error { return d.Hypervisor.Resume(ctx, a.Instance) }
func (a Resume) String() string                          { return a.Instance + ": resume" }
func (a Resume) breaks() (string, string)                { return Running, "ResumeFailed" }
func (a Resume) repairs() []api.Drift                    { return power("paused") }
