package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// world is a host in memory behind the drivers: the same seam that libvirt and
// the kernel are behind.
type world struct {
	mu      sync.Mutex
	domains map[string]Domain
	specs   map[string]DomainSpec
	disks   map[string]DiskState
	images  map[string]bool
	orphans map[string]Orphan
	network *network.Desired
	found   []network.Difference // by the next Apply
	links   chan string          // that were changed by another hand

	asleep   bool // a start is said to be done, and is not
	stubborn bool // a definition that is there stays as it is
	guests   string

	calls  []string                        // of the drivers, in order
	fail   func(n int, call string) error  // n counts from 1
	events chan DomainEvent                // nil: none are sent
	onAsk  func(w *world, instance string) // a guest whose power button was pressed; default: it stops
	onBoot func(w *world, d Domain) Domain // what becomes of a started guest; default: it runs
	fetch  func(ctx context.Context) error // how long an image takes

	migrate func(ctx context.Context, m Migration) error // how sending goes; default: well
}

func newWorld() *world {
	return &world{domains: map[string]Domain{}, specs: map[string]DomainSpec{}, disks: map[string]DiskState{}, images: map[string]bool{}, orphans: map[string]Orphan{}, links: make(chan string)}
}

func (w *world) drivers() Drivers {
	return Drivers{Hypervisor: fakeHypervisor{w}, Network: fakeNetwork{w}, Disks: fakeDisks{w}, Guests: fakeGuests{w}}
}

// observed is the world as the loop would see it.
func (w *world) observed(memory map[string]Memory) Observed {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Observed{
		Layout: "/state", Known: true, Synced: true, Underlay: testUnderlay,
		Domains: maps.Clone(w.domains), Disks: maps.Clone(w.disks), Images: maps.Clone(w.images), Orphans: maps.Clone(w.orphans), Grace: OrphanGrace,
		Network: w.network, Guests: w.guests, Memory: memory, UnusedSince: map[string]time.Time{},
	}
}

// enter counts a call, and fails it where the test wants that. The lock is held after it.
func (w *world) enter(format string, args ...any) error {
	w.mu.Lock()
	call := fmt.Sprintf(format, args...)
	w.calls = append(w.calls, call)
	if w.fail != nil {
		return w.fail(len(w.calls), call)
	}
	return nil
}

func (w *world) called() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

func (w *world) tell(id string, k EventKind) {
	if w.events != nil {
		w.events <- DomainEvent{Instance: id, Kind: k}
	}
}

// stop is a domain's end, for whatever reason. The lock is held.
func (w *world) stop(id string, why StopReason) {
	d, ok := w.domains[id]
	if !ok || d.State == DomainStopped {
		return
	}
	d.State, d.Reason, d.Live = DomainStopped, why, nil
	w.domains[id] = d
	k := EventStopped
	if why == StopCrash {
		k = EventCrashed
	}
	w.tell(id, k)
}

type fakeHypervisor struct{ *world }

func (h fakeHypervisor) Domains(context.Context) ([]Domain, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.domains)), nil
}

// readBack is what a definition says when it is read.
func readBack(s DomainSpec) *DomainSpec {
	s.Mark, s.NICs = Mark{}, slices.Clone(s.NICs)
	return &s
}

// set changes a domain. The lock is held.
func (w *world) set(id string, f func(*Domain)) {
	d := w.domains[id]
	f(&d)
	w.domains[id] = d
}

func (h fakeHypervisor) Define(_ context.Context, s DomainSpec) error {
	err := h.enter("define %s", s.Mark.Instance)
	defer h.mu.Unlock()
	if err != nil {
		return err
	}
	d, ok := h.domains[s.Mark.Instance]
	if !ok {
		d.State = DomainStopped
	}
	d.Mark, d.Transient = s.Mark, false
	if !h.stubborn || d.Config == nil {
		d.Config = readBack(s)
	}
	h.domains[s.Mark.Instance] = d
	h.specs[s.Mark.Instance] = s
	return nil
}

func (h fakeHypervisor) Start(_ context.Context, id string) error {
	err := h.enter("start %s", id)
	defer h.mu.Unlock()
	if err != nil {
		return err
	}
	d, ok := h.domains[id]
	if !ok {
		return errors.New("not defined")
	}
	if !h.disks[id].Root || h.specs[id].Root.Backing != nil && len(h.images) == 0 {
		return errors.New("no disk")
	}
	for _, n := range h.specs[id].NICs {
		if !h.hasTap(n.Tap) {
			return fmt.Errorf("no tap %s", n.Tap)
		}
	}
	if d.State == DomainRunning || h.asleep {
		return nil
	}
	d.State, d.Reason, d.Live = DomainRunning, StopUnknown, readBack(h.specs[id])
	if h.onBoot != nil {
		d = h.onBoot(h.world, d)
	}
	h.domains[id] = d
	h.tell(id, EventStarted)
	return nil
}

func (w *world) hasTap(tap string) bool {
	if w.network == nil {
		return false
	}
	for _, n := range w.network.Networks {
		for _, p := range n.Ports {
			if p.Local && network.Tap(p.ID) == tap {
				return true
			}
		}
	}
	return false
}

func (h fakeHypervisor) Shutdown(_ context.Context, id string) error {
	err := h.enter("shutdown %s", id)
	defer h.mu.Unlock()
	if err != nil {
		return err
	}
	if h.onAsk != nil {
		h.onAsk(h.world, id)
		return nil
	}
	h.stop(id, StopShutdown)
	return nil
}

func (h fakeHypervisor) Destroy(_ context.Context, id string) error {
	err := h.enter("destroy %s", id)
	defer h.mu.Unlock()
	if err != nil {
		return err
	}
	h.stop(id, StopDestroy)
	return nil
}

func (h fakeHypervisor) Reboot(_ context.Context, id string, hard bool) error {
	err := h.enter("reboot %s hard=%t", id, hard)
	defer h.mu.Unlock()
	if err != nil {
		return err
	}
	if hard || h.onAsk == nil {
		h.tell(id, EventRebooted)
	}
	return nil
}

func (h fakeHypervisor) turn(call, id string, from, to DomainState) error {
	err := h.enter("%s %s", call, id)
	defer h.mu.Unlock()
	if d := h.domains[id]; err == nil && d.State == from {
		d.State = to
		h.domains[id] = d
		h.tell(id, EventChanged)
	}
	return err
}

func (h fakeHypervisor) Suspend(_ context.Context, id string) error {
	return h.turn("suspend", id, DomainRunning, DomainPaused)
}

func (h fakeHypervisor) Resume(_ context.Context, id string) error {
	return h.turn("resume", id, DomainPaused, DomainRunning)
}

func (h fakeHypervisor) Plug(_ context.Context, id, mac, tap string) error {
	err := h.enter("plug %s %s", id, tap)
	defer h.mu.Unlock()
	if err == nil && !h.hasTap(tap) {
		err = errors.New("no tap")
	}
	if err == nil {
		h.set(id, func(d *Domain) {
			d.Unplugged = slices.DeleteFunc(slices.Clone(d.Unplugged), func(t string) bool { return t == tap })
		})
	}
	return err
}

func (h fakeHypervisor) Undefine(_ context.Context, id string) error {
	err := h.enter("undefine %s", id)
	defer h.mu.Unlock()
	if err == nil {
		delete(h.domains, id)
	}
	return err
}

func (h fakeHypervisor) Migrate(ctx context.Context, m Migration) error {
	err := h.enter("migrate %s", m.Instance)
	migrate := h.migrate
	h.mu.Unlock()
	if err == nil && migrate != nil {
		err = migrate(ctx, m)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		delete(h.domains, m.Instance)
	}
	return err
}

func (h fakeHypervisor) Receive(_ context.Context, id string, c Channel) (Stream, error) {
	err := h.enter("receive %s %s", id, c)
	defer h.mu.Unlock()
	if err != nil {
		return nil, err
	}
	here, there := net.Pipe()
	go func() { _, _ = io.Copy(here, here) }() // says what it hears
	return there, nil
}

func (h fakeHypervisor) SetMark(_ context.Context, m Mark) error {
	err := h.enter("mark %s %s reboots=%d", m.Instance, m.Power, m.Reboots)
	defer h.mu.Unlock()
	if err != nil {
		return err
	}
	d, ok := h.domains[m.Instance]
	if !ok {
		return errors.New("not defined")
	}
	d.Mark = m
	h.domains[m.Instance] = d
	return nil
}

func (h fakeHypervisor) Events(ctx context.Context) iter.Seq2[DomainEvent, error] {
	return func(yield func(DomainEvent, error) bool) {
		for {
			select {
			case e := <-h.events:
				if !yield(e, nil) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

func (h fakeHypervisor) Info(context.Context) (HypervisorInfo, error) {
	return HypervisorInfo{CPUs: 2, MemoryMiB: 4096, Architecture: "x86_64", Virtualization: "qemu"}, nil
}

type readSeekCloser struct{ *bytes.Reader }

func (readSeekCloser) Close() error { return nil }

func (h fakeHypervisor) ConsoleLog(_ context.Context, id string) (io.ReadSeekCloser, error) {
	return readSeekCloser{bytes.NewReader([]byte("console of " + id))}, nil
}

type fakeNetwork struct{ *world }

func (n fakeNetwork) Apply(_ context.Context, want network.Desired) ([]network.Difference, error) {
	err := n.enter("network")
	defer n.mu.Unlock()
	if err == nil {
		n.network, n.guests = &want, ""
	}
	found := n.found
	n.found = nil
	return found, err
}

func (n fakeNetwork) Look(context.Context) (network.Report, error) {
	err := n.enter("look")
	defer n.mu.Unlock()
	return network.Report{Desired: []string{"host: a", "host: b"}, Actual: []string{"host: a"}, Drift: []network.Difference{{Field: "b", Is: network.Absent, Want: "there"}}}, err
}

func (n fakeNetwork) Events(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for {
			select {
			case what := <-n.links:
				if !yield(what, nil) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

type fakeGuests struct{ *world }

func (g fakeGuests) Set(_ context.Context, want api.HostDesired) error {
	err := g.enter("guests")
	defer g.mu.Unlock()
	if err == nil {
		g.guests = guestsDigest(want)
	}
	return err
}

func (g fakeGuests) ConfigDrive(api.HostDesired, string) (map[string][]byte, error) {
	return map[string][]byte{"meta-data": nil}, nil
}

type fakeDisks struct{ *world }

func (f fakeDisks) FetchImage(ctx context.Context, i api.HostImage) error {
	if f.fetch != nil {
		if err := f.fetch(ctx); err != nil {
			return err
		}
	}
	err := f.enter("fetch %s", i.ID)
	defer f.mu.Unlock()
	if err == nil {
		f.images[i.SHA256] = true
	}
	return err
}

func (f fakeDisks) NoteAway(_ context.Context, id string, epoch int64) error {
	err := f.enter("away %s %d", id, epoch)
	defer f.mu.Unlock()
	if d, ok := f.disks[id]; ok && err == nil {
		d.Away = epoch
		f.disks[id] = d
	}
	return err
}

func (f fakeDisks) CreateRoot(_ context.Context, i api.HostInstance) error {
	err := f.enter("root %s", i.ID)
	defer f.mu.Unlock()
	if err == nil && !f.images[i.Image.SHA256] {
		err = errors.New("no image")
	}
	if err == nil {
		d := f.disks[i.ID]
		d.Root, d.Image = true, i.Image.SHA256
		if i.Incoming != nil {
			d.Away = i.Epoch
		}
		f.disks[i.ID] = d
	}
	return err
}

func (f fakeDisks) WriteConfigDrive(_ context.Context, id, digest string, _ map[string][]byte) error {
	err := f.enter("config %s", id)
	defer f.mu.Unlock()
	if err == nil {
		d := f.disks[id]
		d.ConfigDigest = digest
		f.disks[id] = d
	}
	return err
}

func (f fakeDisks) Remove(_ context.Context, id string) error {
	err := f.enter("remove %s", id)
	defer f.mu.Unlock()
	if err == nil {
		delete(f.disks, id)
	}
	return err
}

func (f fakeDisks) Orphans(context.Context) (map[string]Orphan, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.orphans), nil
}

func (f fakeDisks) NoteOrphan(_ context.Context, o Orphan) error {
	err := f.enter("note orphan %s", o.ID)
	defer f.mu.Unlock()
	if _, noted := f.orphans[o.ID]; err == nil && !noted {
		f.orphans[o.ID] = o
	}
	return err
}

func (f fakeDisks) SetAside(_ context.Context, o Orphan) error {
	err := f.enter("set aside %s", o.Instance)
	defer f.mu.Unlock()
	if d, there := f.disks[o.Instance]; err == nil && there {
		delete(f.orphans, o.ID)
		o.ID, o.Aside, o.Image = fmt.Sprintf("%s-%d", o.Instance, o.Epoch), true, d.Image
		f.orphans[o.ID] = o
		delete(f.disks, o.Instance)
	}
	return err
}

func (f fakeDisks) ForgetOrphan(_ context.Context, id string) error {
	err := f.enter("forget orphan %s", id)
	defer f.mu.Unlock()
	if err == nil {
		delete(f.orphans, id)
	}
	return err
}

func (f fakeDisks) RemoveImage(_ context.Context, sha string) error {
	err := f.enter("remove image %s", sha)
	defer f.mu.Unlock()
	if err == nil {
		delete(f.images, sha)
	}
	return err
}

func (f fakeDisks) TrimLogs(context.Context) error { return nil }

func (f fakeDisks) Observe(context.Context) (map[string]DiskState, map[string]bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.disks), maps.Clone(f.images), nil
}

var errFake = errors.New("it failed, as the test wants")

// What tests are about.
var (
	testUnderlay = Underlay{Address: netip.MustParseAddr("192.0.2.1"), MTU: 1550}
	testStart    = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	testImage    = api.HostImage{ID: "img_a", SHA256: "aa", Format: "qcow2", SizeBytes: 1, VirtualSizeBytes: 1}
)

// testInstance is one that is to run, with one port.
func testInstance(id string) api.HostInstance {
	return api.HostInstance{
		ID: id, Name: "name-" + id[4:], Project: "prj_a", Epoch: 1, Generation: 1, Power: api.PowerOn, StopGraceSeconds: 60,
		Size: api.Size{VCPUs: 1, MemoryMiB: 64, DiskGiB: 1}, Architecture: "x86_64", Image: testImage, Ports: []string{"prt_" + id},
	}
}

// testDesired is a host with these instances on one network.
func testDesired(is ...api.HostInstance) api.HostDesired {
	d := api.NewHostDesired()
	d.Revision = 7
	d.Networks["net_a"] = api.HostNetwork{ID: "net_a", VNI: 1, Subnets: map[string]api.HostSubnet{
		"sub_a": {CIDR: netip.MustParsePrefix("10.0.0.0/24"), Gateway: netip.MustParseAddr("10.0.0.1")},
	}}
	for n, i := range is {
		d.Instances[i.ID] = i
		for _, p := range i.Ports {
			d.Ports[p] = api.HostPort{
				ID: p, Network: "net_a", Instance: i.ID, Hostname: i.Name, Local: true, Generation: 1,
				MAC: fmt.Sprintf("02:00:00:00:00:%02x", n+1), Addresses: []api.PortAddress{{Subnet: "sub_a", Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(n + 2)})}},
			}
		}
	}
	return d
}
