package network

import (
	"cmp"
	"slices"
)

// box is connections of some protocols, of some details each.
type box struct{ protocols, details Range }

// slab is some protocols that have the same details, which are in order and
// neither overlap nor touch.
type slab struct {
	protocols Range
	details   []Range
}

// merge makes of boxes slabs in order that do not overlap.
func merge(boxes []box) []slab {
	slabs := make([]slab, len(boxes))
	for i, b := range boxes {
		slabs[i] = slab{b.protocols, []Range{b.details}}
	}
	return sweep(slabs, nil)
}

// minus is what is in a and not in b.
func minus(a, b []slab) []slab { return sweep(a, b) }

// sweep goes through the protocols: of each the details of plus, without those of less.
func sweep(plus, less []slab) (out []slab) {
	cuts := []int{}
	for _, s := range slices.Concat(plus, less) {
		cuts = append(cuts, int(s.protocols.First), int(s.protocols.Last)+1)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	for i := 1; i < len(cuts); i++ {
		at := Range{uint16(cuts[i-1]), uint16(cuts[i] - 1)}
		d := without(union(detailsAt(plus, at)), union(detailsAt(less, at)))
		if len(d) == 0 {
			continue
		}
		if n := len(out); n > 0 && int(out[n-1].protocols.Last)+1 == int(at.First) && slices.Equal(out[n-1].details, d) {
			out[n-1].protocols.Last = at.Last
			continue
		}
		out = append(out, slab{at, d})
	}
	return out
}

func detailsAt(slabs []slab, at Range) (out []Range) {
	for _, s := range slabs {
		if s.protocols.contains(at) {
			out = append(out, s.details...)
		}
	}
	return out
}

// union puts ranges in order, and together what overlaps or touches.
func union(ranges []Range) (out []Range) {
	slices.SortFunc(ranges, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	for _, r := range ranges {
		if n := len(out); n > 0 && int(r.First) <= int(out[n-1].Last)+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// without takes ranges out of others; both are unions.
func without(from, what []Range) (out []Range) {
	for _, r := range from {
		first, last := int(r.First), int(r.Last)
		for _, w := range what {
			if int(w.Last) < first || int(w.First) > last {
				continue
			}
			if int(w.First) > first {
				out = append(out, Range{uint16(first), w.First - 1})
			}
			first = int(w.Last) + 1
		}
		if first <= last {
			out = append(out, Range{uint16(first), uint16(last)})
		}
	}
	return out
}

// elementsOf writes slabs as a set has them: protocols and details.
func elementsOf(slabs []slab) (out []string) {
	for _, s := range slabs {
		for _, d := range s.details {
			out = append(out, s.protocols.String()+" . "+d.String())
		}
	}
	return out
}
