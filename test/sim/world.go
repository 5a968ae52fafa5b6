package sim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
	"github.com/cairn-cloud/cairn/controller/pki"
	"github.com/cairn-cloud/cairn/controller/store/memetcd"
)

// Options of Run.
type Options struct {
	Seed      uint64
	Kinds     []Kind // of the faults that are drawn
	Faults    []Fault
	Given     bool // Faults are the schedule: none is drawn
	Hosts     int  // default 3
	Instances int  // that a user has at most; default 6
	Mutant    Mutant
	Verbose   bool // keep the trace's lines, and all that processes say
	// Dir is for what processes keep on disk; it is emptied.
	Dir string
}

const (
	controllerCount = 3
	userCount       = 2
	projectName     = "p"
)

// world is all that there is in a run.
type world struct {
	Options
	seed    uint64
	mutant  Mutant
	dir     string
	trace   *trace
	faults  *faults
	cluster *memetcd.Cluster
	etcd    *clientv3.Client // the world's own: no hook
	truth   *truth
	ca      *pki.CA

	processes   []*process
	controllers []*process
	machines    []*machine
	lives       []*life
	served      served
	users       []*user
	watchers    []*watcher
	admin       *client.Client
	adminToken  string
	closing     atomic.Bool
	ctx         context.Context // ends with the world
	endAdmins   context.CancelFunc
	onHost      map[string]chan struct{} // of hosts: what an administrator does there last
	admins      sync.WaitGroup           // what administrators are doing

	mu        sync.Mutex
	steps     []*step
	occasions map[string]int
	arrived   chan struct{}
	names     map[string]string // IDs of stores → of controllers
	pending   map[string]bool   // changes that were given up on, and may still come

	count     int // of steps
	calm      bool
	quiet     int64 // the revision since which the store has to be silent; 0: it need not
	promises  map[string][]promise
	violation *Violation
}

// promise is what an acknowledged write came to.
type promise struct {
	what  string
	holds func(api.Object) bool // nil: there is no such object
}

func (w *world) promised(id, what string, holds func(api.Object) bool) {
	w.promises[id] = append(w.promises[id], promise{what, holds})
}

func newWorld(o Options) *world {
	w := &world{
		Options: o, seed: o.Seed, mutant: o.Mutant, dir: o.Dir, trace: newTrace(o.Verbose),
		cluster:   memetcd.New(time.Now),
		occasions: map[string]int{}, arrived: make(chan struct{}, 1), names: map[string]string{}, pending: map[string]bool{}, promises: map[string][]promise{},
	}
	w.onHost = map[string]chan struct{}{}
	w.ctx, w.endAdmins = context.WithCancel(context.Background())
	w.served.by = map[*life]http.Handler{}
	w.faults = &faults{w: w, armed: map[string]time.Time{}}
	w.truth = newTruth(w)
	return w
}

// jitter gives numbers from 0 to 1 to whoever spreads attempts.
func (w *world) jitter(purpose string) func() float64 {
	var mu sync.Mutex
	d := dice(w.seed, purpose)
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return d.Float64()
	}
}

// remember notes the ID that a store is going to draw.
func (w *world) remember(l *life, r *rand.ChaCha8) io.Reader {
	return readerFunc(func(b []byte) (int, error) {
		n, err := r.Read(b)
		w.mu.Lock()
		w.names[fmt.Sprintf("%x", b[:n])] = l.name
		w.mu.Unlock()
		return n, err
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func (w *world) nameOfStore(id string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.names[id]
}

// faultOn tells whether such a fault is on the part.
func (w *world) faultOn(k Kind, part string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.faults.has(k, part)
}

// begin makes a cloud with its hosts, a project, an image and a network. Nothing
// goes wrong yet.
func (w *world) begin() error {
	if err := os.RemoveAll(w.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(w.dir, "controllers"), 0o755); err != nil {
		return err
	}
	var err error
	if w.ca, err = pki.Open(filepath.Join(w.dir, "pki"), time.Now(), entropy(w.seed, "ca")); err != nil {
		return err
	}
	ctx := context.Background()
	w.etcd = w.cluster.Client(ctx, nil)
	w.truth.watch = w.etcd.Watch(ctx, root, clientv3.WithPrefix(), clientv3.WithRev(1))
	w.leases()
	w.chatter()
	for n := range controllerCount {
		p := w.newProcess(fmt.Sprintf("ctl%d", n), w.runController)
		w.controllers = append(w.controllers, p)
		p.start()
	}
	if !w.until(time.Minute, func() bool { return len(w.served.by) == controllerCount }) {
		return w.stuck("the controllers do not come up")
	}
	w.admin = w.client("admin", w.adminToken)
	done := make(chan error, 1)
	go func() { done <- w.furnish(ctx) }()
	var result error
	if !w.until(time.Minute, func() bool {
		select {
		case result = <-done:
			return true
		default:
			return false
		}
	}) {
		return w.stuck("the cloud is not furnished")
	}
	if result != nil {
		return result
	}
	if !w.until(time.Minute, func() bool { return len(w.readyHosts()) == w.Hosts }) {
		return w.stuck("the hosts do not come up")
	}
	return nil
}

func (w *world) stuck(what string) error {
	if w.violation != nil {
		return nil
	}
	return fmt.Errorf("the simulation cannot begin: %s", what)
}

// leases ends those whose time is over, as etcd does twice a second.
func (w *world) leases() {
	w.cluster.Expire()
	w.after(500*time.Millisecond, "etcd looks for leases that are over", w.leases)
}

// furnish makes what users need.
func (w *world) furnish(ctx context.Context) error {
	p := &api.Project{}
	p.Name = projectName
	p.Spec.Quota = api.Quota{Instances: 20, VCPUs: 200, MemoryMiB: 1 << 20, DiskGiB: 1 << 20, Networks: 10, Ports: 200}
	if _, err := w.admin.Create(ctx, p, client.WriteOptions{}); err != nil {
		return err
	}
	img := &api.Image{}
	img.Project, img.Name = projectName, "tiny"
	if _, err := w.admin.Create(ctx, img, client.WriteOptions{}); err != nil {
		return err
	}
	bytesOf := make([]byte, 4096)
	copy(bytesOf[446:], []byte{0x80, 0, 2, 0, 0x83, 0, 2, 0, 1, 0, 0, 0, 7, 0, 0, 0}) // a partition
	bytesOf[510], bytesOf[511] = 0x55, 0xAA
	if err := w.admin.Upload(ctx, projectName, "tiny", bytes.NewReader(bytesOf), nil); err != nil {
		return err
	}
	n := &api.Network{}
	n.Project, n.Name = projectName, "net"
	if _, err := w.admin.Create(ctx, n, client.WriteOptions{}); err != nil {
		return err
	}
	s := &api.Subnet{}
	s.Project, s.Name = projectName, "sub"
	s.Spec.Network, s.Spec.CIDR = "net", prefix("10.0.0.0/27")
	if _, err := w.admin.Create(ctx, s, client.WriteOptions{}); err != nil {
		return err
	}
	for n := range w.Hosts {
		if err := w.join(ctx, fmt.Sprintf("host%d", n)); err != nil {
			return err
		}
	}
	return nil
}

// join makes a host with a join token.
func (w *world) join(ctx context.Context, name string) error {
	t := &api.JoinToken{}
	t.Name = name
	r, err := w.admin.Create(ctx, t, client.WriteOptions{})
	if err != nil {
		return err
	}
	m := w.newMachine(len(w.machines), name)
	m.token = r.Object.(*api.JoinToken).Secret
	m.start()
	return nil
}

// addHost is join in the midst of troubles: it may fail.
func (w *world) addHost(name string) {
	go func() {
		if err := w.join(context.Background(), name); err != nil {
			w.trace.add("%s cannot join: %s", name, outcome(err))
		}
	}()
}

// until runs the world until done says so; false when d has passed.
func (w *world) until(d time.Duration, done func() bool) bool {
	for end := time.Now().Add(d); time.Now().Before(end) && w.violation == nil; {
		synctest.Wait()
		if done() {
			return true
		}
		w.run(time.Now().Add(100 * time.Millisecond))
	}
	return w.violation == nil && done()
}

// end stops everything and waits for it.
func (w *world) end() {
	w.closing.Store(true)
	w.endAdmins()
	w.faults.active, w.faults.planned = nil, nil
	for _, p := range w.processes {
		p.stop()
	}
	_ = w.etcd.Close() // nothing of it is needed any more
	for _, l := range w.lives {
		for ended := false; !ended; {
			synctest.Wait()
			select {
			case <-l.ended:
				ended = true
			default:
				w.drain()
			}
		}
	}
	for w.drain(); !ended(&w.admins); {
		w.drain()
	}
}

// drain lets all that waits go, and time pass for what waits for time.
func (w *world) drain() {
	w.mu.Lock()
	steps := w.steps
	w.steps = nil
	for _, s := range steps {
		if !s.gone {
			s.gone = true
			close(s.turn)
		}
	}
	w.mu.Unlock()
	w.idle(time.Second)
}
