package sim

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
	"github.com/cairn-cloud/cairn/network"
)

// machine is a host: what is on it outlives its agent. It stands where libvirt,
// the kernel and the disk are, behind the agent's drivers.
type machine struct {
	*process // its agent
	number   int
	token    string // with which it joins
	layout   agent.Layout

	mu      sync.Mutex
	armed   bool      // the watchdog
	petted  time.Time // when the watchdog was last petted
	on      bool
	domains map[string]agent.Domain
	specs   map[string]agent.DomainSpec
	disks   map[string]agent.DiskState
	images  map[string]bool
	orphans map[string]agent.Orphan
	network *network.Desired
	halted  map[string]bool // guests that switched themselves off
	events  chan agent.DomainEvent
	links   chan string     // changes of the network by another hand
	left    map[string]bool // what another hand has left here, by the instance's ID
	agent   *serving        // the last that ran
}

// serving is an agent as other machines meet it.
type serving struct {
	l           *life
	host        string // ID
	certificate *tls.Certificate
	handler     http.Handler
}

// What every machine has.
const (
	machineCPUs = 4
	machineMiB  = 6144
	machineGiB  = 60
)

func (w *world) newMachine(number int, name string) *machine {
	m := &machine{
		number: number, layout: agent.Layout(filepath.Join(w.dir, name)), on: true,
		domains: map[string]agent.Domain{}, specs: map[string]agent.DomainSpec{}, disks: map[string]agent.DiskState{}, images: map[string]bool{}, orphans: map[string]agent.Orphan{}, halted: map[string]bool{},
		events: make(chan agent.DomainEvent, 1000), links: make(chan string, 1000), left: map[string]bool{},
	}
	m.process = w.newProcess(name, m.runAgent)
	w.machines = append(w.machines, m)
	return m
}

// runAgent is the agent's process.
func (m *machine) runAgent(ctx context.Context, l *life) error {
	x := &wire{w: m.w, from: m.name, by: l}
	o := client.Options{HTTPClient: &http.Client{Transport: x}, Jitter: m.w.jitter(l.purpose() + "/jitter"), Random: entropy(m.w.seed, l.purpose()+"/keys")}
	id, err := agent.Enrol(ctx, agent.EnrolOptions{Layout: m.layout, Server: cloudURL, JoinToken: m.token, Name: m.name, Client: o})
	if err != nil {
		return err
	}
	x.certificate = id.Certificate
	cp, err := id.Client(cloudURL, o)
	if err != nil {
		return err
	}
	m.mu.Lock()
	// What happened while nobody listened is not told.
	m.events, m.links = make(chan agent.DomainEvent, 1000), make(chan string, 1000)
	m.mu.Unlock()
	d := driver{m, l, cp}
	a, err := agent.New(agent.Options{
		Layout: m.layout, Name: m.name, Identity: id, ControlPlane: cp,
		Drivers:  agent.Drivers{Hypervisor: d, Network: links{d}, Disks: disks{d}, Guests: guests{d}, Peers: peers{d}},
		Underlay: agent.Underlay{Address: netip.AddrFrom4([4]byte{198, 18, 0, byte(m.number + 1)}), MTU: 1550},
		Size:     api.Size{VCPUs: machineCPUs, MemoryMiB: machineMiB, DiskGiB: machineGiB},
		Watchdog: m.watchdog(l),
		Log:      l.log(), Now: l.clock, Rand: m.w.jitter(l.purpose() + "/spread"),
	})
	if err != nil {
		return err
	}
	certificate, err := id.Certificate()
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.agent = &serving{l, id.HostID, certificate, a.Handler()}
	m.mu.Unlock()
	return a.Run(ctx)
}

func (m *machine) powerOff() {
	m.stopProcess()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.on, m.network, m.armed = false, nil, false
	for id, d := range m.domains {
		if d.State == agent.DomainMoving && m.disks[id].Away == d.Mark.Epoch {
			delete(m.domains, id) // it was not whole, and nothing of it was written down
			continue
		}
		d.State, d.Reason, d.Unplugged = agent.DomainStopped, agent.StopUnknown, nil
		if m.domains[id] = d; d.Transient {
			delete(m.domains, id)
		}
	}
}

func (m *machine) stopProcess() { m.process.stop() }

func (m *machine) powerOn() {
	m.mu.Lock()
	m.on = true
	m.mu.Unlock()
	m.start()
}

// stop is a domain's end, for whatever reason. The lock is held.
func (m *machine) stop(id string, why agent.StopReason) {
	d, ok := m.domains[id]
	if !ok || d.State == agent.DomainStopped {
		return
	}
	d.State, d.Reason, d.Unplugged = agent.DomainStopped, why, nil
	m.domains[id] = d
	if d.Transient {
		delete(m.domains, id)
	}
	k := agent.EventStopped
	if why == agent.StopCrash {
		k = agent.EventCrashed
	}
	m.tell(id, k)
}

// tell sends an event. The lock is held.
func (m *machine) tell(id string, k agent.EventKind) {
	select {
	case m.events <- agent.DomainEvent{Instance: id, Kind: k}:
	default: // an agent that does not listen
	}
}

// driver is one life's way to the machine.
type driver struct {
	*machine
	l  *life
	cp *client.Client
}

var errHypervisor = errors.New("the hypervisor says: internal error")

// call waits for the call's turn, and may fail it. The lock is held after it, also with an error.
func (d driver) call(ctx context.Context, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	n, err := d.w.pass(ctx, d.l, d.name, "", what)
	if err == nil {
		if f, hit := d.w.faults.drawn(Hypervisor, d.name, what, n, 0.4); hit {
			if err = errHypervisor; f.N == 0 { // it hangs
				hang, cancel := context.WithTimeout(ctx, 20*time.Second)
				<-hang.Done()
				cancel()
			}
		}
	}
	if d.l.dead() {
		err = errDead
	}
	d.mu.Lock()
	if err == nil && !d.on {
		err = errDead
	}
	return err
}

// Domains implements agent.Hypervisor.
func (d driver) Domains(ctx context.Context) ([]agent.Domain, error) {
	err := d.call(ctx, "domains")
	defer d.mu.Unlock()
	var out []agent.Domain
	for _, id := range slices.Sorted(maps.Keys(d.domains)) {
		x, s := d.domains[id], d.specs[id]
		if !x.Transient {
			x.Config = &s
		}
		out = append(out, x)
	}
	return out, err
}

// Define implements agent.Hypervisor.
func (d driver) Define(ctx context.Context, s agent.DomainSpec) error {
	err := d.call(ctx, "define %s", s.Mark.Instance)
	defer d.mu.Unlock()
	if err != nil {
		return err
	}
	x, ok := d.domains[s.Mark.Instance]
	if !ok {
		x.State = agent.DomainStopped
	}
	x.Mark, x.Transient = s.Mark, false
	d.domains[s.Mark.Instance], d.specs[s.Mark.Instance] = x, s
	return nil
}

// Start implements agent.Hypervisor.
func (d driver) Start(ctx context.Context, id string) error {
	err := d.call(ctx, "start %s", id)
	defer d.mu.Unlock()
	x, ok := d.domains[id]
	switch {
	case err != nil:
		return err
	case !ok:
		return errors.New("not defined")
	case !d.disks[id].Root:
		return errors.New("no disk")
	case x.State == agent.DomainRunning:
		return nil
	case x.State != agent.DomainStopped:
		return errors.New("it stands still")
	}
	for _, n := range d.specs[id].NICs {
		if !d.hasTap(n.Tap) {
			return fmt.Errorf("no tap %s", n.Tap)
		}
	}
	if d.w.mutant == MutantSleeper {
		return nil
	}
	delete(d.halted, id)
	x.State, x.Reason, x.Unplugged = agent.DomainRunning, agent.StopUnknown, nil
	d.domains[id] = x
	d.tell(id, agent.EventStarted)
	d.w.twin(d.machine, x)
	return nil
}

func (m *machine) hasTap(tap string) bool {
	if m.network == nil {
		return false
	}
	for _, n := range m.network.Networks {
		for _, p := range n.Ports {
			if (p.Local || p.Tap) && network.Tap(p.ID) == tap {
				return true
			}
		}
	}
	return false
}

// Shutdown implements agent.Hypervisor: a guest takes its time, and some do not listen.
func (d driver) Shutdown(ctx context.Context, id string) error {
	err := d.call(ctx, "shutdown %s", id)
	defer d.mu.Unlock()
	if err == nil && !chance(d.w.seed, "deaf "+id, 0, 0.2) {
		m := d.machine
		d.w.after(time.Second, id+" goes down", func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.stop(id, agent.StopShutdown)
		})
	}
	return err
}

// Destroy implements agent.Hypervisor.
func (d driver) Destroy(ctx context.Context, id string) error {
	err := d.call(ctx, "destroy %s", id)
	defer d.mu.Unlock()
	if err == nil {
		d.stop(id, agent.StopDestroy)
	}
	return err
}

// Reboot implements agent.Hypervisor.
func (d driver) Reboot(ctx context.Context, id string, hard bool) error {
	err := d.call(ctx, "reboot %s", id)
	defer d.mu.Unlock()
	if err == nil && d.domains[id].State == agent.DomainRunning {
		d.tell(id, agent.EventRebooted)
	}
	return err
}

// Suspend implements agent.Hypervisor.
func (d driver) Suspend(ctx context.Context, id string) error {
	return d.turn(ctx, "suspend", id, agent.DomainRunning, agent.DomainPaused)
}

// Resume implements agent.Hypervisor.
func (d driver) Resume(ctx context.Context, id string) error {
	return d.turn(ctx, "resume", id, agent.DomainPaused, agent.DomainRunning)
}

// Plug implements agent.Hypervisor.
func (d driver) Plug(ctx context.Context, id, _, tap string) error {
	err := d.call(ctx, "plug %s %s", id, tap)
	defer d.mu.Unlock()
	if err == nil && !d.hasTap(tap) {
		err = fmt.Errorf("no tap %s", tap)
	}
	if x := d.domains[id]; err == nil {
		x.Unplugged = slices.DeleteFunc(slices.Clone(x.Unplugged), func(t string) bool { return t == tap })
		d.domains[id] = x
	}
	return err
}

func (d driver) turn(ctx context.Context, what, id string, from, to agent.DomainState) error {
	err := d.call(ctx, "%s %s", what, id)
	defer d.mu.Unlock()
	if x := d.domains[id]; err == nil && x.State == from {
		x.State = to
		d.domains[id] = x
		d.tell(id, agent.EventChanged)
	}
	return err
}

// Undefine implements agent.Hypervisor.
func (d driver) Undefine(ctx context.Context, id string) error {
	err := d.call(ctx, "undefine %s", id)
	defer d.mu.Unlock()
	if x, ok := d.domains[id]; err == nil && ok && x.State != agent.DomainStopped {
		return errors.New("it runs")
	}
	if err == nil {
		delete(d.domains, id)
		delete(d.specs, id)
	}
	return err
}

// SetMark implements agent.Hypervisor.
func (d driver) SetMark(ctx context.Context, k agent.Mark) error {
	err := d.call(ctx, "mark %s", k.Instance)
	defer d.mu.Unlock()
	if err != nil {
		return err
	}
	x, ok := d.domains[k.Instance]
	if !ok {
		return errors.New("not defined")
	}
	x.Mark = k
	d.domains[k.Instance] = x
	return nil
}

// Events implements agent.Hypervisor.
func (d driver) Events(ctx context.Context) iter.Seq2[agent.DomainEvent, error] {
	return func(yield func(agent.DomainEvent, error) bool) {
		d.mu.Lock()
		events := d.events
		d.mu.Unlock()
		for {
			select {
			case e := <-events:
				if _, err := d.w.pass(ctx, d.l, d.name, "", "event "+string(e.Kind)+" "+e.Instance); err != nil || !yield(e, nil) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

func machineCPU() *api.HostCPU {
	return &api.HostCPU{Models: []api.CPUModel{{Name: "Nehalem", Features: 30}}, Features: []string{"aes"}}
}

// Info implements agent.Hypervisor.
func (d driver) Info(ctx context.Context) (agent.HypervisorInfo, error) {
	err := d.call(ctx, "info")
	defer d.mu.Unlock()
	return agent.HypervisorInfo{CPUs: machineCPUs, MemoryMiB: machineMiB, Architecture: "x86_64", Virtualization: "qemu", CPU: machineCPU()}, err
}

type noLog struct{ *bytes.Reader }

func (noLog) Close() error { return nil }

// ConsoleLog implements agent.Hypervisor.
func (d driver) ConsoleLog(context.Context, string) (io.ReadSeekCloser, error) {
	return noLog{bytes.NewReader(nil)}, nil
}

type links struct{ driver }

// Apply implements agent.Network.
func (n links) Apply(ctx context.Context, want network.Desired) ([]network.Difference, error) {
	err := n.call(ctx, "network")
	defer n.mu.Unlock()
	var found []network.Difference
	if n.network == nil {
		found = append(found, network.Difference{Field: "table inet cairn", Is: network.Absent, Want: "there"})
	}
	if err == nil {
		n.network = &want
	}
	return found, err
}

// Look implements agent.Network.
func (links) Look(context.Context) (network.Report, error) { return network.Report{}, nil }

// Events implements agent.Network.
func (n links) Events(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		n.mu.Lock()
		changes := n.links
		n.mu.Unlock()
		for {
			select {
			case what := <-changes:
				if _, err := n.w.pass(ctx, n.l, n.name, "", "the network changed"); err != nil || !yield(what, nil) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

type guests struct{ driver }

// Set implements agent.Guests.
func (g guests) Set(ctx context.Context, _ api.HostDesired) error {
	err := g.call(ctx, "guests")
	defer g.mu.Unlock()
	return err
}

// ConfigDrive implements agent.Guests.
func (g guests) ConfigDrive(api.HostDesired, string) (map[string][]byte, error) {
	return map[string][]byte{"meta-data": nil}, nil
}
