package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a program that a benchmark has started.
type Process struct {
	Name string
	self bool
	cmd  *exec.Cmd
	log  string // file of its standard error
	done chan struct{}
	err  error // of its end

	// Lines are what one of StartSelf says after its first line.
	Lines chan string
}

// stopGrace is how long a process may take to end when it is asked to.
const stopGrace = 20 * time.Second

// start starts a program; what it says goes to a file in dir. It dies with
// the benchmark, whatever becomes of that.
func start(dir, name string, stdout io.Writer, env []string, path string, args ...string) (*Process, error) {
	p := &Process{Name: name, log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.cmd = exec.Command(path, args...)
	p.cmd.Stdout, p.cmd.Stderr = stdout, out
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := errors.Join(p.cmd.Start(), out.Close()); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

// StartSelf starts the benchmark's own binary with other arguments, and returns
// the first line that it says once it is ready.
func StartSelf(ctx context.Context, dir, name string, args ...string) (*Process, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", fmt.Errorf("start %s: %w", name, err)
	}
	r, w := io.Pipe()
	p, err := start(dir, name, w, nil, self, args...)
	if err != nil {
		return nil, "", err
	}
	said := ""
	ready := make(chan error, 1)
	p.Lines = make(chan string, 16)
	go func() {
		defer close(p.Lines)
		b := bufio.NewReader(r)
		line, err := b.ReadString('\n')
		said = strings.TrimSpace(line)
		ready <- err
		for err == nil {
			if line, err = b.ReadString('\n'); err == nil {
				p.Lines <- strings.TrimSpace(line)
			}
		}
	}()
	if err := p.await(ctx, ready); err != nil {
		return nil, "", errors.Join(err, p.Stop())
	}
	return p, said, nil
}

// Self is the benchmark itself, of which only the usage can be asked.
func Self() *Process { return &Process{Name: "the benchmark", self: true} }

// PID of the process.
func (p *Process) PID() int {
	if p.self {
		return os.Getpid()
	}
	return p.cmd.Process.Pid
}

// Stop ends the process and waits for its end.
func (p *Process) Stop() error {
	select {
	case <-p.done:
		return p.died()
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop %s: %w", p.Name, err)
	}
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	select {
	case <-p.done:
		return nil
	case <-grace.C:
		err := p.cmd.Process.Kill()
		<-p.done
		return errors.Join(fmt.Errorf("stop %s: it did not end within %s and was killed", p.Name, stopGrace), err)
	}
}

// Kill ends the process at once and waits for its end.
func (p *Process) Kill() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill %s: %w", p.Name, err)
	}
	<-p.done
	return nil
}

// died says why a process that should run does not.
func (p *Process) died() error {
	b, _ := os.ReadFile(p.log)                                                               // what it said, where that is known
	return fmt.Errorf("%s ended (%v); it said:\n%s", p.Name, p.err, b[max(0, len(b)-4000):]) //nolint:errorlint // there may be no error
}

// await waits until ready yields, or says why it never will.
func (p *Process) await(ctx context.Context, ready <-chan error) error {
	select {
	case err := <-ready:
		return err
	case <-p.done:
		return p.died()
	case <-ctx.Done():
		return fmt.Errorf("wait for %s: %w", p.Name, context.Cause(ctx))
	}
}

// Usage is what a process has used and holds, as the kernel counts it.
type Usage struct {
	CPU      time.Duration // user and system, since its start
	Resident int64         // bytes
	Peak     int64         // the most that was resident, in bytes
}

// clockTick is the unit of times in /proc: always 1/100 s on Linux's ABI.
const clockTick = 10 * time.Millisecond

// Usage reads what the process has used until now.
func (p *Process) Usage() (u Usage, err error) {
	dir := filepath.Join("/proc", strconv.Itoa(p.PID()))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return u, fmt.Errorf("usage of %s: %w", p.Name, err)
	}
	// The name, in parentheses, may hold anything; the fields follow it.
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, n := range []int{11, 12} { // utime, stime
		ticks, err := strconv.ParseInt(f[n], 10, 64)
		if err != nil {
			return u, fmt.Errorf("usage of %s: %w", p.Name, err)
		}
		u.CPU += time.Duration(ticks) * clockTick
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return u, fmt.Errorf("usage of %s: %w", p.Name, err)
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			continue // a field that is no size
		}
		switch name {
		case "VmRSS":
			u.Resident = kib << 10
		case "VmHWM":
			u.Peak = kib << 10
		}
	}
	return u, nil
}
