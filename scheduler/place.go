package scheduler

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/cairn-cloud/cairn/api"
)

// Place is the Placer: filters, then best fit over what remains of a host.
func Place(s Snapshot, rs []Request, seed uint64) []Decision {
	p := &placing{hosts: slices.Clone(s.Hosts), filters: filters(), failed: map[string]Decision{}}
	slices.SortFunc(p.hosts, func(a, b Host) int { return strings.Compare(a.ID, b.ID) })
	p.ties = make([]uint64, len(p.hosts))
	for i := range p.hosts {
		p.ties[i] = tie(seed, p.hosts[i].ID)
	}
	ds := make([]Decision, len(rs))
	for i := range rs {
		ds[i] = p.place(&rs[i])
	}
	return ds
}

// placing is one call of Place: its own copy of the hosts, which fill up with
// each decision.
type placing struct {
	hosts   []Host
	ties    []uint64 // order among hosts that fit equally well
	filters []filter
	// failed remembers, by what was asked, what fitted nowhere: within one call
	// hosts only fill up, so the same fits nowhere again.
	failed map[string]Decision
}

func (p *placing) place(r *Request) Decision {
	shape := fmt.Sprint(r.Size, r.Architecture, labels(r.RequiredLabels))
	if r.Move != nil {
		shape += fmt.Sprint(*r.Move, r.Move.CPU)
	}
	if d, ok := p.failed[shape]; ok {
		d.Request = r.ID
		return d
	}
	best, second, rejected := p.rank(r)
	if best < 0 {
		d := p.none(r, rejected)
		p.failed[shape] = d
		return d
	}
	h := &p.hosts[best]
	d := Decision{Request: r.ID, Host: h.ID, HostName: h.Name}
	h.Used = api.Size{VCPUs: h.Used.VCPUs + r.Size.VCPUs, MemoryMiB: h.Used.MemoryMiB + r.Size.MemoryMiB, DiskGiB: h.Used.DiskGiB + r.Size.DiskGiB}
	free := h.Free()
	d.Reason = fmt.Sprintf("it is the best fit: %d vCPUs, %d MiB and %d GiB stay free on %s", free.VCPUs, free.MemoryMiB, free.DiskGiB, h.Name)
	if second >= 0 {
		d.RunnerUp = p.hosts[second].Name
		d.Reason += "; second was " + d.RunnerUp
	}
	return d
}

// rank finds the best and the second best host, or -1, and counts what the filters rejected.
func (p *placing) rank(r *Request) (best, second int, rejected []tally) {
	best, second = -1, -1
	rejected = make([]tally, len(p.filters))
	var bestScore, secondScore float64
	better := func(i int, score float64, than int, thanScore float64) bool {
		return than < 0 || cmp.Or(cmp.Compare(score, thanScore), cmp.Compare(p.ties[i], p.ties[than]), cmp.Compare(i, than)) < 0
	}
	for i := range p.hosts {
		if !p.passes(&p.hosts[i], r, rejected) {
			continue
		}
		score := remaining(&p.hosts[i], r.Size)
		switch {
		case better(i, score, best, bestScore):
			second, secondScore = best, bestScore
			best, bestScore = i, score
		case better(i, score, second, secondScore):
			second, secondScore = i, score
		}
	}
	return best, second, rejected
}

// tally counts the hosts that a filter rejected.
type tally struct {
	hosts    int
	smallest int64
}

func (p *placing) passes(h *Host, r *Request, rejected []tally) bool {
	for f := range p.filters {
		if lack := p.filters[f].lacks(h, r); lack > 0 {
			t := &rejected[f]
			if t.hosts == 0 || lack < t.smallest {
				t.smallest = lack
			}
			t.hosts++
			return false
		}
	}
	return true
}

// remaining is how empty the host would still be: the sum of the squares of
// the shares left of each resource. Squares make a host that is left lopsided (all
// memory gone, all CPUs idle) worse than one that is filled evenly.
func remaining(h *Host, s api.Size) float64 {
	free := h.Free()
	sum := 0.0
	for _, x := range [3][3]int64{
		{free.VCPUs, s.VCPUs, h.Capacity.VCPUs},
		{free.MemoryMiB, s.MemoryMiB, h.Capacity.MemoryMiB},
		{free.DiskGiB, s.DiskGiB, h.Capacity.DiskGiB},
	} {
		if x[2] > 0 {
			left := float64(x[0]-x[1]) / float64(x[2])
			sum += left * left
		}
	}
	return sum
}

func (p *placing) none(r *Request, rejected []tally) Decision {
	d := Decision{Request: r.ID}
	if len(p.hosts) == 0 {
		d.Reason = "there is no host yet: let one join"
		return d
	}
	var why []string
	for f, t := range rejected {
		if t.hosts == 0 {
			continue
		}
		d.Rejected = append(d.Rejected, api.Rejected{Filter: p.filters[f].name, Hosts: t.hosts, Detail: p.filters[f].detail(t.smallest, r)})
		why = append(why, fmt.Sprintf("%d by %s", t.hosts, p.filters[f].name))
	}
	d.Reason = fmt.Sprintf("none of %d hosts fits: rejected %s", len(p.hosts), strings.Join(why, ", "))
	return d
}

// tie orders hosts that fit equally well, differently for each seed, so that
// they do not all fill in the order of their IDs.
func tie(seed uint64, id string) uint64 {
	h := fnv.New64a()
	var b [8]byte
	for i := range b {
		b[i] = byte(seed >> (8 * i))
	}
	_, _ = h.Write(b[:]) // a hash never fails
	_, _ = h.Write([]byte(id))
	return h.Sum64()
}
