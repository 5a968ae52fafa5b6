package libvirt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	lv "libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/cairn-cloud/cairn/agent"
)

// Options of Open.
type Options struct {
	// URI of libvirt: qemu:///system, or another one in tests and the lab.
	URI string
	// Virtualization is auto, kvm or qemu. auto takes KVM where /dev/kvm opens
	// and libvirt offers it.
	Virtualization string
	Layout         agent.Layout
	Log            *slog.Logger
	Now            func() time.Time
}

// Hypervisor is the agent's hypervisor through one connection to libvirt,
// which is made again whenever it is lost.
type Hypervisor struct {
	o    Options
	bus  bus
	loop *eventLoop
	stop context.CancelFunc
	done chan struct{}

	mu      sync.RWMutex
	conn    *lv.Connect // nil while there is none
	err     error       // why there is none
	machine machine
	marks   map[string]agent.Mark // by instance: read from libvirt once, see marks.go
	// definitions are read again when libvirt says that a domain changed, see definition.go.
	definitions map[string]definition
	changes     int64 // that libvirt has told
}

var _ agent.Hypervisor = (*Hypervisor)(nil)

// Keepalive: a libvirtd that hangs is taken for lost after about 15 s.
const (
	keepAliveSeconds = 5
	keepAliveCount   = 3
)

// Backoff of the connection: between the first and the last, doubling.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// Open connects to libvirt, trying until ctx ends: libvirtd may be starting
// too. It fails at once when the virtualization asked for is not to be had. A
// connection lost later is made again. Close must be called.
func Open(ctx context.Context, o Options) (*Hypervisor, error) {
	loop, err := startLoop()
	if err != nil {
		return nil, fmt.Errorf("load libvirt: %w (install libvirt-daemon-system)", err)
	}
	h := &Hypervisor{o: o, loop: loop, done: make(chan struct{})}
	lost, err := h.reconnect(ctx)
	if err != nil {
		loop.stop()
		return nil, err
	}
	ctx, h.stop = context.WithCancel(context.WithoutCancel(ctx))
	go h.keep(ctx, lost)
	return h, nil
}

// Close lets go of the connection. Domains run on.
func (h *Hypervisor) Close() error {
	h.stop()
	<-h.done
	h.drop(errLost)
	h.loop.stop()
	return nil
}

// keep makes the connection again whenever it is lost.
func (h *Hypervisor) keep(ctx context.Context, lost <-chan struct{}) {
	defer close(h.done)
	for {
		select {
		case <-ctx.Done():
			return
		case <-lost:
		}
		h.o.Log.Warn("libvirt is gone; trying to reach it", "uri", h.o.URI)
		h.drop(errLost)
		h.bus.send(notice{err: errLost})
		var err error
		if lost, err = h.reconnect(ctx); err != nil {
			if ctx.Err() == nil {
				h.o.Log.Error("libvirt will not be tried again", "error", err)
			}
			return
		}
		h.o.Log.Info("libvirt is back", "uri", h.o.URI)
		h.bus.send(notice{})
	}
}

// reconnect tries until there is a connection, ctx ends or a fault will not go by itself.
func (h *Hypervisor) reconnect(ctx context.Context) (<-chan struct{}, error) {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		lost, err := h.connect()
		if err == nil || errors.Is(err, errVirtualization) {
			return lost, err
		}
		h.drop(err)
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, err
		}
	}
}

// errVirtualization marks what only a change of options mends.
var errVirtualization = errors.New("virtualization")

// connect opens a connection and registers for its events; the channel that it
// returns is closed when the connection is lost.
func (h *Hypervisor) connect() (<-chan struct{}, error) {
	c, err := lv.NewConnect(h.o.URI)
	if err != nil {
		return nil, fmt.Errorf("connect to libvirt at %s: %w (is libvirtd running?)", h.o.URI, err)
	}
	lost := make(chan struct{})
	var once sync.Once
	if err := h.prepare(c, func() { once.Do(func() { close(lost) }) }); err != nil {
		_, _ = c.Close()
		return nil, err
	}
	return lost, nil
}

func (h *Hypervisor) prepare(c *lv.Connect, lost func()) error {
	m, err := h.look(c)
	if err != nil {
		return err
	}
	if err := h.register(c); err != nil {
		return fmt.Errorf("register for libvirt's events: %w", err)
	}
	// The embedded driver has neither: it lives and dies with this process.
	if err := c.RegisterCloseCallback(func(*lv.Connect, lv.ConnectCloseReason) { lost() }); err != nil && !unsupported(err) {
		return fmt.Errorf("register for the loss of libvirt's connection: %w", err)
	}
	if err := c.SetKeepAlive(keepAliveSeconds, keepAliveCount); err != nil && !unsupported(err) {
		return fmt.Errorf("keep libvirt's connection alive: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conn, h.err, h.machine, h.marks = c, nil, m, map[string]agent.Mark{}
	h.definitions = map[string]definition{}
	return nil
}

// look finds out what the XML depends on.
func (h *Hypervisor) look(c *lv.Connect) (machine, error) {
	m := machine{directIO: directIO}
	x, err := c.GetCapabilities()
	if err != nil {
		return m, fmt.Errorf("read libvirt's capabilities: %w", err)
	}
	var caps libvirtxml.Caps
	if err := caps.Unmarshal(x); err != nil {
		return m, fmt.Errorf("read libvirt's capabilities: %w", err)
	}
	for _, s := range caps.Host.SecModel {
		if s.Name != "dac" {
			continue
		}
		m.dac = true
		for _, l := range s.Labels {
			if _, err := fmt.Sscanf(l.Value, "+%d:+%d", &m.user, &m.group); err == nil {
				break
			}
		}
	}
	switch h.o.Virtualization {
	case "qemu":
	case "kvm":
		if err := kvmUsable(caps); err != nil {
			return m, fmt.Errorf("%w kvm: %w (load the kvm module, or choose qemu, which is slow)", errVirtualization, err)
		}
		m.kvm = true
	case "auto", "":
		m.kvm = kvmUsable(caps) == nil
	default:
		return m, fmt.Errorf("%w %q: give auto, kvm or qemu", errVirtualization, h.o.Virtualization)
	}
	if m.cpu, err = hostCPU(c, m.virtualization()); err != nil {
		h.o.Log.Warn("the host's CPU is not known, so instances cannot be moved to it or from it while they run", "error", err)
	}
	return m, nil
}

func kvmUsable(caps libvirtxml.Caps) error {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_ = f.Close()
	for _, g := range caps.Guests {
		if caps.Host.CPU != nil && g.Arch.Name != caps.Host.CPU.Arch {
			continue
		}
		for _, d := range g.Arch.Domains {
			if d.Type == "kvm" {
				return nil
			}
		}
	}
	return fmt.Errorf("libvirt offers no KVM domains")
}

// drop forgets the connection; calls fail with err until there is another one.
func (h *Hypervisor) drop(err error) {
	h.mu.Lock()
	c := h.conn
	h.conn, h.err, h.marks, h.definitions = nil, err, nil, nil
	h.mu.Unlock()
	if c != nil {
		_ = c.UnregisterCloseCallback()
		_, _ = c.Close()
	}
}

// get returns the connection, or why there is none. The caller must call
// release when it is done with it.
func (h *Hypervisor) get() (*lv.Connect, machine, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.conn == nil {
		return nil, machine{}, fmt.Errorf("no connection to libvirt at %s: %w", h.o.URI, h.err)
	}
	if err := h.conn.Ref(); err != nil {
		return nil, machine{}, fmt.Errorf("use libvirt's connection: %w", err)
	}
	return h.conn, h.machine, nil
}

func release(c *lv.Connect) { _, _ = c.Close() }
