package controller

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A line does as a sorted list of what is in it would.
func TestLine_givesTheOldestFirst(t *testing.T) {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		l := newLine()
		made := map[string]time.Time{}
		in := map[string]bool{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			id := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(t, "id")
			if made[id].IsZero() {
				made[id] = start.Add(time.Duration(rapid.IntRange(1, 50).Draw(t, "made"))*time.Minute + time.Duration(id[0])*time.Second)
			}
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				l.add(id, made[id])
				in[id] = true
			case 1:
				l.remove(id)
				delete(in, id)
			default:
				n := rapid.IntRange(0, 7).Draw(t, "n")
				var want []string
				for id := range in {
					want = append(want, id)
				}
				slices.SortFunc(want, func(a, b string) int { return made[a].Compare(made[b]) })
				want = want[:min(n, len(want))]
				if got := l.oldest(n); !slices.Equal(got, want) {
					t.Fatalf("the oldest %d are %v, want %v", n, got, want)
				}
			}
			if l.len() != len(in) {
				t.Fatalf("%d are in it, want %d", l.len(), len(in))
			}
		}
	})
}
