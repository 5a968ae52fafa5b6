package tree

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// pureDirs hold functions from values to values.
var pureDirs = []string{"api", "scheduler", "network"}

// isPure: the pure packages, and what plans in the agent.
func isPure(f file) bool {
	return !f.test && (slices.Contains(pureDirs, f.dir) || f.dir == "agent" && strings.Contains(f.path, "plan"))
}

// ban forbids a package, or some of its names, in pure code.
type ban struct {
	pkg   string
	names []string // empty: all; "!": all but those that follow
	why   string
}

var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

var bans = []ban{
	{"time", clocks, "the same values must give the same answer at any time; the time is an argument"},
	{"math/rand", []string{"!", "New", "NewSource", "Rand", "Source"}, "randomness that is not seeded by the caller makes a decision that cannot be replayed"},
	{"math/rand/v2", []string{"!", "New", "NewPCG", "NewChaCha8", "Rand", "Source", "PCG", "ChaCha8"}, "randomness that is not seeded by the caller makes a decision that cannot be replayed"},
	{"crypto/rand", nil, "secrets are made where they are given out"},
	{"os", nil, "no files, no environment: all input is in the arguments"},
	{"os/exec", nil, "a decision runs no program"},
	{"os/signal", nil, "signals are main's"},
	{"syscall", nil, "no system calls"},
	{"unsafe", nil, "values are what their types say"},
	{"io/ioutil", nil, "no files"},
	{"net/http", nil, "no network"},
	{"log", nil, "a function returns what it has to say"},
	{"log/slog", nil, "a function returns what it has to say"},
	{"context", nil, "what does no I/O cannot be cancelled"},
	{"net", []string{"!", "HardwareAddr", "ParseMAC", "IP", "IPMask", "IPNet", "ParseCIDR", "ParseIP", "CIDRMask", "JoinHostPort", "SplitHostPort"}, "addresses are values; dialling, listening and looking up are not"},
}

func (b ban) forbids(name string) bool {
	if len(b.names) == 0 {
		return true
	}
	if b.names[0] == "!" {
		return !slices.Contains(b.names[1:], name)
	}
	return slices.Contains(b.names, name)
}

// The agent's plan may take a context's place in signatures of drivers, so it is
// held to the clock, randomness and I/O only.
func TestPure_noClockNoRandomnessNoIO(t *testing.T) {
	seen := 0
	for _, f := range goFiles(t) {
		if !isPure(f) {
			continue
		}
		seen++
		for _, b := range bans {
			if f.dir == "agent" && b.pkg == "context" {
				continue
			}
			f.refuse(t, b)
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s: a pure function starts no goroutine: nobody could wait for it", fset.Position(g.Pos()))
			}
			return true
		})
	}
	if seen < 10 {
		t.Errorf("looked at only %d files", seen)
	}
}

func (f file) refuse(t *testing.T, b ban) {
	t.Helper()
	for _, ip := range f.imports {
		if ip == b.pkg && len(b.names) == 0 {
			t.Errorf("%s imports %s: %s", f.path, b.pkg, b.why)
		}
	}
	f.uses(func(pkg, name string, at token.Position) {
		if pkg == b.pkg && len(b.names) > 0 && b.forbids(name) {
			t.Errorf("%s: %s.%s: %s", at, pkg, name, b.why)
		}
	})
}

func TestPure_theBansFindWhatTheyForbid(t *testing.T) {
	for _, c := range []struct {
		src  string
		want int
	}{
		{`import "time"; var x = time.Now()`, 1},
		{`import clock "time"; var x = clock.Now`, 1},
		{`import "time"; var x = time.Second`, 0},
		{`import "time"; func f(time struct{ Now func() int }) int { return time.Now() }`, 0},
		{`import "math/rand/v2"; var x = rand.IntN(3)`, 1},
		{`import "math/rand/v2"; var x = rand.New(rand.NewPCG(1, 2))`, 0},
		{`import "net"; var x, _ = net.Dial("tcp", "")`, 1},
		{`import "net"; var x, _ = net.ParseMAC("")`, 0},
		{`import "os"; var x = os.Args`, 1},
		{`import . "os"; var x = Args`, 1},
	} {
		f := parse(t, "p.go", []byte("package p; "+c.src))
		got := 0
		for _, b := range bans {
			for _, ip := range f.imports {
				if ip == b.pkg && len(b.names) == 0 {
					got++
				}
			}
			f.uses(func(pkg, name string, _ token.Position) {
				if pkg == b.pkg && len(b.names) > 0 && b.forbids(name) {
					got++
				}
			})
		}
		if got != c.want {
			t.Errorf("%s: found %d faults, want %d", c.src, got, c.want)
		}
	}
}
