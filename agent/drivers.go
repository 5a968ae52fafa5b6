package agent

import (
	"context"
	"io"
	"iter"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// Drivers are the edges through which an Action touches the world.
type Drivers struct {
	Hypervisor Hypervisor
	Network    Network
	Disks      Disks
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
	Undefine(ctx context.Context, instance string) error
	// Events yields when a domain changes state by itself or by us, for as long
	// as the connection lives; an error means that it was lost and is being made again.
	Events(ctx context.Context) iter.Seq2[DomainEvent, error]
	// Info of the machine: CPUs, memory, versions, whether KVM is used.
	Info(ctx context.Context) (HypervisorInfo, error)
	// ConsoleLog opens the serial console's log of an instance.
	ConsoleLog(ctx context.Context, instance string) (io.ReadSeekCloser, error)
}

// Network makes a host's network match.
type Network interface {
	// Apply makes the host's network what is wanted, as a difference; it may be
	// repeated, and the zero Desired removes all. It returns what was done, in words.
	Apply(ctx context.Context, want network.Desired) (done []string, err error)
	// Events yields when a link, address, neighbour or rule of ours changed by another hand.
	Events(ctx context.Context) iter.Seq2[string, error]
}

// Disks keeps images and root disks.
type Disks interface {
	// FetchImage makes the image present and verified in the cache.
	FetchImage(ctx context.Context, image api.HostImage) error
	// CreateRoot makes the root disk of an instance over its image, and leaves it if it exists.
	CreateRoot(ctx context.Context, i api.HostInstance) (path string, err error)
	// WriteConfigDrive writes the NoCloud config drive.
	WriteConfigDrive(ctx context.Context, i api.HostInstance, files map[string][]byte) (path string, err error)
	// Remove deletes all files of an instance.
	Remove(ctx context.Context, instance string) error
	// Observe lists the instances that have files, and the images in the cache (by SHA-256).
	Observe(ctx context.Context) (instances map[string]DiskState, images map[string]bool, err error)
}
