package store

import (
	"crypto/rand"
	"fmt"
	"iter"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/cairn-cloud/cairn/api"
)

// Run with: go test -tags libvirt_dlopen -run '^$' -bench . ./controller/store/

func benchStore(b *testing.B) *Etcd {
	s, err := OpenEmbedded(b.Context(), b.TempDir(), Options{Now: time.Now, Rand: rand.Reader})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	c := Change{Create: []api.Object{projectNamed("a")}}
	img := &api.Image{}
	img.ID, img.Name, img.Project = "img_a", "debian", "prj_a"
	n := &api.Network{}
	n.ID, n.Name, n.Project = "net_a", "front", "prj_a"
	sub := &api.Subnet{}
	sub.ID, sub.Name, sub.Project, sub.Spec.Network = "sub_a", "s", "prj_a", "net_a"
	h := &api.Host{}
	h.ID, h.Name = "hst_a", "h"
	c.Create = append(c.Create, img, n, sub, h)
	if _, err := s.Commit(b.Context(), func(*View) (Change, error) { return c, nil }); err != nil {
		b.Fatal(err)
	}
	return s
}

// machine is an instance with its port, as large as real ones are.
func machine(n int) (*api.Instance, *api.Port) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	i, p := &api.Instance{}, &api.Port{}
	i.Meta = api.Meta{ID: fmt.Sprintf("ins_%020d", n), Name: fmt.Sprintf("web-%06d", n), Project: "prj_a", Generation: 1, CreatedAt: now, UpdatedAt: now, Labels: map[string]string{"tier": "web"}, Finalizers: []string{api.FinalizerAgent}}
	p.Meta = api.Meta{ID: fmt.Sprintf("prt_%020d", n), Name: fmt.Sprintf("web-%06d-nic0", n), Project: "prj_a", Generation: 1, CreatedAt: now, UpdatedAt: now}
	grace := 60
	i.Spec = api.InstanceSpec{
		Type: "typ_a", Image: "img_a", Size: api.Size{VCPUs: 1, MemoryMiB: 512, DiskGiB: 5}, Architecture: "x86_64", Power: api.PowerOn, StopGraceSeconds: &grace,
		NICs: []api.NIC{{Network: "net_a", Port: p.ID}},
	}
	i.Placement = api.Placement{Host: "hst_a", HostName: "h", Epoch: 1, Reason: "best fit of 1000 hosts"}
	i.Status.State, i.Status.ObservedGeneration, i.Status.Host, i.Status.Epoch, i.Status.Addresses = api.StateRunning, 1, "h", 1, []string{"10.0.0.1"}
	p.Spec = api.PortSpec{Network: "net_a", MAC: fmt.Sprintf("02:00:00:%02x:%02x:%02x", n>>16&255, n>>8&255, n&255), Addresses: []api.PortAddress{{Subnet: "sub_a", Address: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})}}, Instance: i.ID, Owned: true}
	p.Status.State, p.Status.ObservedGeneration, p.Status.Host = api.StateActive, 1, "hst_a"
	return i, p
}

// fill writes n machines with all their records.
func fill(b *testing.B, s *Etcd, n int) {
	const chunk = 60
	for from := 0; from < n; from += chunk {
		_, err := s.Commit(b.Context(), func(*View) (Change, error) {
			var c Change
			for k := from; k < min(from+chunk, n); k++ {
				i, p := machine(k)
				c.Create = append(c.Create, i, p)
				c.Place = append(c.Place, i)
				c.Status = append(c.Status, i, p)
			}
			return c, nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

const writers = 64 // at once, on each side of a comparison

// BenchmarkWrite compares creates of an instance with its port through the
// store with a bare client that sends the same keys and values, each create in its own transaction.
func BenchmarkWrite(b *testing.B) {
	b.Run("store", func(b *testing.B) {
		s := benchStore(b)
		var n atomic.Int64
		b.SetParallelism(writers / runtime.GOMAXPROCS(0))
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				i, p := machine(int(n.Add(1)))
				if _, err := s.Commit(b.Context(), func(*View) (Change, error) { return Change{Create: []api.Object{i, p}}, nil }); err != nil {
					b.Error(err)
					return
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
	})
	b.Run("bare", func(b *testing.B) {
		s := benchStore(b)
		var n atomic.Int64
		b.SetParallelism(writers / runtime.GOMAXPROCS(0))
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				i, p := machine(int(n.Add(1)))
				cmps, ops := bare(b, s.mirror.view(), i, p)
				if r, err := s.client.Txn(b.Context()).If(cmps...).Then(ops...).Commit(); err != nil || !r.Succeeded {
					b.Errorf("%v", err)
					return
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
	})
}

// bare is the transaction of one create. It leaves out the comparison of the quota's counter,
// on which bare clients side by side would only fail.
func bare(b *testing.B, v *View, i *api.Instance, p *api.Port) ([]clientv3.Cmp, []clientv3.Op) {
	st := newStage(v, embeddedTxnOps, nil)
	d, err := st.prepare(Change{Create: []api.Object{i, p}})
	if err != nil {
		b.Fatal(err)
	}
	quota := countKey(api.QuotaKey(i.Project))
	for n, c := range d.conds {
		if c.key == quota {
			d.conds[n].key, d.conds[n].mod = quota+"/unused", 0
		}
	}
	st.add(d)
	return st.compares(), st.operations(0)
}

func drain(b *testing.B, list iter.Seq[api.Object], n int) {
	got := 0
	for range list {
		if got++; got == n {
			return
		}
	}
	b.Fatalf("%d objects, want %d", got, n)
}

// BenchmarkPage reads 100 of 100,000 instances, from a random place.
func BenchmarkPage(b *testing.B) {
	t := newTables()
	k, _ := api.KindByName(api.KindInstance)
	for n := range 100_000 {
		i, _ := machine(n)
		var e *entry
		t.replace(e, e.with(k, partSpec, i, 1, 1), partSpec)
	}
	v := &View{t: t, rev: 1}
	b.ResetTimer()
	for n := range b.N {
		drain(b, v.List(api.KindInstance, "prj_a", fmt.Sprintf("ins_%020d", n*7919%99_000)), 100)
	}
}

// BenchmarkMemory says what 20,000 instances with a port each cost in memory: in
// a second store beside the one that runs etcd, so that etcd is not counted.
func BenchmarkMemory(b *testing.B) {
	for range b.N {
		s := benchStore(b)
		fill(b, s, 20_000)
		before := heap()
		o, err := Open(b.Context(), Options{Now: time.Now, Rand: rand.Reader, Beside: s})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(heap()-before)/(1<<20), "MiB")
		if err := o.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkStart opens a store on 20,000 instances with a port each.
func BenchmarkStart(b *testing.B) {
	s := benchStore(b)
	fill(b, s, 20_000)
	b.ResetTimer()
	for range b.N {
		o, err := Open(b.Context(), Options{Now: time.Now, Rand: rand.Reader, Beside: s})
		if err != nil {
			b.Fatal(err)
		}
		if err := o.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
