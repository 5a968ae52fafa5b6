package agent

import (
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// DomainState is whether a domain runs.
type DomainState string

// The states of a domain.
const (
	DomainNone     DomainState = "" // there is none
	DomainRunning  DomainState = "running"
	DomainStarting DomainState = "starting" // its QEMU is being prepared; an event follows
	DomainMoving   DomainState = "moving"   // it stands still: it is leaving, or coming
	DomainPaused   DomainState = "paused"   // somebody has suspended it, or it came from another host and was not let go on yet
	DomainStopped  DomainState = "stopped"
)

// StopReason says why a stopped domain stopped, as far as the hypervisor
// knows: it forgets when it is restarted itself.
type StopReason string

// The reasons.
const (
	StopUnknown  StopReason = ""
	StopShutdown StopReason = "shutdown" // the guest switched itself off, asked or not
	StopDestroy  StopReason = "destroyed"
	StopCrash    StopReason = "crashed" // the guest panicked, or its QEMU died
)

// MarkPower is what the agent last made true, or found, of a domain's power.
// It tells a guest that switched itself off from one that was switched off.
type MarkPower string

// The marks.
const (
	MarkOn     MarkPower = "on"
	MarkOff    MarkPower = "off"
	MarkHalted MarkPower = "halted" // the guest switched itself off
)

// Mark is what the agent remembers on the domain itself, so that it outlives
// the agent, its disk and the hypervisor's daemon. A domain without it is not
// ours and is never touched.
type Mark struct {
	Instance   string
	Project    string
	Epoch      int64
	Generation int64  // of the instance when the domain was defined
	Digest     string // of the DomainSpec, see DomainSpec.Sum
	Reboots    int64  // how many of the reboots asked for were done
	// RebootAsked is the reboot for which the guest was asked and that is not
	// known to be done; 0: none.
	RebootAsked int64
	// Sent is the epoch of the last move for which it began to be sent; 0: none. An
	// agent that starts anew does not send it again for the same.
	Sent      int64
	Power     MarkPower
	StartedAt time.Time
}

// Domain is a domain as the hypervisor shows it.
type Domain struct {
	Mark   Mark
	State  DomainState
	Reason StopReason // while stopped

	// Config is what is read back from its definition, and Live from what runs, in
	// the words of what Define was given; nil where that is not known.
	Config, Live *DomainSpec
	// Unplugged are the taps of a running domain that are gone, or were made anew
	// under it.
	Unplugged []string
	// Transient: it runs and somebody has removed its definition.
	Transient bool
}

// spec is what runs or, where nothing does, what is defined; nil where that is not known.
func (d Domain) spec() *DomainSpec {
	if d.Live != nil {
		return d.Live
	}
	return d.Config
}

// DomainSpec is all that a domain's definition is made of. Define with an
// equal spec changes nothing.
type DomainSpec struct {
	Mark         Mark
	Title        string // "project/name", for people at virsh
	VCPUs        int64
	MemoryMiB    int64
	Architecture string
	CPU          *api.CPU `json:",omitempty"` // nil: all that the host has
	Root         DiskFile
	ConfigDrive  string // path of the ISO; empty: none
	ConsoleLog   string // path of the serial console's log
	NICs         []DomainNIC
}

// DiskFile is a disk image with its format, and what it stands on. Formats are
// always said and never probed: a guest writes its own disk's first bytes.
type DiskFile struct {
	Path    string
	Format  string // qcow2 or raw
	Backing *DiskFile
}

// DomainNIC is a NIC on a tap that the network made before.
type DomainNIC struct {
	Tap string
	MAC string
	MTU int // bytes; told to the guest by virtio
}

// EventKind is what happened to a domain.
type EventKind string

// The kinds of events.
const (
	EventStarted  EventKind = "started"
	EventStopped  EventKind = "stopped"
	EventCrashed  EventKind = "crashed"
	EventRebooted EventKind = "rebooted"
	EventChanged  EventKind = "changed" // anything else: defined, undefined, paused, resumed
)

// DomainEvent says that a domain changed. The state is observed afresh; only
// what cannot be observed later (a crash, a reboot) is taken from the event.
type DomainEvent struct {
	Instance string
	Kind     EventKind
}

// HypervisorInfo describes the machine as the hypervisor sees it.
type HypervisorInfo struct {
	CPUs           int64 // hardware threads
	MemoryMiB      int64
	Architecture   string
	Virtualization string            // kvm or qemu
	Versions       map[string]string // of libvirt and qemu
	CPU            *api.HostCPU      // that guests can be given; nil: not known
}

// DiskState is what an instance has on disk.
type DiskState struct {
	Root         bool
	Image        string // SHA-256 of the image that the root disk stands on; empty: not known
	ConfigDigest string // of the config drive; empty: none
	// Away is the epoch under which the instance is to run on, or is to come from,
	// another host, so that what is here is not its own; 0: it is.
	Away int64
}
