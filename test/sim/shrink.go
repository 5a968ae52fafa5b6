package sim

import (
	"slices"
	"testing"
)

// Shrink finds the shortest schedule that still breaks the same invariant: it
// leaves out one fault after the other.
func Shrink(t *testing.T, o Options, found Result) (Result, error) {
	best := found
	for again := true; again; {
		again = false
		for n := range best.Faults {
			try := o
			try.Given, try.Faults = true, slices.Delete(slices.Clone(best.Faults), n, n+1)
			r, err := Run(t, try)
			if err != nil {
				return best, err
			}
			if r.Violation != nil && r.Violation.Invariant == found.Violation.Invariant {
				best, again = r, true
				break
			}
		}
	}
	last := o
	last.Given, last.Faults, last.Verbose = true, best.Faults, true
	return Run(t, last)
}
