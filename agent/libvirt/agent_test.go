package libvirt

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"iter"
	"log/slog"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/agent/disk"
	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// These tests run the whole agent over real libvirt, QEMU and disks. Only the
// control plane is the test itself, and instances have no NICs.

// plane is a control plane that says what the test says.
type plane struct {
	image   []byte
	stream  chan []api.DesiredItem
	reports chan api.Report
}

func (p *plane) Renew(context.Context, string, string) (api.JoinResponse, error) {
	return api.JoinResponse{}, errors.New("not now")
}
func (p *plane) Heartbeat(context.Context, string) (int64, error) { return 1, nil }

func (p *plane) Report(ctx context.Context, _ string, _ int64, rs []api.Report) (int64, error) {
	for _, r := range rs {
		select {
		case p.reports <- r:
		case <-ctx.Done():
		}
	}
	return 0, nil
}

func (p *plane) Desired(ctx context.Context, _ string, _ func() int64) iter.Seq2[[]api.DesiredItem, error] {
	return func(yield func([]api.DesiredItem, error) bool) {
		for {
			select {
			case items := <-p.stream:
				if !yield(items, nil) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

func (p *plane) ImageData(_ context.Context, _, _ string, offset int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(p.image[offset:])), nil
}

// noNetwork is the network of instances that have none.
type noNetwork struct{}

func (noNetwork) Apply(context.Context, network.Desired) ([]network.Difference, error) {
	return nil, nil
}

func (noNetwork) Look(context.Context) (network.Report, error) { return network.Report{}, nil }

func (noNetwork) Events(ctx context.Context) iter.Seq2[string, error] {
	return func(func(string, error) bool) { <-ctx.Done() }
}
func (noNetwork) Set(context.Context, api.HostDesired) error { return nil }
func (noNetwork) ConfigDrive(api.HostDesired, string) (map[string][]byte, error) {
	return map[string][]byte{"meta-data": []byte("instance-id: x\n")}, nil
}

// hostRig is an agent on a libvirtd of its own.
type hostRig struct {
	t      *testing.T
	daemon *daemon
	layout agent.Layout
	plane  *plane
	want   api.HostInstance
	stop   func()
}

func newHostRig(t *testing.T, guest []byte) *hostRig {
	t.Helper()
	image := make([]byte, 1<<20)
	copy(image, guest)
	image[510], image[511] = 0x55, 0xaa
	sum := sha256.Sum256(image)
	r := &hostRig{t: t, daemon: newDaemon(t), layout: agent.Layout(t.TempDir())}
	r.plane = &plane{image: image, stream: make(chan []api.DesiredItem), reports: make(chan api.Report, 1000)}
	r.want = api.HostInstance{
		ID: "ins_a", Name: "a", Project: "prj_a", Epoch: 1, Generation: 1, Power: api.PowerOn, StopGraceSeconds: 60, Architecture: "x86_64",
		Size:  api.Size{VCPUs: 1, MemoryMiB: 64, DiskGiB: 1},
		Image: api.HostImage{ID: "img_a", SHA256: hex.EncodeToString(sum[:]), Format: "raw", SizeBytes: int64(len(image)), VirtualSizeBytes: int64(len(image))},
	}
	writeIdentity(t, r.layout)
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *hostRig) start() {
	r.t.Helper()
	id, err := agent.Enrol(r.t.Context(), agent.EnrolOptions{Layout: r.layout})
	if err != nil {
		r.t.Fatal(err)
	}
	disks, err := disk.Open(r.layout, agent.FetchFrom(r.plane))
	if err != nil {
		r.t.Fatal(err)
	}
	h := r.daemon.open(r.layout)
	a, err := agent.New(agent.Options{
		Layout: r.layout, Name: "h1", Identity: id, ControlPlane: r.plane, Underlay: agent.Underlay{Address: netip.MustParseAddr("127.0.0.1"), MTU: 1500},
		Drivers: agent.Drivers{Hypervisor: h, Network: noNetwork{}, Disks: disks, Guests: noNetwork{}},
		Log:     slog.New(slog.DiscardHandler), Now: time.Now, Rand: func() float64 { return 0 },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
		_ = h.Close()
	})
}

// say tells the agent all that is wanted: the one instance, as changed.
func (r *hostRig) say(change func(*api.HostInstance)) {
	if change != nil {
		change(&r.want)
		r.want.Generation++
	}
	w := r.want
	r.plane.stream <- []api.DesiredItem{{Op: "set", Kind: api.KindInstance, ID: w.ID, Instance: &w}, {Op: "synced", Revision: w.Generation}}
}

// until reads reports on to one of the instance that is as the test wants.
func (r *hostRig) until(what string, ok func(api.Report) bool) api.InstanceStatus {
	r.t.Helper()
	end := time.After(patience)
	var last any
	for {
		select {
		case x := <-r.plane.reports:
			if x.Kind != api.KindInstance {
				continue
			}
			if ok(x) {
				return *x.Instance
			}
			last = *x.Instance
		case <-end:
			r.t.Fatalf("it was not reported %s; last: %+v", what, last)
		}
	}
}

func (r *hostRig) untilState(s api.State) api.InstanceStatus {
	r.t.Helper()
	return r.until(string(s), func(x api.Report) bool {
		return x.Instance.State == s && x.Instance.ObservedGeneration == r.want.Generation
	})
}

func TestAgent_lifeOfAnInstanceOnRealLibvirt(t *testing.T) {
	r := newHostRig(t, buttonGuest)
	r.say(nil)
	r.untilState(api.StateRunning)
	pid := r.daemon.qemuPID("ins_a")

	r.stop()
	r.start()
	r.say(nil)
	r.untilState(api.StateRunning)
	r.daemon.kill()
	r.daemon.start()
	r.say(func(i *api.HostInstance) { i.Reboots++ })
	if s := r.untilState(api.StateRunning); s.Reboots != 1 {
		t.Errorf("after a reboot: %+v", s)
	}
	if got := r.daemon.qemuPID("ins_a"); got != pid {
		t.Errorf("QEMU is another process (%d, was %d) after restarts of the agent and libvirtd and a reboot of the guest", got, pid)
	}

	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.until("crashed", func(x api.Report) bool {
		for _, e := range x.Events {
			if e.Reason == "Crashed" && e.Warning {
				return true
			}
		}
		return false
	})
	r.untilState(api.StateRunning)

	r.say(func(i *api.HostInstance) { i.Power = api.PowerOff })
	r.untilState(api.StateStopped)
	r.say(func(i *api.HostInstance) { i.Power = api.PowerOn })
	r.untilState(api.StateRunning)
	r.say(func(i *api.HostInstance) { i.Deleting = true })
	r.untilState(api.StateGone)
	if _, err := os.Stat(r.layout.Instance("ins_a")); !os.IsNotExist(err) {
		t.Errorf("files are left: %v", err)
	}
	h := r.daemon.open(r.layout)
	if ds, err := h.Domains(t.Context()); err != nil || len(ds) != 0 {
		t.Errorf("domains are left: %v, %v", ds, err)
	}
}

func TestAgent_aGuestThatSwitchesItselfOffOnRealLibvirt(t *testing.T) {
	r := newHostRig(t, haltingGuest)
	r.say(nil)
	s := r.untilState(api.StateStopped)
	if c := s.Condition(agent.Running); c == nil || c.OK || c.Reason != "GuestShutdown" {
		t.Errorf("%+v", c)
	}
}

// writeIdentity makes the machine a host that has joined.
func writeIdentity(t *testing.T, l agent.Layout) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hst_a"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(l.PKI(), 0o700); err != nil {
		t.Fatal(err)
	}
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, filepath.Join(l.PKI(), "host.crt"), cert)
	write(t, filepath.Join(l.PKI(), "ca.crt"), cert)
	write(t, filepath.Join(l.PKI(), "host.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
}
