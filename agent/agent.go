package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// ControlPlane is what the agent needs of the control plane; api/client has it.
type ControlPlane interface {
	Renew(ctx context.Context, host, csr string) (api.JoinResponse, error)
	// Heartbeat says that the host lives, and returns the revision at which it last
	// came alive in the eyes of the control plane: its life.
	Heartbeat(ctx context.Context, host string) (life int64, err error)
	// Report says what is on the host, and returns the revision at which that is
	// written down. seen is the revision of the desired state and of the reports
	// before: a controller that has not come so far must not judge it.
	Report(ctx context.Context, host string, seen int64, reports []api.Report) (int64, error)
	// Desired yields the host's desired state as it changes. After an error it
	// connects anew and says all again, never as it was before the revision seen.
	Desired(ctx context.Context, host string, seen func() int64) iter.Seq2[[]api.DesiredItem, error]
	// ImageData opens an image's bytes; a host names no project.
	ImageData(ctx context.Context, project, image string, offset int64) (io.ReadCloser, error)
}

// FetchFrom makes what agent/disk fetches images with.
func FetchFrom(cp ControlPlane) func(ctx context.Context, image string, offset int64) (io.ReadCloser, error) {
	return func(ctx context.Context, image string, offset int64) (io.ReadCloser, error) {
		return cp.ImageData(ctx, "", image, offset)
	}
}

// Options of New.
type Options struct {
	Layout       Layout
	Name         string // of the host
	Identity     *Identity
	ControlPlane ControlPlane
	Drivers      Drivers
	Underlay     Underlay
	// Listen is the address of the console server, such as ":7444"; empty: none.
	Listen string
	// URL is where controllers reach that server.
	URL string
	// Size is what the host offers, where that is not all that it has: a field
	// that is 0 means all.
	Size api.Size
	// Storage is the name of the storage that holds the state directory's images
	// and instances, where other hosts use the same; empty: none do.
	Storage string
	// Missing are the kernel features that the host lacks.
	Missing []string
	// Parallel is how many instances are worked on at once; default 4.
	Parallel int
	// Watchdog resets the machine when it is cut off and the agent does not stop what is
	// exclusive; nil: there is none, and others have to say that this host is off.
	Watchdog Watchdog
	// OrphanGrace is how long what is nobody's is kept; default OrphanGrace.
	OrphanGrace time.Duration

	Log  *slog.Logger
	Now  func() time.Time
	Rand func() float64 // in [0,1): spreads retries
}

// Times of the agent.
const (
	heartbeatEvery = 10 * time.Second
	trimEvery      = time.Minute // of console logs
	fullPassTrims  = 5           // every so many trims, all is looked at again
)

// Agent is the agent of one host.
type Agent struct {
	o        Options
	host     string // ID
	desired  *desired
	reporter *reporter
	contact  *contact
	armed    atomic.Bool // the watchdog is
	idle     atomic.Bool // nothing exclusive runs here, or can start
	listener net.Listener
	inbox    chan message
	snapshot atomic.Pointer[api.HostDesired] // for the server and the saver
	receiver *receiver
	save     chan struct{}
}

// New makes an agent from what it finds on the disk. It starts nothing, but
// its console server's port is taken.
func New(o Options) (*Agent, error) {
	if o.Parallel == 0 {
		o.Parallel = 4
	}
	if o.OrphanGrace == 0 {
		o.OrphanGrace = OrphanGrace
	}
	if err := os.MkdirAll(string(o.Layout), 0o711); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	d, err := loadDesired(o.Layout.Desired())
	if err != nil {
		return nil, err
	}
	a := &Agent{
		o: o, host: o.Identity.HostID, desired: d,
		inbox: make(chan message, 64), save: make(chan struct{}, 1),
		reporter: newReporter(o.ControlPlane, o.Identity.HostID, o.Log, o.Rand),
	}
	a.reporter.saw(d.want.Revision)
	a.receiver = &receiver{
		hypervisor: o.Drivers.Hypervisor, layout: o.Layout, underlay: o.Underlay, wanted: a.wanted, log: o.Log,
		still: func(ctx context.Context, i api.HostInstance) { a.send(ctx, message{still: &still{i.ID, i.Epoch}}) },
	}
	a.publish()
	if o.Listen != "" {
		lines := net.ListenConfig{KeepAliveConfig: lineKeepAlive, Control: lineControl}
		if a.listener, err = lines.Listen(context.Background(), "tcp", o.Listen); err != nil {
			return nil, fmt.Errorf("listen for controllers on %s: %w", o.Listen, err)
		}
	}
	return a, nil
}

// publish lets others read the desired state.
func (a *Agent) publish() {
	w := a.desired.want
	a.snapshot.Store(&w)
}

func (a *Agent) wanted() api.HostDesired { return *a.snapshot.Load() }

// Handler answers controllers and other hosts, which r.TLS of a request names. Run serves it
// where there is a Listen.
func (a *Agent) Handler() http.Handler {
	mux := http.NewServeMux()
	consoleRoutes(mux, a.o.Drivers.Hypervisor, a.wanted)
	networkRoutes(mux, a.o.Drivers.Network, a.o.Log)
	a.receiver.routes(mux)
	return mux
}

// Run works until ctx ends. Guests, the network and files stay as they are; it
// returns when everything that it started has ended.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var serveErr error
	wg.Go(func() { a.watchDesired(ctx) })
	wg.Go(func() { a.watchDomains(ctx) })
	wg.Go(func() { a.watchNetwork(ctx) })
	a.contact = newContact()
	defer a.contact.end()
	wg.Go(func() { a.heartbeat(ctx) })
	if a.o.Watchdog != nil {
		wg.Go(func() { a.keepWatchdog(ctx) })
	}
	wg.Go(func() { a.keepCertificate(ctx) })
	wg.Go(func() { a.reporter.run(ctx) })
	wg.Go(func() { a.saver(ctx) })
	if a.listener != nil {
		wg.Go(func() {
			defer a.receiver.streams.Wait()
			if serveErr = serve(ctx, a.listener, a.o.Identity, a.Handler(), a.o.Log); serveErr != nil {
				serveErr = fmt.Errorf("serve controllers and hosts: %w", serveErr)
				cancel()
			}
		})
	}
	newLoop(a).run(ctx)
	cancel()
	wg.Wait()
	return errors.Join(serveErr, a.saveNow())
}

// saver writes the desired state to the disk beside the loop, which need not
// wait for it: a file that is behind names a lower epoch or less, and neither
// makes the agent do what it must not.
func (a *Agent) saver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.save:
		}
		if err := a.saveNow(); err != nil {
			a.o.Log.Error("the desired state is not on the disk; after a restart without the control plane the agent would follow an older one", "error", err)
		}
	}
}

func (a *Agent) saveNow() error {
	w := a.snapshot.Load()
	if w.Revision == 0 {
		return nil // never synced: there is nothing to stand on yet
	}
	return saveDesired(a.o.Layout.Desired(), *w)
}
