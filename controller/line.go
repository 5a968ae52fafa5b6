package controller

import (
	"slices"
	"time"
)

// line holds instances in the order in which they were made, each once. Those
// that leave it are dropped when they come to the front.
type line struct {
	in     map[string]bool
	order  []standing
	sorted bool
}

type standing struct {
	id   string
	made time.Time
}

func newLine() line { return line{in: map[string]bool{}, sorted: true} }

func (l *line) len() int { return len(l.in) }

func (l *line) add(id string, made time.Time) {
	if l.in[id] {
		return
	}
	l.in[id] = true
	if n := len(l.order); n > 0 && made.Before(l.order[n-1].made) {
		l.sorted = false
	}
	l.order = append(l.order, standing{id, made})
}

func (l *line) remove(id string) { delete(l.in, id) }

// oldest returns at most n of them, which stay in the line.
func (l *line) oldest(n int) []string {
	if !l.sorted {
		slices.SortStableFunc(l.order, func(a, b standing) int { return a.made.Compare(b.made) })
		l.sorted = true
	}
	out := make([]string, 0, min(n, len(l.in)))
	seen := make(map[string]bool, cap(out))
	kept, looked := l.order[:0], 0
	for _, s := range l.order {
		if len(out) == n {
			break
		}
		looked++
		if l.in[s.id] && !seen[s.id] { // one that came back stands there twice
			seen[s.id] = true
			out = append(out, s.id)
			kept = append(kept, s)
		}
	}
	l.order = append(kept, l.order[looked:]...)
	return out
}
