package sim

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

// Main calls f where bubbles of virtual time can be made, and returns when it has
// returned. It is for a program; a test has a *testing.T already.
func Main(f func(t *testing.T)) {
	// testing/synctest needs a test to live in, and package testing a command
	// line of its own and the standard output for its verdict: it gets neither.
	flag.CommandLine = flag.NewFlagSet("sim", flag.ContinueOnError)
	flag.CommandLine.SetOutput(io.Discard)
	m := testing.MainStart(program{}, []testing.InternalTest{{Name: "sim", F: f}}, nil, nil, nil)
	_ = flag.CommandLine.Parse([]string{"-test.timeout=0"}) // flags of package testing's own
	out := os.Stdout
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stdout = null
		defer func() { os.Stdout = out; _ = null.Close() }()
	}
	m.Run()
}

// memoryLimit is how much a run may use before garbage is collected in it.
const memoryLimit = 1 << 30

// bubble runs f in virtual time, on one thread. It returns when all goroutines
// that f has started have ended. Garbage is collected between bubbles and, as long
// as there is memory, not within: its workers would come between the goroutines of f.
func bubble(t *testing.T, f func()) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(memoryLimit))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	synctest.Test(t, func(*testing.T) { f() })
}

// program is what package testing wants to know of a test binary: this is none.
type program struct{}

type corpusEntry = struct {
	Parent     string
	Path       string
	Data       []byte
	Values     []any
	Generation int
	IsSeed     bool
}

func (program) ImportPath() string                          { return "" }
func (program) ModulePath() string                          { return "" }
func (program) MatchString(string, string) (bool, error)    { return true, nil }
func (program) SetPanicOnExit0(bool)                        {}
func (program) StartCPUProfile(io.Writer) error             { return nil }
func (program) StopCPUProfile()                             {}
func (program) StartTestLog(io.Writer)                      {}
func (program) StopTestLog() error                          { return nil }
func (program) WriteProfileTo(string, io.Writer, int) error { return nil }
func (program) CoordinateFuzzing(time.Duration, int64, time.Duration, int64, int, []corpusEntry, []reflect.Type, string, string) error {
	return nil
}
func (program) RunFuzzWorker(func(corpusEntry) error) error              { return nil }
func (program) ReadCorpus(string, []reflect.Type) ([]corpusEntry, error) { return nil, nil }
func (program) CheckCorpus([]any, []reflect.Type) error                  { return nil }
func (program) ResetCoverage()                                           {}
func (program) SnapshotCoverage()                                        {}
func (program) InitRuntimeCoverage() (string, func(string, string) (string, error), func() float64) {
	return "", nil, nil
}

// TempDir makes a directory for the disks of a run, in memory where there is
// room for that. Those of processes that were killed go first.
func TempDir() (string, error) {
	base := os.TempDir()
	if st, err := os.Stat(sharedMemory); err == nil && st.IsDir() {
		base = sharedMemory
	}
	old, _ := filepath.Glob(filepath.Join(base, tempPrefix+"*")) // the pattern is a good one
	for _, dir := range old {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(dir), tempPrefix+"%d-", &pid); err != nil || pid <= 0 {
			continue
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); errors.Is(err, fs.ErrNotExist) {
			if err := os.RemoveAll(dir); err != nil {
				return "", err
			}
		}
	}
	return os.MkdirTemp(base, fmt.Sprintf("%s%d-", tempPrefix, os.Getpid()))
}

const (
	sharedMemory = "/dev/shm"
	tempPrefix   = "cairn-sim-"
)

// T is what a run needs of package testing; Main gives it to a program.
type T = *testing.T
