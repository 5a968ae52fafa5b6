package controller

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store/storetest"
)

// atOnce calls f for 0 … n-1 at once and returns the results by problem code,
// "" for success.
func atOnce(t *testing.T, n int, f func(n int) error) map[string]int {
	t.Helper()
	codes := make([]string, n)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			err := f(i)
			var p *api.Problem
			switch {
			case errors.As(err, &p):
				codes[i] = p.Code
			case err != nil:
				codes[i] = "error"
				t.Error(err)
			}
		})
	}
	close(start)
	wg.Wait()
	out := map[string]int{}
	for _, c := range codes {
		out[c]++
	}
	return out
}

// TestCreate_thousandAtOnce: exactly as many instances are made as the quota
// and the subnet let in, and exactly as many placed as the hosts have room for.
func TestCreate_thousandAtOnce(t *testing.T) {
	for _, x := range []struct {
		name, cidr, code string
		quota            int64 // of instances
		made, placed     int
	}{
		{"the quota", "10.0.0.0/16", "quota_exceeded", 300, 300, 90},
		{"the subnet", "10.0.0.0/24", "subnet_exhausted", 5000, 253, 90},
		{"the room", "10.0.0.0/16", "", 5000, 1000, 90},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := newCloud(t)
			c.subnet("sub", x.cidr)
			for n := range 3 {
				c.host(fmt.Sprint("h", n), 8, 30*128, 1000) // memory for 30, CPUs for 32
			}
			if _, err := c.b.Update(c.ctx, c.write(), api.KindProject, c.project, func(o api.Object) error {
				o.(*api.Project).Spec.Quota.Instances = x.quota
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			c.run()
			got := atOnce(t, 1000, func(n int) error {
				_, err := c.try(c.write(), instance(fmt.Sprint("i", n)))
				return err
			})
			if got[""] != x.made || x.code != "" && got[x.code] != 1000-x.made {
				t.Errorf("the answers are %v, want %d made and the rest %s", got, x.made, x.code)
			}
			c.until("all that fit are placed, and the others say why not", func(v api.View) bool {
				return count(v, api.KindInstance, func(o api.Object) bool { return placed(o) || len(o.(*api.Instance).Placement.Rejected) > 0 }) == x.made
			})
			v := c.view()
			if n := count(v, api.KindInstance, placed); n != x.placed {
				t.Errorf("%d are placed, want %d", n, x.placed)
			}
			if n := count(v, api.KindPort, nil); n != x.made {
				t.Errorf("%d ports, want %d", n, x.made)
			}
			c.sound()
		})
	}
}

// sound checks what must hold whatever happened: no host is over its room, no
// address is given twice, and the counters say what there is.
func (c *cloud) sound() {
	c.Helper()
	v := c.view()
	on := map[string]api.Size{}
	quota := map[string]int64{}
	for o := range v.List(api.KindInstance, c.project, "") {
		i := o.(*api.Instance)
		quota["instances"]++
		quota["vcpus"] += i.Spec.Size.VCPUs
		holds := []string{i.Placement.Host}
		if t := i.Placement.Target; t != nil {
			holds = append(holds, t.Host)
		}
		for _, h := range holds {
			if h == "" {
				continue
			}
			s := on[h]
			on[h] = api.Size{VCPUs: s.VCPUs + i.Spec.Size.VCPUs, MemoryMiB: s.MemoryMiB + i.Spec.Size.MemoryMiB, DiskGiB: s.DiskGiB + i.Spec.Size.DiskGiB}
		}
	}
	for o := range v.List(api.KindHost, "", "") {
		h := o.(*api.Host)
		used, room := on[h.ID], h.Capacity()
		if used.VCPUs > room.VCPUs || used.MemoryMiB > room.MemoryMiB || used.DiskGiB > room.DiskGiB {
			c.Errorf("host %s has %+v placed on it, and room for %+v", h.Name, used, room)
		}
		if r := h.Status.Reserved; r["vcpus"] != used.VCPUs || r["memory_mib"] != used.MemoryMiB || r["disk_gib"] != used.DiskGiB {
			c.Errorf("host %s has %v reserved, and %+v placed on it", h.Name, r, used)
		}
	}
	addresses := map[netip.Addr]string{}
	for o := range v.List(api.KindPort, c.project, "") {
		p := o.(*api.Port)
		quota["ports"]++
		for _, a := range p.Spec.Addresses {
			if other := addresses[a.Address]; other != "" {
				c.Errorf("%s is given to %s and %s", a.Address, other, p.ID)
			}
			addresses[a.Address] = p.ID
		}
	}
	used := v.Get(api.KindProject, c.project).(*api.Project).Status.Usage
	for name, n := range quota {
		if used[name] != n {
			c.Errorf("%d %s are counted, and there are %d", used[name], name, n)
		}
	}
}

// TestControllers_twoOnOneStoreNeverPlaceTwice: two schedulers at once, without
// an election between them.
func TestControllers_twoOnOneStoreNeverPlaceTwice(t *testing.T) {
	a := newCloud(t)
	b := joinCloud(t, storetest.Beside(t, a.store), t.TempDir())
	b.project = a.project
	a.subnet("sub", "10.0.0.0/16")
	for n := range 3 {
		a.host(fmt.Sprint("h", n), 8, 20*128, 1000)
	}
	both := []*cloud{a, b}
	if _, err := b.store.View(b.ctx, a.view().Revision()); err != nil {
		t.Fatal(err)
	}
	for _, c := range both {
		c.place()
	}
	if got := atOnce(t, 200, func(n int) error {
		_, err := both[n%2].try(a.write(), instance(fmt.Sprint("i", n)))
		return err
	}); got[""] != 200 {
		t.Fatalf("the answers are %v", got)
	}
	a.until("60 are placed and 140 say why not", func(v api.View) bool {
		return count(v, api.KindInstance, func(o api.Object) bool { return placed(o) || len(o.(*api.Instance).Placement.Rejected) > 0 }) == 200
	})
	for o := range a.view().List(api.KindInstance, "", "") {
		if i := o.(*api.Instance); i.Placement.Host != "" && i.Placement.Epoch != 1 {
			t.Errorf("%s was placed %d times", i.Name, i.Placement.Epoch)
		}
	}
	if n := count(a.view(), api.KindInstance, placed); n != 60 {
		t.Errorf("%d are placed, want 60", n)
	}
	a.sound()
}

func TestSubnets_thatOverlapNeverSlipInTogether(t *testing.T) {
	a := newCloud(t)
	b := joinCloud(t, storetest.Beside(t, a.store), t.TempDir())
	b.project = a.project
	both := []*cloud{a, b}
	got := atOnce(t, 20, func(n int) error {
		s := &api.Subnet{}
		s.Name = fmt.Sprint("s", n)
		s.Spec = api.SubnetSpec{Network: "net", CIDR: netip.PrefixFrom(netip.MustParseAddr("10.0.0.0"), 10+n%8)}
		_, err := both[n%2].try(a.write(), s)
		return err
	})
	if got[""] != 1 || got["subnet_overlap"] != 19 {
		t.Errorf("the answers are %v", got)
	}
}

func TestIdempotency_oneResourceHoweverOftenItIsSent(t *testing.T) {
	c := newCloud(t)
	w := c.write()
	w.IdempotencyKey, w.Fingerprint = "k1", "create-n"
	n := &api.Network{}
	n.Name = "n"
	ids := make([]string, 3)
	replayed := make([]bool, 3)
	if got := atOnce(t, 3, func(i int) error {
		done, err := c.try(w, api.Clone(n))
		if err == nil {
			ids[i], replayed[i] = done.Object.GetMeta().ID, done.Replayed
		}
		return err
	}); got[""] != 3 {
		t.Fatalf("the answers are %v", got)
	}
	first := 0
	for i := range ids {
		if ids[i] != ids[0] {
			t.Errorf("different resources: %v", ids)
		}
		if !replayed[i] {
			first++
		}
	}
	if first != 1 {
		t.Errorf("%d of 3 were not replays", first)
	}
	other := w
	other.Fingerprint = "another body"
	_, err := c.try(other, api.Clone(n))
	refused(t, err, 409, "idempotency_key_reused", "Idempotency-Key")
	stranger := other
	stranger.Principal.Token = "tok_other"
	m := &api.Network{}
	m.Name = "m"
	if done, err := c.try(stranger, m); err != nil || done.Replayed {
		t.Errorf("another caller's key is taken for the same: %+v, %v", done, err)
	}
	del := c.write()
	del.IdempotencyKey, del.Fingerprint = "k2", "delete-n"
	for i := range 2 {
		done, err := c.b.Delete(c.ctx, del, api.KindNetwork, ids[0], false)
		if err != nil || done.Object != nil || done.Replayed != (i == 1) {
			t.Errorf("delete %d: %+v, %v", i, done, err)
		}
	}
}

// A request that was sent twice is answered the second time first, and refused; the
// first must not be carried out any more when it arrives.
func TestIdempotency_whatWasRefusedStaysRefused(t *testing.T) {
	c := newCloud(t)
	n := &api.Network{}
	n.Name = "n"
	first := c.create(api.Clone(n)).GetMeta().ID
	w := c.write()
	w.IdempotencyKey, w.Fingerprint = "k1", "create-n"
	_, err := c.try(w, api.Clone(n))
	refused(t, err, 409, "name_taken", "name")
	if _, err := c.b.Delete(c.ctx, c.write(), api.KindNetwork, first, false); err != nil {
		t.Fatal(err)
	}
	c.until("it is gone", func(v api.View) bool { return v.Get(api.KindNetwork, first) == nil })
	_, err = c.try(w, api.Clone(n))
	refused(t, err, 409, "name_taken", "name")
	w.Fingerprint = "another"
	_, err = c.try(w, api.Clone(n))
	refused(t, err, 409, "idempotency_key_reused", "Idempotency-Key")
	w.IdempotencyKey = "k2"
	if _, err := c.try(w, api.Clone(n)); err != nil {
		t.Error(err)
	}

	w.IdempotencyKey = "k3"
	change := func(err error) error {
		_, err = c.b.Update(c.ctx, w, api.KindProject, c.project, func(api.Object) error { return err })
		return err
	}
	refused(t, change(api.Faults{{Field: "name", Code: "invalid_value"}}), 422, "invalid_value", "name")
	refused(t, change(nil), 422, "invalid_value", "name")
}
