package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cairn-cloud/cairn/api"
)

// filter is one thing that a host must have. lacks returns 0 for a host that
// passes, else by how much it falls short: 1 where that is no amount.
type filter struct {
	name   string
	lacks  func(h *Host, r *Request) int64
	detail func(smallest int64, r *Request) string
}

// filters are asked in this order; a host counts for the first that rejects it.
func filters() []filter {
	return []filter{
		{"here", isHere, says("it is there already")},
		{"asked", notAsked, says("another host was asked for")},
		{"ready", notReady, says("none of these hosts reports; see their events")},
		{"schedulable", notSchedulable, says("their administrator keeps new instances out")},
		{"architecture", otherArchitecture, func(_ int64, r *Request) string { return "the instance needs " + r.Architecture }},
		{"pool", otherPool, func(_ int64, r *Request) string { return "the instance is in the pool " + r.Move.Pool }},
		{"cpu", lacksCPU, cpuDetail},
		{"storage", otherStorage, storageDetail},
		{"labels", otherLabels, func(_ int64, r *Request) string { return "the instance needs " + labels(r.RequiredLabels) }},
		{"vcpus", lacksVCPUs, amount("vCPUs", func(s api.Size) int64 { return s.VCPUs })},
		{"memory", lacksMemory, amount("MiB of memory", func(s api.Size) int64 { return s.MemoryMiB })},
		{"disk", lacksDisk, amount("GiB of disk", func(s api.Size) int64 { return s.DiskGiB })},
	}
}

func notReady(h *Host, _ *Request) int64       { return oneIf(!h.Ready) }
func notSchedulable(h *Host, _ *Request) int64 { return oneIf(!h.Schedulable) }

func otherArchitecture(h *Host, r *Request) int64 {
	return oneIf(r.Architecture != "" && h.Architecture != r.Architecture)
}

func otherLabels(h *Host, r *Request) int64 {
	for k, v := range r.RequiredLabels {
		if have, ok := h.Labels[k]; !ok || have != v {
			return 1
		}
	}
	return 0
}

func lacksVCPUs(h *Host, r *Request) int64  { return max(0, r.Size.VCPUs-h.Free().VCPUs) }
func lacksMemory(h *Host, r *Request) int64 { return max(0, r.Size.MemoryMiB-h.Free().MemoryMiB) }
func lacksDisk(h *Host, r *Request) int64   { return max(0, r.Size.DiskGiB-h.Free().DiskGiB) }

func isHere(h *Host, r *Request) int64 { return oneIf(r.Move != nil && r.Move.From == h.ID) }
func notAsked(h *Host, r *Request) int64 {
	return oneIf(r.Move != nil && r.Move.To != "" && r.Move.To != h.ID)
}

func otherStorage(h *Host, r *Request) int64 {
	return oneIf(r.Move != nil && r.Move.Storage != "" && r.Move.Storage != h.Storage || r.Shared && h.Storage == "")
}
func otherPool(h *Host, r *Request) int64 { return oneIf(r.Move != nil && r.Move.Pool != h.Pool) }

// lacksCPU is how many features of the guest's CPU the host lacks, the model counting as one.
func lacksCPU(h *Host, r *Request) int64 {
	if r.Move == nil || r.Move.Storage != "" {
		return 0
	}
	return int64(Lacks(h.CPU, r.Move.CPU))
}

func cpuDetail(smallest int64, r *Request) string {
	if r.Move.CPU == nil {
		return "its guest sees its host's own CPU; stop and start it on a host that reports its CPU first"
	}
	return fmt.Sprintf("its guest sees the CPU %s with %d features more, of which the nearest host lacks %d", r.Move.CPU.Model, len(r.Move.CPU.Features), smallest)
}

func storageDetail(_ int64, r *Request) string {
	if r.Move != nil && r.Move.Storage != "" {
		return "its disk is on the storage " + r.Move.Storage
	}
	return "it is to restart when its host is lost, and these hosts share no storage with others"
}

func oneIf(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func says(s string) func(int64, *Request) string { return func(int64, *Request) string { return s } }

func amount(unit string, of func(api.Size) int64) func(int64, *Request) string {
	return func(smallest int64, r *Request) string {
		return fmt.Sprintf("of %d %s asked for, the nearest host lacks %d", of(r.Size), unit, smallest)
	}
}

func labels(m map[string]string) string {
	var words []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		words = append(words, k+"="+m[k])
	}
	return strings.Join(words, ",")
}

// FitsEmpty tells whether the host could take the request if nothing else ran on it.
func FitsEmpty(h Host, r Request) bool {
	h.Used = api.Size{}
	return h.Capacity.VCPUs > 0 && otherArchitecture(&h, &r) == 0 && lacksVCPUs(&h, &r) == 0 && lacksMemory(&h, &r) == 0 && lacksDisk(&h, &r) == 0
}

// TooLarge tells whether no host could take the request even if it were empty,
// and by how much the nearest one falls short, in words. Hosts of another
// architecture, and those that have not said their size yet, do not count; where
// none is left nothing can be said, and the answer is "".
func TooLarge(s Snapshot, r Request) string {
	nearest, gap := "", int64(-1)
	for i := range s.Hosts {
		h := s.Hosts[i]
		if h.Capacity.VCPUs <= 0 || otherArchitecture(&h, &r) != 0 {
			continue
		}
		h.Used = api.Size{}
		lack := []int64{lacksVCPUs(&h, &r), lacksMemory(&h, &r), lacksDisk(&h, &r)}
		total := share(lack[0], r.Size.VCPUs) + share(lack[1], r.Size.MemoryMiB) + share(lack[2], r.Size.DiskGiB)
		if total == 0 {
			return ""
		}
		if gap < 0 || total < gap || total == gap && h.Name < nearest {
			nearest, gap = h.Name, total
		}
	}
	if gap < 0 {
		return ""
	}
	return describeNearest(s, nearest, r)
}

// share of what is asked for that is lacking, in millionths and at least one.
func share(lack, asked int64) int64 {
	if lack == 0 {
		return 0
	}
	return max(1, lack*1_000_000/max(1, asked))
}

func describeNearest(s Snapshot, name string, r Request) string {
	i := slices.IndexFunc(s.Hosts, func(h Host) bool { return h.Name == name })
	c := s.Hosts[i].Capacity
	return fmt.Sprintf("it takes %d vCPUs, %d MiB and %d GiB; the nearest host, %s, has %d vCPUs, %d MiB and %d GiB for instances in all",
		r.Size.VCPUs, r.Size.MemoryMiB, r.Size.DiskGiB, name, c.VCPUs, c.MemoryMiB, c.DiskGiB)
}
