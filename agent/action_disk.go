package agent

import (
	"context"
	"fmt"

	"github.com/cairn-cloud/cairn/api"
)

// FetchImage brings an instance's image into the cache.
type FetchImage struct {
	target
	Image api.HostImage
}

// Do implements Action.
func (a FetchImage) Do(ctx context.Context, d Drivers) error {
	return d.Disks.FetchImage(ctx, a.Image)
}

func (a FetchImage) String() string           { return fmt.Sprintf("%s: fetch image %s", a.Instance, a.Image.ID) }
func (a FetchImage) breaks() (string, string) { return ImageReady, "FetchFailed" }
func (a FetchImage) light()                   {}

// CreateRoot makes an instance's root disk.
type CreateRoot struct {
	target
	Want api.HostInstance
}

// Do implements Action.
func (a CreateRoot) Do(ctx context.Context, d Drivers) error { return d.Disks.CreateRoot(ctx, a.Want) }

func (a CreateRoot) String() string {
	return fmt.Sprintf("%s: create root disk of %d GiB", a.Instance, a.Want.Size.DiskGiB)
}
func (a CreateRoot) breaks() (string, string) { return DiskReady, "RootDiskFailed" }

// WriteConfigDrive writes an instance's config drive.
type WriteConfigDrive struct {
	target
	Want   api.HostDesired
	Digest string
}

// Do implements Action.
func (a WriteConfigDrive) Do(ctx context.Context, d Drivers) error {
	files, err := d.Guests.ConfigDrive(a.Want, a.Instance)
	if err != nil {
		return fmt.Errorf("config drive of %s: %w", a.Instance, err)
	}
	return d.Disks.WriteConfigDrive(ctx, a.Instance, a.Digest, files)
}
func (a WriteConfigDrive) String() string           { return a.Instance + ": write config drive" }
func (a WriteConfigDrive) breaks() (string, string) { return DiskReady, "ConfigDriveFailed" }

// RemoveDisks deletes all files of an instance.
type RemoveDisks struct{ target }

// Do implements Action.
func (a RemoveDisks) Do(ctx context.Context, d Drivers) error { return d.Disks.Remove(ctx, a.Instance) }

func (a RemoveDisks) String() string           { return a.Instance + ": remove disks" }
func (a RemoveDisks) breaks() (string, string) { return DiskReady, "RemoveFailed" }

// RemoveImage deletes an image that nothing has used for a while.
type RemoveImage struct{ SHA256 string }

// Do implements Action.
func (a RemoveImage) Do(ctx context.Context, d Drivers) error {
	return d.Disks.RemoveImage(ctx, a.SHA256)
}
func (a RemoveImage) String() string { return "host: remove image " + a.SHA256 }

// Target implements Action. Each image is a target of its own.
func (a RemoveImage) Target() string { return imageTarget + a.SHA256 }

// imageTarget begins the targets that are images.
const imageTarget = "image/"
