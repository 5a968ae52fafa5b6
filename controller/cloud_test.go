package controller

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/pki"
	"github.com/cairn-cloud/cairn/controller/store"
	"github.com/cairn-cloud/cairn/controller/store/storetest"
)

// patience is how long a test waits for what must come; it is no measure.
const patience = 60 * time.Second

// cloud is a control plane on a real etcd, with a project, an image and a network.
type cloud struct {
	*testing.T
	ctx     context.Context
	store   *store.Etcd
	c       *Controller
	b       *Backend
	project string
	image   string
	network string
	stop    func()
}

// newCloud makes a control plane whose loops do not run yet.
func newCloud(t *testing.T) *cloud {
	t.Helper()
	return newCloudOn(t, storetest.New(t))
}

func newCloudOn(t *testing.T, s *store.Etcd) *cloud {
	t.Helper()
	c := joinCloud(t, s, t.TempDir())
	if began, err := c.b.Bootstrap(c.ctx, func(string) error { return nil }); err != nil || !began {
		t.Fatalf("first start: %v, %v", began, err)
	}
	p := &api.Project{}
	p.Name = "p"
	p.Spec.Quota = api.Quota{Instances: 10000, VCPUs: 100000, MemoryMiB: 1 << 40, DiskGiB: 1 << 30, Networks: 1000, Ports: 100000}
	c.project = c.create(p).GetMeta().ID
	c.image = c.readyImage("tiny", 1<<30)
	n := &api.Network{}
	n.Name = "net"
	c.network = c.create(n).GetMeta().ID
	return c
}

// joinCloud makes one more controller on a store.
func joinCloud(t *testing.T, s *store.Etcd, dir string) *cloud {
	t.Helper()
	ca, err := pki.Open(dir, time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	c, err := New(Options{Store: s, CA: ca, Now: time.Now, Rand: rand.Reader, DataDir: dir, Log: log, AllowPrivateImport: true})
	if err != nil {
		t.Fatal(err)
	}
	return &cloud{T: t, ctx: t.Context(), store: s, c: c, b: c.Backend()}
}

// run starts the loops; they end before the test does.
func (c *cloud) run() {
	c.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.c.Run(ctx); err != nil {
			c.Errorf("the controller ended: %v", err)
		}
	})
	c.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

var admin = api.Principal{Actor: "token/test", Token: "tok_test", Cloud: true, Role: api.RoleAdmin}

func (c *cloud) write() api.Write { return api.Write{Principal: admin} }

// try creates an object as REST would: complete and valid.
func (c *cloud) try(w api.Write, o api.Object) (api.Written, error) {
	if k, _ := api.KindOf(o); k.Scope == api.ScopeProject && o.GetMeta().Project == "" {
		o.GetMeta().Project = c.project
	}
	o.Default()
	if err := o.Validate(); err != nil {
		return api.Written{}, err
	}
	return c.b.Create(c.ctx, w, o)
}

func (c *cloud) create(o api.Object) api.Object {
	c.Helper()
	done, err := c.try(c.write(), o)
	if err != nil {
		c.Fatalf("create %s: %v", o.GetMeta().Name, err)
	}
	return done.Object
}

func (c *cloud) subnet(name, cidr string) string {
	c.Helper()
	s := &api.Subnet{}
	s.Name = name
	s.Spec = api.SubnetSpec{Network: "net", CIDR: netip.MustParsePrefix(cidr)}
	return c.create(s).GetMeta().ID
}

func (c *cloud) typ(name string, size api.Size) {
	c.Helper()
	t := &api.InstanceType{}
	t.Name, t.Spec.Size = name, size
	c.create(t)
}

// readyImage makes an image as it is after an upload.
func (c *cloud) readyImage(name string, virtual int64) string {
	c.Helper()
	img := &api.Image{}
	img.Name, img.Spec.SizeBytes = name, 4096
	id := c.create(img).GetMeta().ID
	c.commit(func(v *store.View) (store.Change, error) {
		n := imageStatus(get[*api.Image](v, api.KindImage, id), api.StateReady, api.Condition{OK: true, Reason: "Ready"})
		n.Status.SHA256, n.Status.Format, n.Status.VirtualSizeBytes, n.Status.SizeBytes = fmt.Sprintf("%064x", len(name)), "qcow2", virtual, 4096
		return store.Change{Status: []api.Object{n}}, nil
	})
	return id
}

func (c *cloud) commit(decide func(v *store.View) (store.Change, error)) {
	c.Helper()
	if _, err := c.store.Commit(c.ctx, decide); err != nil {
		c.Fatal(err)
	}
}

func (c *cloud) view() api.View {
	c.Helper()
	v, err := c.b.View(c.ctx, 0)
	if err != nil {
		c.Fatal(err)
	}
	return v
}

// instance is one of the type nano in the network.
func instance(name string) *api.Instance {
	i := &api.Instance{}
	i.Name = name
	i.Spec = api.InstanceSpec{Type: "t1-nano", Image: "tiny", NICs: []api.NIC{{Network: "net"}}}
	return i
}

func csrFor(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func (c *cloud) joinToken(name string) *api.JoinToken {
	c.Helper()
	t := &api.JoinToken{}
	t.Name = name
	return c.create(t).(*api.JoinToken)
}

// host joins a host of that size, which beats once and reports what it is.
func (c *cloud) host(name string, cpus, memory, disk int64) string {
	c.Helper()
	r, err := c.b.Join(c.ctx, api.JoinRequest{Secret: c.joinToken("join-" + name).Secret, Name: name, CSR: csrFor(c.T)})
	if err != nil {
		c.Fatal(err)
	}
	if _, err := c.b.Heartbeat(c.ctx, r.HostID); err != nil {
		c.Fatal(err)
	}
	s := &api.HostStatus{Address: "192.0.2.1", Architecture: "x86_64", CPUs: cpus, MemoryMiB: memory + 1024, DiskGiB: disk + 5}
	s.State, s.ObservedGeneration = api.StateReady, 1
	if _, err := c.b.Report(c.ctx, r.HostID, 0, []api.Report{{Kind: api.KindHost, ID: r.HostID, Host: s}}); err != nil {
		c.Fatal(err)
	}
	return r.HostID
}

// until waits for the store to be as the condition wants it, woken by changes.
func (c *cloud) until(what string, ok func(v api.View) bool) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	v := c.view()
	if ok(v) {
		return
	}
	for e, err := range c.b.Watch(ctx, "", api.Cursor{Revision: v.Revision(), Index: wholeRevision}) {
		if err != nil {
			c.Fatalf("waited in vain: %s: %v", what, err)
		}
		v, err := c.b.View(ctx, e.Cursor.Revision)
		if err != nil {
			c.Fatalf("waited in vain: %s: %v", what, err)
		}
		if ok(v) {
			return
		}
	}
	c.Fatalf("waited in vain: %s", what)
}

func count(v api.View, kind string, ok func(api.Object) bool) (n int) {
	for o := range v.List(kind, "", "") {
		if ok == nil || ok(o) {
			n++
		}
	}
	return n
}

func placed(o api.Object) bool { return o.(*api.Instance).Placement.Host != "" }

// refused demands a problem of that status, code and field.
func refused(t testing.TB, err error, status int, code, field string) *api.Problem {
	t.Helper()
	var p *api.Problem
	if !errors.As(err, &p) {
		t.Errorf("got %v, want the problem %d %s", err, status, code)
		return &api.Problem{}
	}
	if p.Status != status || p.Code != code || p.Field != field {
		t.Errorf("refused with %d %s at %q (%s), want %d %s at %q", p.Status, p.Code, p.Field, p.Detail, status, code, field)
	}
	if p.Detail == "" {
		t.Errorf("%s says nothing", code)
	}
	return p
}

// place runs the scheduler alone, as if this process led.
func (c *cloud) place() {
	c.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := newPlacements(c.c).run(ctx); err != nil {
			c.Errorf("placing ended: %v", err)
		}
	})
	c.stop = func() {
		cancel()
		wg.Wait()
	}
	c.Cleanup(c.stop)
}

// idle stops the scheduler of place, so that nothing writes but the test.
func (c *cloud) idle() { c.stop() }

// say reports something as a host that has seen nothing.
func (c *cloud) say(host string, reports []api.Report) error {
	_, err := c.b.Report(c.ctx, host, 0, reports)
	return err
}
