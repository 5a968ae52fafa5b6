package agent

import (
	"context"
	"errors"
	"io"
	"net"
)

// Migration is what sending a running domain to another host takes.
type Migration struct {
	Instance string
	// Epoch under which it is to run there.
	Epoch int64
	// Disks are copied too: the hosts share no storage.
	Disks bool
	// Stay: it is not to be sent any more; only what became of an earlier
	// attempt is found out.
	Stay bool
	// Spec asks the other host what the domain is to be there.
	Spec func(ctx context.Context) (DomainSpec, error)
	// Dial opens a channel to the other host.
	Dial func(ctx context.Context, channel Channel) (net.Conn, error)
	// Still is called when the guest stands still here to go on there: what is
	// sent to it is to be kept for it there.
	Still func(ctx context.Context)
	// Progress is told how many bytes of how many were copied.
	Progress func(copied, total int64)
}

// Channel is one of the streams between two hosts of which a migration is made.
type Channel string

// The channels.
const (
	ChannelHypervisor Channel = "libvirt" // its daemon's
	ChannelMemory     Channel = "memory"
	ChannelDisks      Channel = "disks"
	ChannelConsole    Channel = "console" // the log, from the beginning
)

// Stream is one end of a channel.
type Stream = io.ReadWriteCloser

// StayedError says that a migration did not happen, and that the domain is here
// and will be: nothing of it runs, or will run, on the other host.
type StayedError struct{ Err error }

// Error implements error.
func (e *StayedError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *StayedError) Unwrap() error { return e.Err }

// MigrationStep is what comes next in a migration.
type MigrationStep string

// The steps.
const (
	StepSend  MigrationStep = "send"   // nothing was done yet: copy it
	StepLetGo MigrationStep = "let go" // it is there, whole, and no longer here: let it go on there
	StepDone  MigrationStep = "done"   // it has left
	StepStay  MigrationStep = "stay"   // it is here, and will be
	StepAsk   MigrationStep = "ask"    // nothing can be said yet: look again later
)

// NextStep says what comes next by what there is of a domain on the two hosts, and
// in words why. there is nil where the other host does not answer.
//
// A guest that was sent stands still on the other host until the host that it
// came from lets it go on, which it does only once it has seen that nothing is left of it here. So
// whoever sees it run here knows that it does not run there, whatever
// became of the line between the two.
func NextStep(here DomainState, there *DomainState, stay bool) (MigrationStep, error) {
	runs := here == DomainRunning || here == DomainPaused || here == DomainStarting
	switch {
	case here == DomainMoving:
		return StepAsk, errors.New("an earlier attempt is still being undone")
	case there == nil && runs:
		return StepStay, errors.New("the other host does not answer")
	case there == nil:
		return StepAsk, errors.New("it is not here, and the host that it was sent to does not answer")
	case runs && stay:
		return StepStay, errors.New("it was given up, or broke off before")
	case runs && *there != DomainNone:
		return StepStay, errors.New("an earlier attempt broke off")
	case here == DomainRunning:
		return StepSend, nil
	case runs:
		return StepStay, errors.New("its guest stands still")
	case *there == DomainRunning:
		return StepDone, nil
	case here == DomainStopped:
		return StepStay, errors.New("its guest does not run")
	}
	switch *there { // here is nothing
	case DomainPaused:
		return StepLetGo, nil
	case DomainStopped: // it ran there, and has ended since
		return StepDone, nil
	default:
		return StepStay, errors.New("it is on neither host as a whole")
	}
}
