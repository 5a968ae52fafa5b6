package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
	"github.com/cairn-cloud/cairn/bench"
)

type measurement struct {
	o      options
	dir    string
	etcd   *bench.Etcd
	cloud  *bench.Cloud
	client *client.Client
	tokens []string

	joined, made, running time.Duration // how long each took
	start                 bench.Usage   // of the controller
	busy                  bench.Usage   // after the last instance ran
	resident              []int64       // while idle, bytes
	idleCPU, etcdCPU      time.Duration
	watched               time.Duration
	served, rewatched     time.Duration // after the controller was killed
	bare                  time.Duration // what a bare client of etcd takes for the like
	keys                  int64
	revisions             int64 // that etcd's revision rose by while idle
}

func tenantName(i int) string { return fmt.Sprintf("tenant-%03d", i) }

// prepare makes what instances and hosts need.
func (m *measurement) prepare(ctx context.Context) error {
	if err := bench.Image(ctx, m.client, m.dir); err != nil {
		return err
	}
	for i := range m.o.tenants {
		if _, err := bench.Tenant(ctx, m.client, tenantName(i)); err != nil {
			return err
		}
	}
	for i := range m.o.hosts {
		t := &api.JoinToken{}
		t.Name = "join-" + hostName(i)
		r, err := m.client.Create(ctx, t, client.WriteOptions{})
		if err != nil {
			return err
		}
		m.tokens = append(m.tokens, r.Object.(*api.JoinToken).Secret)
	}
	return nil
}

// fleet is the process of the hosts.
type fleet struct {
	*bench.Process
	dir string
}

func (f *fleet) stop() error { return errors.Join(f.Stop(), os.RemoveAll(f.dir)) }

// startFleet lets all hosts join, and waits until they are ready. Their files
// are in memory where that can be: a thousand agents on one disk would wait for each other.
func (m *measurement) startFleet(ctx context.Context) (*fleet, error) {
	start := time.Now()
	files, err := os.MkdirTemp("/dev/shm", "cairn-bench-")
	if err != nil {
		if files, err = os.MkdirTemp("", "cairn-bench-"); err != nil {
			return nil, err
		}
	}
	b, err := json.Marshal(fleetSpec{Server: m.cloud.URL, Dir: files, Tokens: m.tokens})
	if err != nil {
		return nil, err
	}
	spec := filepath.Join(files, "fleet.json")
	if err := os.WriteFile(spec, b, 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(files))
	}
	p, _, err := bench.StartSelf(ctx, m.dir, "fleet", childFleet, spec)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(files))
	}
	f := &fleet{p, files}
	k, _ := api.KindByName(api.KindHost)
	err = bench.Until(ctx, m.client, k, m.o.hosts, func(o api.Object) bool { return o.StatusPtr().GetStatus().State == api.StateReady })
	if err != nil {
		return nil, errors.Join(err, f.stop())
	}
	m.joined = time.Since(start)
	bench.Say("%d hosts are ready after %s", m.o.hosts, bench.Round(m.joined))
	return f, nil
}

// load makes all instances, and waits until each is reported running.
func (m *measurement) load(ctx context.Context) (err error) {
	if m.start, err = m.cloud.Usage(); err != nil {
		return err
	}
	start := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.make(ctx, start) })
	g.Go(func() error {
		k, _ := api.KindByName(api.KindInstance)
		return bench.Until(ctx, m.client, k, m.o.instances, func(o api.Object) bool { return o.StatusPtr().GetStatus().State == api.StateRunning })
	})
	if err := g.Wait(); err != nil {
		return err
	}
	m.running = time.Since(start)
	bench.Say("all are running after %s", bench.Round(m.running))
	m.busy, err = m.cloud.Usage()
	return err
}

func (m *measurement) make(ctx context.Context, start time.Time) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(m.o.writers)
	for n := range m.o.instances {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			i := &api.Instance{}
			i.Name, i.Project = fmt.Sprintf("web-%05d", n), tenantName(n*m.o.tenants/m.o.instances)
			i.Labels = map[string]string{"tier": "web"}
			i.Spec.Type, i.Spec.Image, i.Spec.NICs = "t1-nano", bench.ImageName, []api.NIC{{Network: bench.NetworkName}}
			_, err := m.client.Create(ctx, i, client.WriteOptions{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	m.made = time.Since(start)
	bench.Say("%d instances are made after %s", m.o.instances, bench.Round(m.made))
	return nil
}

// sampleEvery is how often the resident memory is read while idle.
const sampleEvery = 5 * time.Second

// idle lets everything come to rest, and then watches the controller and etcd.
func (m *measurement) idle(ctx context.Context) error {
	bench.Say("waiting %s, then watching for %s", m.o.settle, m.o.window)
	if err := wait(ctx, m.o.settle); err != nil {
		return err
	}
	before, err := m.snapshot(ctx)
	if err != nil {
		return err
	}
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for time.Since(before.at) < m.o.window {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		u, err := m.cloud.Usage()
		if err != nil {
			return err
		}
		m.resident = append(m.resident, u.Resident)
	}
	after, err := m.snapshot(ctx)
	if err != nil {
		return err
	}
	m.watched = after.at.Sub(before.at)
	m.idleCPU, m.etcdCPU = after.cloud.CPU-before.cloud.CPU, after.etcd.CPU-before.etcd.CPU
	m.revisions = after.revision - before.revision
	return nil
}

// restart kills the controller, and waits until every host follows its desired
// state again.
func (m *measurement) restart(ctx context.Context, f *fleet) (err error) {
	for len(f.Lines) > 0 {
		<-f.Lines // of the beginning
	}
	if m.bare, m.keys, err = m.etcd.Rewatch(ctx, "/cairn/", m.o.hosts); err != nil {
		return err
	}
	start := time.Now()
	if err := m.cloud.Restart(ctx); err != nil {
		return err
	}
	m.served = time.Since(start)
	for {
		select {
		case line := <-f.Lines:
			if line != wordWatched {
				continue
			}
			m.rewatched = time.Since(start)
			bench.Say("all hosts follow their desired state %s after the controller was killed", bench.Round(m.rewatched))
			return nil
		case <-ctx.Done():
			return fmt.Errorf("wait for the hosts' streams: %w", context.Cause(ctx))
		}
	}
}

type snapshot struct {
	at          time.Time
	cloud, etcd bench.Usage
	revision    int64
}

func (m *measurement) snapshot(ctx context.Context) (s snapshot, err error) {
	s.at = time.Now()
	if s.revision, err = m.etcd.Revision(ctx); err != nil {
		return s, err
	}
	if s.cloud, err = m.cloud.Usage(); err != nil {
		return s, err
	}
	s.etcd, err = m.etcd.Usage()
	return s, err
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// The aims.
const (
	mostResident = 250_000_000
	mostShare    = 0.02 // of a core
)

func (m *measurement) print() error {
	fmt.Println(bench.Machine())
	fmt.Printf("\n%d hosts, %d instances with a port each in %d networks, one controller\n\n", m.o.hosts, m.o.instances, m.o.tenants)
	t := bench.NewTable(os.Stdout, "", "measured", "aim", "")
	t.Row("all hosts joined and ready", m.joined, "", "")
	t.Row("all instances made", m.made, "", "")
	t.Row("all placed and reported running", m.running, "", "reached")
	t.Row("the controller's processor time for that", m.busy.CPU-m.start.CPU, "", "")
	t.Row("its most resident memory until then", megabytes(m.busy.Peak), "", "")
	most := bench.Quantile(m.resident, 1)
	share := m.idleCPU.Seconds() / m.watched.Seconds()
	t.Row(fmt.Sprintf("idle for %s: most resident memory", m.watched.Round(time.Second)), megabytes(most), "< 250 MB", bench.Verdict(most < mostResident))
	t.Row("idle: processor", percent(share), "< 2% of a core", bench.Verdict(share < mostShare))
	t.Row("idle: revisions that etcd's store moved by", m.revisions, "0", bench.Verdict(m.revisions == 0))
	t.Row("idle: etcd's own processor", percent(m.etcdCPU.Seconds()/m.watched.Seconds()), "", "")
	t.Row("controller killed and started: it serves again", m.served, "", "")
	t.Row("and every host follows its desired state again", m.rewatched, "", "")
	t.Row(fmt.Sprintf("a bare client: %d keys listed, %d watches made", m.keys, m.o.hosts), m.bare, "", "")
	t.Row("ratio of the two", fmt.Sprintf("%.1f", m.rewatched.Seconds()/m.bare.Seconds()), "", "")
	return t.End()
}

func megabytes(bytes int64) string { return fmt.Sprintf("%d MB", bytes/1_000_000) }
func percent(share float64) string { return fmt.Sprintf("%.2f%%", share*100) }
