package sim

import (
	"fmt"
	"hash"
	"hash/fnv"
	"strings"
	"sync"
	"time"
)

// trace is what happened. The hash of all of it tells whether two runs were the same.
type trace struct {
	began   time.Time
	verbose bool // keep the lines, and what processes say

	mu    sync.Mutex
	sum   hash.Hash64
	lines []string
}

func newTrace(verbose bool) *trace {
	return &trace{began: time.Now(), verbose: verbose, sum: fnv.New64a()}
}

// add adds a line that belongs to the run.
func (t *trace) add(format string, args ...any) {
	line := fmt.Sprintf("%11.6f ", time.Since(t.began).Seconds()) + fmt.Sprintf(format, args...)
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = t.sum.Write([]byte(line)) // a hash never fails
	if t.verbose {
		t.lines = append(t.lines, line)
	}
}

// note adds a line that is only for reading.
func (t *trace) note(format string, args ...any) {
	if !t.verbose {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, fmt.Sprintf("%11.6f ", time.Since(t.began).Seconds())+fmt.Sprintf(format, args...))
}

func (t *trace) step(s *step) { t.add("%s>%s %s #%d", s.a, s.b, s.what, s.n) }

// about are the lines that name any of the words.
func (t *trace) about(words ...string) (out []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.lines {
		for _, w := range words {
			if w != "" && strings.Contains(l, w) {
				out = append(out, l)
				break
			}
		}
	}
	return out
}
