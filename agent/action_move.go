package agent

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/cairn-cloud/cairn/api"
)

// Migrate sends an instance to another host.
type Migrate struct {
	target
	To api.HostOutgoing
}

// Do implements Action.
func (a Migrate) Do(ctx context.Context, d Drivers) error {
	err := d.Hypervisor.Migrate(ctx, Migration{
		Instance: a.Instance, Epoch: a.To.Epoch, Disks: a.To.Disks, Stay: a.To.Cancelled,
		Spec: func(ctx context.Context) (DomainSpec, error) { return d.Peers.Spec(ctx, a.To, a.Instance) },
		Dial: func(ctx context.Context, c Channel) (net.Conn, error) { return d.Peers.Dial(ctx, a.To, a.Instance, c) },
		Still: func(ctx context.Context) {
			_ = d.Peers.Still(ctx, a.To, a.Instance) // whose host sees by itself, a little later, that it has come
		},
		Progress: func(copied, total int64) {
			if d.progress != nil {
				d.progress(ctx, a, copied, total)
			}
		},
	})
	if err == nil && a.To.Disks {
		// Where that fails, what is left is kept in quarantine for a while.
		_ = d.Disks.NoteAway(ctx, a.Instance, a.To.Epoch)
	}
	return err
}

func (a Migrate) String() string {
	return fmt.Sprintf("%s: send to %s under epoch %d", a.Instance, a.To.To, a.To.Epoch)
}
func (a Migrate) breaks() (string, string) { return Running, "MigrationUnsettled" }
func (a Migrate) light()                   {}

func (a Migrate) remember(m Memory) Memory {
	m.Move = Move{Epoch: a.To.Epoch, State: api.OutgoingCopying}
	return m
}

// forget keeps that it was begun: until it is known how it ended, it may have left.
func (a Migrate) forget(m Memory) Memory { return m }

// ended remembers how it ended; false where that is not known, and to be found out.
func (a Migrate) ended(m Memory, err error) (_ Memory, known bool) {
	var stayed *StayedError
	switch {
	case err == nil:
		m.Move.State = api.OutgoingHandedOver
	case errors.As(err, &stayed):
		m.Move.State, m.Move.Message = api.OutgoingFailed, err.Error()
	default:
		return m, false
	}
	return m, true
}

// Abort gives up sending an instance. It ends the action that does so, which then says what became of it.
type Abort struct{ target }

// Do implements Action.
func (a Abort) Do(context.Context, Drivers) error { return nil }
func (a Abort) String() string                    { return a.Instance + ": give up sending it" }

// KeepDisks makes what is here of an instance's disks its own: it has come.
type KeepDisks struct{ target }

// Do implements Action.
func (a KeepDisks) Do(ctx context.Context, d Drivers) error {
	return d.Disks.NoteAway(ctx, a.Instance, 0)
}
func (a KeepDisks) String() string           { return a.Instance + ": keep the disks" }
func (a KeepDisks) breaks() (string, string) { return DiskReady, "KeepFailed" }
func (a KeepDisks) light()                   {}
