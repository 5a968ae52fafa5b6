package rest

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// Backend is what REST needs of the control plane. It is implemented by
// controller.Backend; cmd/cairn puts the two together.
type Backend interface {
	// View returns a picture at least as new as the revision; 0: the newest at
	// hand; api.Latest: with all that was acknowledged before, by any controller.
	View(ctx context.Context, atLeast int64) (api.View, error)
	// Watch yields all changes after the cursor, in order, each once; kind ""
	// means every kind but events. It yields ErrTooOld (410) when history does not go back that far. Bookmarks
	// come whenever it has caught up.
	Watch(ctx context.Context, kind string, after api.Cursor) iter.Seq2[api.WatchEvent, error]

	// Create admits a new object (names in references become IDs, addresses and
	// identifiers are given, quota is checked) and writes it. The object is
	// complete but for ID, times and what Cairn gives.
	Create(ctx context.Context, w api.Write, o api.Object) (api.Written, error)
	// Update calls change on a copy of the object's newest version, then admits and
	// writes it. It may call change more than once.
	Update(ctx context.Context, w api.Write, kind, id string, change func(api.Object) error) (api.Written, error)
	// Delete removes the object or, where it has finalizers, marks it deleting.
	Delete(ctx context.Context, w api.Write, kind, id string, force bool) (api.Written, error)

	// The agent's side. The host is that of the caller's certificate.
	Join(ctx context.Context, r api.JoinRequest) (api.JoinResponse, error)
	Renew(ctx context.Context, host string, csrPEM string) (api.JoinResponse, error)
	// Heartbeat returns the revision at which the host last came alive.
	Heartbeat(ctx context.Context, host string) (life int64, err error)
	Report(ctx context.Context, host string, seen int64, reports []api.Report) (revision int64, err error)
	// Desired yields the host's desired state, not older than the revision that the
	// host has seen: all of it, then each difference, and nothing at each tick.
	Desired(ctx context.Context, host string, seen int64, tick <-chan time.Time) iter.Seq2[[]api.DesiredItem, error]

	// The control plane itself.
	Controllers(ctx context.Context) ([]api.Controller, error)
	RemoveController(ctx context.Context, name string) error
	// Backup writes all of the cloud but the bytes of images.
	Backup(ctx context.Context, w io.Writer) error
	// Check compares a cloud that was restored with what hosts report; Accept ends
	// its hold, also where hosts are silent if forced.
	Check(ctx context.Context) (api.Check, error)
	Accept(ctx context.Context, force bool) (api.Check, error)
	JoinController(ctx context.Context, r api.JoinControllerRequest) (api.JoinControllerResponse, error)

	// Image bytes.
	// Upload appends to an image at the offset and returns how much there is.
	// complete says that these bytes are the last; the image is then inspected.
	Upload(ctx context.Context, image *api.Image, offset int64, complete bool, r io.Reader) (received int64, err error)
	// Received tells how many bytes of an upload are there.
	Received(ctx context.Context, image *api.Image) (int64, error)
	// Blob opens an image's bytes for reading.
	Blob(ctx context.Context, image *api.Image) (io.ReadSeekCloser, error)

	// ConsoleLog returns the last bytes (at most limit) of an instance's serial console.
	ConsoleLog(ctx context.Context, instance *api.Instance, limit int64) (io.ReadCloser, error)
	// Trace follows a packet from a port through what the hosts are to be.
	Trace(ctx context.Context, port *api.Port, q api.TraceQuery) (api.Trace, error)
	// HostNetwork says what a host's network is to be and what it is.
	HostNetwork(ctx context.Context, host *api.Host) (api.NetworkReport, error)
}
