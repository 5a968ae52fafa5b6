package agent

import (
	"context"
	"io"
	"iter"
	"net"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// Drivers are the edges through which an Action touches the world.
type Drivers struct {
	Hypervisor Hypervisor
	Network    Network
	Disks      Disks
	Guests     Guests
	Peers      Peers

	// progress is the loop's ear: how far sending an instance is.
	progress func(ctx context.Context, a Migrate, copied, total int64)
}

// Peers are the agents of other hosts.
type Peers interface {
	// Spec asks the host what the domain of an instance that comes to it is to be.
	Spec(ctx context.Context, to api.HostOutgoing, instance string) (DomainSpec, error)
	// Still tells the host that the guest stands still, and goes on there next.
	Still(ctx context.Context, to api.HostOutgoing, instance string) error
	// Dial opens a channel to the hypervisor of the host, which takes it from the
	// host alone that the instance comes from.
	Dial(ctx context.Context, to api.HostOutgoing, instance string, c Channel) (net.Conn, error)
}

// Hypervisor runs domains. agent/libvirt implements it; the simulator has another.
type Hypervisor interface {
	// Domains lists the domains that carry Cairn's mark, and no others.
	Domains(ctx context.Context) ([]Domain, error)
	// Define makes or changes the persistent definition of an instance's domain.
	Define(ctx context.Context, d DomainSpec) error
	Start(ctx context.Context, instance string) error
	Shutdown(ctx context.Context, instance string) error // ACPI power button; returns at once
	Destroy(ctx context.Context, instance string) error  // pulls the plug
	Reboot(ctx context.Context, instance string, hard bool) error
	Suspend(ctx context.Context, instance string) error // its vCPUs stand still; nothing of it is lost
	Resume(ctx context.Context, instance string) error
	// Plug gives a running guest's NIC the tap of that name, which was made anew. The
	// guest does not notice. It changes nothing where the NIC has it.
	Plug(ctx context.Context, instance, mac, tap string) error
	Undefine(ctx context.Context, instance string) error
	// Migrate sends a running domain to another host, where it goes on running: nil
	// says that it has left, and is there. StayedError says that it is here. With any other error it
	// is not known, and the call is to be repeated, which finds it out. When ctx
	// ends it is given up.
	Migrate(ctx context.Context, m Migration) error
	// Receive opens this host's end of a channel of a domain that comes to it.
	Receive(ctx context.Context, instance string, c Channel) (Stream, error)
	// SetMark changes what is remembered on the domain, running or not.
	SetMark(ctx context.Context, m Mark) error
	// Events yields when a domain changes state by itself or by us, for as long
	// as the connection lives; an error means that it was lost and is being made again.
	Events(ctx context.Context) iter.Seq2[DomainEvent, error]
	// Info of the machine: CPUs, memory, versions, whether KVM is used.
	Info(ctx context.Context) (HypervisorInfo, error)
	// ConsoleLog opens the serial console's log of an instance.
	ConsoleLog(ctx context.Context, instance string) (io.ReadSeekCloser, error)
}

// Guests serves what guests ask the host for: DHCP and metadata. agent/guest
// implements it.
type Guests interface {
	// Set makes the services what is wanted; it may be repeated. The network
	// was applied before.
	Set(ctx context.Context, want api.HostDesired) error
	// ConfigDrive returns the files of an instance's NoCloud config drive.
	ConfigDrive(want api.HostDesired, instance string) (map[string][]byte, error)
}

// Network makes a host's network match.
type Network interface {
	// Apply makes the host's network what is wanted, as a difference; it may be
	// repeated, and the zero Desired removes all. It returns what it found to differ,
	// which is not so any more unless there is an error.
	Apply(ctx context.Context, want network.Desired) ([]network.Difference, error)
	// Look says what there is, beside what was to be made last. It changes nothing.
	Look(ctx context.Context) (network.Report, error)
	// Events yields when a link, address, neighbour or rule of ours changed by another hand.
	Events(ctx context.Context) iter.Seq2[string, error]
}

// Disks keeps images and root disks.
type Disks interface {
	// FetchImage makes the image present and verified in the cache.
	FetchImage(ctx context.Context, image api.HostImage) error
	// CreateRoot makes the root disk of an instance over its image, and leaves it if it exists.
	CreateRoot(ctx context.Context, i api.HostInstance) error
	// NoteAway remembers DiskState.Away.
	NoteAway(ctx context.Context, instance string, epoch int64) error
	// WriteConfigDrive writes the NoCloud config drive and remembers the digest.
	WriteConfigDrive(ctx context.Context, instance, digest string, files map[string][]byte) error
	// Remove deletes all files of an instance.
	Remove(ctx context.Context, instance string) error
	// RemoveImage deletes an image from the cache.
	RemoveImage(ctx context.Context, sha256 string) error
	// TrimLogs keeps the console logs from filling the disk.
	TrimLogs(ctx context.Context) error
	// Observe lists the instances that have files, and the images in the cache (by SHA-256).
	Observe(ctx context.Context) (instances map[string]DiskState, images map[string]bool, err error)
	// Orphans lists what was noted or set aside, by ID.
	Orphans(ctx context.Context) (map[string]Orphan, error)
	// NoteOrphan writes down that an instance's files and domain are nobody's;
	// what was noted first stays.
	NoteOrphan(ctx context.Context, o Orphan) error
	// SetAside moves the files of an orphan, if it has any, out of the way of its
	// instance, which is placed here anew; what was noted goes with them.
	SetAside(ctx context.Context, o Orphan) error
	// ForgetOrphan removes what was noted of an orphan, and the files that were
	// set aside with it; files in their place stay.
	ForgetOrphan(ctx context.Context, id string) error
}
