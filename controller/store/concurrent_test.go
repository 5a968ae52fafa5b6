package store_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
	"github.com/cairn-cloud/cairn/controller/store/storetest"
)

// at runs f n times at once and returns the errors by their problem's code; ""
// is for none.
func at(t *testing.T, n int, f func(i int) error) map[string]int {
	t.Helper()
	var mu sync.Mutex
	codes := map[string]int{}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			err := f(i)
			var p *api.Problem
			code := ""
			switch {
			case errors.As(err, &p):
				code = p.Code
			case err != nil:
				code = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			codes[code]++
		})
	}
	all.Wait()
	return codes
}

// two are two controllers on one etcd.
func two(t *testing.T) []*store.Etcd {
	a := storetest.New(t)
	return []*store.Etcd{a, storetest.Beside(t, a)}
}

func one(o api.Object) func(*store.View) (store.Change, error) {
	return func(*store.View) (store.Change, error) { return store.Change{Create: []api.Object{o}}, nil }
}

func TestCommit_oneOf200TakesTheName(t *testing.T) {
	s := two(t)
	view(t, s[1], commit(t, s[0], store.Change{Create: []api.Object{project("prj_a", "a")}}))
	codes := at(t, 200, func(i int) error {
		_, err := s[i%2].Commit(t.Context(), one(network(fmt.Sprintf("net_%d", i), "front", "prj_a")))
		return err
	})
	if codes[""] != 1 || codes["name_taken"] != 199 {
		t.Errorf("got %v, want one success and 199 name_taken", codes)
	}
	if d := dump(t, s[0], "/cairn/spec/network/"); len(d) != 1 {
		t.Errorf("%d networks were written", len(d))
	}
}

func TestCommit_aQuotaJudgedByDecideHoldsExactly(t *testing.T) {
	s := two(t)
	view(t, s[1], commit(t, s[0], store.Change{Create: []api.Object{project("prj_a", "a")}}))
	full := api.NewProblem(409, "quota_exceeded", "", "", "full")
	codes := at(t, 200, func(i int) error {
		_, err := s[i%2].Commit(t.Context(), func(v *store.View) (store.Change, error) {
			if v.Used(api.QuotaKey("prj_a"))["networks"] >= 50 {
				return store.Change{}, full
			}
			return store.Change{Create: []api.Object{network(fmt.Sprintf("net_%d", i), fmt.Sprintf("n%d", i), "prj_a")}}, nil
		})
		return err
	})
	if codes[""] != 50 || codes["quota_exceeded"] != 150 {
		t.Errorf("got %v, want exactly 50 and 150 quota_exceeded", codes)
	}
	if got := dump(t, s[0], "/cairn/count/")["/cairn/count/quota/prj_a"]; got != `{"networks":50}` {
		t.Errorf("the counter is %s", got)
	}
}

func TestCommit_deletionAndReferenceNeverBothSucceed(t *testing.T) {
	s := two(t)
	view(t, s[1], commit(t, s[0], store.Change{Create: []api.Object{project("prj_a", "a")}}))
	for round := range 20 {
		n := network(fmt.Sprintf("net_%d", round), fmt.Sprintf("n%d", round), "prj_a")
		rev := commit(t, s[0], store.Change{Create: []api.Object{n}})
		view(t, s[1], rev)
		codes := at(t, 2, func(i int) error {
			_, err := s[i].Commit(t.Context(), func(*store.View) (store.Change, error) {
				if i == 0 {
					return store.Change{Delete: []api.Object{n}}, nil
				}
				return store.Change{Create: []api.Object{subnet(fmt.Sprintf("sub_%d", round), fmt.Sprintf("s%d", round), "prj_a", n.ID)}}, nil
			})
			return err
		})
		if codes[""] != 1 || codes["in_use"]+codes["reference_not_found"] != 1 {
			t.Fatalf("round %d: got %v, want one success and one refusal", round, codes)
		}
	}
}

func TestCommit_idempotencyKeyTakenOnceAcrossProcesses(t *testing.T) {
	s := two(t)
	view(t, s[1], commit(t, s[0], store.Change{Create: []api.Object{project("prj_a", "a")}}))
	at(t, 40, func(i int) error {
		_, err := s[i%2].Commit(t.Context(), func(v *store.View) (store.Change, error) {
			if v.Idempotency("k") != nil {
				return store.Change{}, nil
			}
			id := fmt.Sprintf("net_%d", i)
			return store.Change{
				Create:      []api.Object{network(id, fmt.Sprintf("n%d", i), "prj_a")},
				Idempotency: &store.Idempotency{Key: "k", Fingerprint: "f", Kind: api.KindNetwork, ID: id},
			}, nil
		})
		return err
	})
	if d := dump(t, s[0], "/cairn/spec/network/"); len(d) != 1 {
		t.Errorf("%d networks were written under one key", len(d))
	}
	i := view(t, s[1], view(t, s[0], 0).Revision()).Idempotency("k")
	if i == nil || i.Fingerprint != "f" || i.Kind != api.KindNetwork {
		t.Errorf("remembered %+v", i)
	}
}

func TestCommit_oneChangeTooLargeIsRefusedAndOthersAreNot(t *testing.T) {
	s := storetest.New(t, func(o *store.Options) { o.MaxTxnOps = 40 })
	commit(t, s, store.Change{Create: []api.Object{project("prj_a", "a")}})
	large := store.Change{}
	for i := range 30 {
		large.Create = append(large.Create, network(fmt.Sprintf("net_l%d", i), fmt.Sprintf("l%d", i), "prj_a"))
	}
	if _, err := s.Commit(t.Context(), func(*store.View) (store.Change, error) { return large, nil }); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("got %v", err)
	}
	codes := at(t, 100, func(i int) error {
		_, err := s.Commit(t.Context(), one(network(fmt.Sprintf("net_%d", i), fmt.Sprintf("n%d", i), "prj_a")))
		return err
	})
	if codes[""] != 100 {
		t.Errorf("got %v", codes)
	}
}

func TestCommit_callerThatGaveUpIsNotDecidedAnyMore(t *testing.T) {
	s := storetest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Commit(ctx, func(*store.View) (store.Change, error) {
		return store.Change{Create: []api.Object{project("prj_a", "a")}}, nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func instance(id, host string) (*api.Instance, *api.Port) {
	i := &api.Instance{}
	i.ID, i.Name, i.Project, i.Generation = "ins_"+id, "i"+id, "prj_a", 1
	i.Spec = api.InstanceSpec{Type: "typ_a", Image: "img_a", Size: api.Size{VCPUs: 1, MemoryMiB: 512, DiskGiB: 5}, NICs: []api.NIC{{Network: "net_a", Port: "prt_" + id}}}
	i.Finalizers = []string{api.FinalizerAgent}
	if host != "" {
		i.Placement = api.Placement{Host: host, HostName: "h", Epoch: 1, Reason: "it fits"}
	}
	p := &api.Port{}
	p.ID, p.Name, p.Project, p.Generation = "prt_"+id, "p"+id, "prj_a", 1
	p.Spec = api.PortSpec{Network: "net_a", MAC: "02:" + id, Instance: i.ID, Owned: true}
	n := 0
	for _, c := range id {
		n = n*10 + int(c-'0')
	}
	p.Spec.Addresses = []api.PortAddress{{Subnet: "sub_a", Address: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})}}
	return i, p
}

// world writes what instances need.
func world(t *testing.T, s *store.Etcd) {
	img := &api.Image{}
	img.ID, img.Name, img.Project = "img_a", "debian", "prj_a"
	host := &api.Host{}
	host.ID, host.Name = "hst_a", "h"
	commit(t, s, store.Change{Create: []api.Object{project("prj_a", "a"), network("net_a", "front", "prj_a"), subnet("sub_a", "s", "prj_a", "net_a"), img, host}})
}

func TestCommit_placementCountsOnItsHostAndGoesWithTheInstance(t *testing.T) {
	s := storetest.New(t)
	world(t, s)
	i, p := instance("1", "hst_a")
	commit(t, s, store.Change{Create: []api.Object{i, p}})
	v := view(t, s, 0)
	if got := v.Get(api.KindInstance, i.ID).(*api.Instance); got.Placement.Host != "" {
		t.Error("a create wrote a placement: only Place does")
	}
	rev := commit(t, s, store.Change{Place: []*api.Instance{i}})
	v = view(t, s, rev)
	if got := v.Used(api.ReservationKey("hst_a")); got["vcpus"] != 1 || got["memory_mib"] != 512 {
		t.Errorf("reserved %v", got)
	}
	for o := range v.Referrers(api.KindInstance, api.KindHost, "hst_a") {
		if o.GetMeta().ID != i.ID {
			t.Errorf("%s is on the host", o.GetMeta().ID)
		}
	}
	host := v.Get(api.KindHost, "hst_a")
	refused(t, s, store.Change{Delete: []api.Object{host}}, "in_use", "")
	commit(t, s, store.Change{Delete: []api.Object{i, p}})
	commit(t, s, store.Change{Delete: []api.Object{host}})
	for _, under := range []string{"/cairn/count/reservation", "/cairn/placement/", "/cairn/ref/host/", "/cairn/ref/instance/", "/cairn/claim/ip/"} {
		if d := dump(t, s, under); len(d) > 0 {
			t.Errorf("left: %v", d)
		}
	}
}

func TestCommit_reportUnderAnOldPlacementConflicts(t *testing.T) {
	s := two(t)
	world(t, s[0])
	i, p := instance("1", "hst_a")
	commit(t, s[0], store.Change{Create: []api.Object{i, p}})
	view(t, s[1], commit(t, s[0], store.Change{Place: []*api.Instance{i}}))
	tries := 0
	_, err := s[1].Commit(t.Context(), func(v *store.View) (store.Change, error) {
		tries++
		n := api.Clone(v.Get(api.KindInstance, i.ID).(*api.Instance))
		if n.Placement.Epoch != 1 {
			return store.Change{}, errors.New("an old epoch")
		}
		// Between this decision and its transaction the instance moves.
		moved := api.Clone(n)
		moved.Placement.Epoch = 2
		commit(t, s[0], store.Change{Place: []*api.Instance{moved}})
		n.Status.Epoch, n.Status.State = 1, api.StateRunning
		return store.Change{Status: []api.Object{n}}, nil
	})
	if err == nil || err.Error() != "an old epoch" || tries != 2 {
		t.Errorf("got %v after %d tries", err, tries)
	}
	if d := dump(t, s[0], "/cairn/status/"); len(d) != 0 {
		t.Errorf("the late report was written: %v", d)
	}
}
