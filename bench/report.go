package bench

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// Table is rows of cells under a heading.
type Table struct {
	w    *tabwriter.Writer
	wide int
}

// NewTable begins a table.
func NewTable(out io.Writer, heading ...string) *Table {
	t := &Table{w: tabwriter.NewWriter(out, 0, 4, 2, ' ', 0), wide: len(heading)}
	t.row(heading)
	return t
}

func (t *Table) row(cells []string) { _, _ = fmt.Fprintln(t.w, strings.Join(cells, "\t")) } // into memory, until End

// Row adds a row.
func (t *Table) Row(cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		switch c := c.(type) {
		case time.Duration:
			text[i] = Round(c)
		case float64:
			text[i] = fmt.Sprintf("%.2f", c)
		default:
			text[i] = fmt.Sprint(c)
		}
	}
	t.row(text)
}

// End prints the table.
func (t *Table) End() error { return t.w.Flush() }

// Round writes a duration with three digits.
func Round(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", d.Seconds()*1000)
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
	case d < 10*time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1000)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// Verdict says whether an aim is reached.
func Verdict(ok bool) string {
	if ok {
		return "reached"
	}
	return "MISSED"
}

// Quantile is the smallest of the values that at least the share q of them do not exceed.
func Quantile[T interface{ ~int64 | ~float64 }](values []T, q float64) T {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return s[min(len(s)-1, max(0, int(q*float64(len(s))+0.999999)-1))]
}

// Machine says on what a run was made.
func Machine() string {
	var u unix.Utsname
	kernel := ""
	if unix.Uname(&u) == nil {
		kernel = ", Linux " + unix.ByteSliceToString(u.Release[:])
	}
	return fmt.Sprintf("%s: %d CPUs%s, %s", time.Now().UTC().Format("2006-01-02 15:04 MST"), runtime.NumCPU(), kernel, runtime.Version())
}

// Say prints a line about what is being done; the numbers go elsewhere.
func Say(format string, args ...any) { _, _ = fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) } // for people, who may not look
