package scheduler

import (
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/cairn-cloud/cairn/api"
)

func cpu(features []string, models ...api.CPUModel) *api.HostCPU {
	return &api.HostCPU{Models: models, Features: features}
}

func TestBaseline_isTheBestModelOfAllAndTheirCommonFeatures(t *testing.T) {
	old, mid, young := api.CPUModel{Name: "Nehalem", Features: 30}, api.CPUModel{Name: "Haswell", Features: 50}, api.CPUModel{Name: "Skylake", Features: 60}
	for _, c := range []struct {
		name  string
		hosts []*api.HostCPU
		want  *api.CPU
	}{
		{"no host", nil, nil},
		{"only hosts that have not said", []*api.HostCPU{nil, nil}, nil},
		{"one host", []*api.HostCPU{cpu([]string{"avx2", "aes"}, old, mid)}, &api.CPU{Model: "Haswell", Features: []string{"aes", "avx2"}}},
		{"a worse one beside it", []*api.HostCPU{cpu([]string{"aes", "avx2"}, old, mid, young), cpu([]string{"aes"}, old), nil}, &api.CPU{Model: "Nehalem", Features: []string{"aes"}}},
		{"no feature in common", []*api.HostCPU{cpu([]string{"aes"}, old), cpu([]string{"avx"}, old)}, &api.CPU{Model: "Nehalem"}},
		{"no model in common", []*api.HostCPU{cpu([]string{"aes"}, old), cpu([]string{"aes"}, young)}, nil},
	} {
		if got := Baseline(c.hosts); fmt.Sprint(got) != fmt.Sprint(c.want) && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestBaseline_everyHostCanRunIt also holds that the order of hosts does not matter,
// and that what is in force for a guest lasts when a host comes: it is not computed anew.
func TestBaseline_everyHostCanRunIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c", "d"}
		var hosts []*api.HostCPU
		for range rapid.IntRange(1, 6).Draw(t, "hosts") {
			h := &api.HostCPU{Features: rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID[string]).Draw(t, "features")}
			for n, m := range rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID[string]).Draw(t, "models") {
				h.Models = append(h.Models, api.CPUModel{Name: m, Features: int(m[0]) + n*0})
			}
			hosts = append(hosts, h)
		}
		b := Baseline(hosts)
		if again := Baseline(rapid.Permutation(hosts).Draw(t, "order")); !reflect.DeepEqual(b, again) {
			t.Fatalf("in another order it is %+v, not %+v", again, b)
		}
		for _, h := range hosts {
			if b != nil && Lacks(h, b) != 0 {
				t.Fatalf("%+v cannot run the baseline %+v", h, b)
			}
		}
	})
}

func TestPlace_movesOnlyWhereTheGuestsCPUIsToBeHad(t *testing.T) {
	big, none := size(8, 8192, 100), api.Size{}
	m := api.CPUModel{Name: "Haswell", Features: 50}
	able := func(name string) Host {
		return with(host(name, big, none), func(h *Host) { h.Pool, h.CPU = "p", cpu([]string{"aes", "avx2"}, m) })
	}
	r := request(size(2, 2048, 10))
	r.Move = &Move{From: "hst_a", Pool: "p", CPU: &api.CPU{Model: "Haswell", Features: []string{"aes", "avx2"}}}
	s := Snapshot{[]Host{
		able("a"), with(able("b"), func(h *Host) { h.CPU = cpu([]string{"aes"}) }), with(able("c"), func(h *Host) { h.Pool = "other" }), with(able("d"), func(h *Host) { h.CPU = nil }),
	}}
	want := []api.Rejected{
		{Filter: "here", Hosts: 1, Detail: "it is there already"},
		{Filter: "pool", Hosts: 1, Detail: "the instance is in the pool p"},
		{Filter: "cpu", Hosts: 2, Detail: "its guest sees the CPU Haswell with 2 features more, of which the nearest host lacks 1"},
	}
	if d := Place(s, []Request{r}, 1)[0]; fmt.Sprint(d.Rejected) != fmt.Sprint(want) {
		t.Errorf("rejected\n%+v, want\n%+v", d.Rejected, want)
	}
	s.Hosts = append(s.Hosts, able("e"), able("f"))
	for _, to := range []string{"hst_e", "hst_f"} {
		r.Move.To = to
		if d := Place(s, []Request{r}, 1)[0]; d.Host != to {
			t.Errorf("asked for %s, placed on %q: %s", to, d.Host, d.Reason)
		}
	}
	own := *r.Move
	own.To, own.CPU = "", nil
	r.Move = &own
	if d := Place(s, []Request{r}, 1)[0]; d.Host != "" {
		t.Errorf("a guest with its host's own CPU moves to %s", d.Host)
	}
}
