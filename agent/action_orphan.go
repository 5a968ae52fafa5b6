package agent

import (
	"context"
	"fmt"
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
