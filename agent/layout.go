package agent

import (
	"path/filepath"

	"github.com/cairn-cloud/cairn/api"
)

// Layout says where everything lies under the agent's state directory. It is
// the directory's path.
type Layout string

// Images is the directory of the image cache.
func (l Layout) Images() string { return filepath.Join(string(l), "images") }

// Image is the file of an image in the cache.
func (l Layout) Image(i api.HostImage) string {
	return filepath.Join(l.Images(), i.SHA256+"."+i.Format)
}

// Instances is the directory that holds a directory for each instance.
func (l Layout) Instances() string { return filepath.Join(string(l), "instances") }

// Instance is the directory of an instance.
func (l Layout) Instance(id string) string { return filepath.Join(l.Instances(), id) }

// Root is the root disk of an instance, standing on its image.
func (l Layout) Root(id string, image api.HostImage) DiskFile {
	return DiskFile{
		Path: filepath.Join(l.Instance(id), "root.qcow2"), Format: "qcow2",
		Backing: &DiskFile{Path: l.Image(image), Format: image.Format},
	}
}

// ConfigDrive is the ISO with the instance's NoCloud files.
func (l Layout) ConfigDrive(id string) string { return filepath.Join(l.Instance(id), "config.iso") }

// ConsoleLog is the log of the instance's serial console.
func (l Layout) ConsoleLog(id string) string { return filepath.Join(l.Instance(id), "console.log") }

// Quarantine is the directory that holds a directory for each orphan, with its
// history and the files that were set aside.
func (l Layout) Quarantine() string { return filepath.Join(string(l), "quarantine") }

// PKI is the directory of the host's key and certificates.
func (l Layout) PKI() string { return filepath.Join(string(l), "pki") }

// Desired is the file of the last desired state.
func (l Layout) Desired() string { return filepath.Join(string(l), "desired.json") }
