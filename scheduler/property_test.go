package scheduler

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cairn-cloud/cairn/api"
)

var sizes = rapid.Custom(func(t *rapid.T) api.Size {
	return size(rapid.Int64Range(1, 16).Draw(t, "vcpus"), rapid.Int64Range(64, 8192).Draw(t, "memory"), rapid.Int64Range(1, 50).Draw(t, "disk"))
})

func drawSnapshot(t *rapid.T) Snapshot {
	var s Snapshot
	for i := range rapid.IntRange(0, 12).Draw(t, "hosts") {
		h := host(fmt.Sprint("h", i), sizes.Draw(t, "capacity"), api.Size{})
		h.Capacity = size(h.Capacity.VCPUs*4, h.Capacity.MemoryMiB*4, h.Capacity.DiskGiB*4)
		h.Used = sizes.Draw(t, "used")
		h.Ready = rapid.IntRange(0, 9).Draw(t, "ready") > 0
		h.Schedulable = rapid.IntRange(0, 9).Draw(t, "schedulable") > 0
		h.Architecture = rapid.SampledFrom([]string{"x86_64", "x86_64", "aarch64"}).Draw(t, "architecture")
		h.Labels = map[string]string{"zone": rapid.SampledFrom([]string{"a", "b"}).Draw(t, "zone")}
		s.Hosts = append(s.Hosts, h)
	}
	return s
}

func drawRequests(t *rapid.T) (rs []Request) {
	for i := range rapid.IntRange(0, 30).Draw(t, "requests") {
		r := Request{ID: fmt.Sprint("ins_", i), Size: sizes.Draw(t, "size"), Architecture: rapid.SampledFrom([]string{"x86_64", "aarch64"}).Draw(t, "architecture")}
		if rapid.Bool().Draw(t, "labelled") {
			r.RequiredLabels = map[string]string{"zone": rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "zone")}
		}
		rs = append(rs, r)
	}
	return rs
}

// TestPlace_neverOverCapacity also holds that a host is refused only for cause:
// what was placed nowhere fits no host as they are at the end.
func TestPlace_neverOverCapacity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, rs := drawSnapshot(t), drawRequests(t)
		after := map[string]*Host{}
		for i := range s.Hosts {
			h := s.Hosts[i]
			after[h.ID] = &h
		}
		ds := Place(s, rs, rapid.Uint64().Draw(t, "seed"))
		if len(ds) != len(rs) {
			t.Fatalf("%d decisions for %d requests", len(ds), len(rs))
		}
		for i, d := range ds {
			if d.Request != rs[i].ID {
				t.Fatalf("decision %d is about %s, not %s", i, d.Request, rs[i].ID)
			}
			if h := after[d.Host]; h != nil {
				if f := firstLack(h, &rs[i]); f != "" {
					t.Fatalf("%+v was placed on %+v against %s", rs[i], h, f)
				}
				h.Used = size(h.Used.VCPUs+rs[i].Size.VCPUs, h.Used.MemoryMiB+rs[i].Size.MemoryMiB, h.Used.DiskGiB+rs[i].Size.DiskGiB)
			} else if d.Host != "" {
				t.Fatalf("placed on %s, which there is not", d.Host)
			}
		}
		for i, d := range ds {
			total := 0
			for _, r := range d.Rejected {
				total += r.Hosts
			}
			if d.Host == "" && total != len(s.Hosts) {
				t.Fatalf("%d of %d hosts rejected, and yet none chosen", total, len(s.Hosts))
			}
			for _, h := range after {
				if d.Host == "" && firstLack(h, &rs[i]) == "" {
					t.Fatalf("%+v was placed nowhere, but %+v has room", rs[i], h)
				}
			}
		}
	})
}

// TestPlace_isTheBestFitOverTheRemainingVector holds every decision against all
// hosts that would have done: none of them would be left with less.
func TestPlace_isTheBestFitOverTheRemainingVector(t *testing.T) {
	share := func(left, all int64) float64 { return float64(left) / float64(all) }
	left := func(h *Host, s api.Size) float64 {
		f := h.Free()
		c, m, d := share(f.VCPUs-s.VCPUs, h.Capacity.VCPUs), share(f.MemoryMiB-s.MemoryMiB, h.Capacity.MemoryMiB), share(f.DiskGiB-s.DiskGiB, h.Capacity.DiskGiB)
		return c*c + m*m + d*d
	}
	rapid.Check(t, func(t *rapid.T) {
		s, rs := drawSnapshot(t), drawRequests(t)
		hosts := map[string]*Host{}
		for i := range s.Hosts {
			h := s.Hosts[i]
			hosts[h.ID] = &h
		}
		for i, d := range Place(s, rs, rapid.Uint64().Draw(t, "seed")) {
			chosen := hosts[d.Host]
			if chosen == nil {
				continue
			}
			second := 0
			for _, h := range hosts {
				if h == chosen || firstLack(h, &rs[i]) != "" {
					continue
				}
				second++
				if left(h, rs[i].Size) < left(chosen, rs[i].Size) {
					t.Fatalf("%+v was placed on %+v, and %+v would be left with less", rs[i], chosen, h)
				}
			}
			if (second > 0) != (d.RunnerUp != "") {
				t.Fatalf("%d others would have done, and the runner-up is %q", second, d.RunnerUp)
			}
			chosen.Used = size(chosen.Used.VCPUs+rs[i].Size.VCPUs, chosen.Used.MemoryMiB+rs[i].Size.MemoryMiB, chosen.Used.DiskGiB+rs[i].Size.DiskGiB)
		}
	})
}

// TestTooLarge_meansThatNothingHelps: what is called too large fits nowhere when
// all hosts are empty, and what is not fits somewhere then.
func TestTooLarge_meansThatNothingHelps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSnapshot(t)
		r := Request{ID: "ins_x", Size: sizes.Draw(t, "size"), Architecture: "x86_64"}
		r.Size = size(r.Size.VCPUs*3, r.Size.MemoryMiB*3, r.Size.DiskGiB*3)
		why := TooLarge(s, r)
		same := 0
		if why != "" && slices.ContainsFunc(s.Hosts, func(h Host) bool { return FitsEmpty(h, r) }) {
			t.Fatalf("%q, and it fits an empty host", why)
		}
		for i := range s.Hosts {
			s.Hosts[i].Used, s.Hosts[i].Ready, s.Hosts[i].Schedulable = api.Size{}, true, true
			if s.Hosts[i].Architecture == r.Architecture {
				same++
			}
		}
		fits := Place(s, []Request{r}, 0)[0].Host != ""
		if one := slices.ContainsFunc(s.Hosts, func(h Host) bool { return FitsEmpty(h, r) }); one != fits {
			t.Fatalf("placed: %v; it fits an empty host: %v", fits, one)
		}
		if want := !fits && same > 0; (why != "") != want {
			t.Fatalf("called too large: %q; fits an empty cloud of %d hosts: %v", why, same, fits)
		}
	})
}

func firstLack(h *Host, r *Request) string {
	for _, f := range filters() {
		if f.lacks(h, r) > 0 {
			return f.name
		}
	}
	return ""
}

func TestPlace_isDeterministicAndOrderOfHostsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, rs, seed := drawSnapshot(t), drawRequests(t), rapid.Uint64().Draw(t, "seed")
		before := slices.Clone(s.Hosts)
		first := Place(s, rs, seed)
		if !reflect.DeepEqual(before, s.Hosts) {
			t.Fatal("Place changed its snapshot")
		}
		if len(s.Hosts) > 0 {
			s.Hosts = rapid.Permutation(s.Hosts).Draw(t, "order")
		}
		if again := Place(s, rs, seed); !reflect.DeepEqual(first, again) {
			t.Fatalf("in another order of hosts it decides\n%+v, not\n%+v", again, first)
		}
	})
}
