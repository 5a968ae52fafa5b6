package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// machine is what a machine of the lab is made of; Inside reads it.
type machine struct {
	Network  bool        `json:"network"` // has a network of its own
	Binds    [][2]string `json:"binds"`   // a directory, and where it is seen
	Programs []program   `json:"programs"`
}

// program is kept running on a machine.
type program struct {
	Name string   `json:"name"`
	Args []string `json:"args"` // the first is the program
	Env  []string `json:"env,omitempty"`
	Log  string   `json:"log"` // file that takes what it says
}

func (l *Lab) specFile(name string) string { return l.path("machines", name+".json") }
func (l *Lab) pidFile(name string) string  { return l.path("machines", name+".pid") }

// start starts a machine that does not run yet. plug is called with its first
// process before any program runs.
func (l *Lab) start(name string, m machine, plug func(pid int) error) (err error) {
	spec, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.path("machines"), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(l.specFile(name), spec, 0o600); err != nil {
		return err
	}
	out, err := os.OpenFile(l.path("machines", name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	c := exec.Command(l.o.Binary, "lab", "machine", name, "--spec", l.specFile(name))
	c.Dir, c.Stdout, c.Stderr = "/", out, out
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS}
	if m.Network {
		c.SysProcAttr.Cloneflags |= unix.CLONE_NEWNET
	}
	// The machine waits for a word on its standard input: it is plugged in first,
	// and if we end before that, so does it.
	power, err := c.StdinPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return fmt.Errorf("start the machine %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			_ = c.Process.Kill() // it did nothing yet
			_ = c.Wait()
		}
	}()
	if err := l.remember(name, c.Process.Pid); err != nil {
		return err
	}
	if plug != nil {
		if err := plug(c.Process.Pid); err != nil {
			return err
		}
	}
	if _, err := power.Write([]byte(powerOn)); err != nil {
		return fmt.Errorf("switch on the machine %s: %w", name, err)
	}
	return errors.Join(power.Close(), c.Process.Release())
}

// powerOn is what a machine waits for.
const powerOn = "on\n"

func (l *Lab) remember(name string, pid int) error {
	born, err := startTime(pid)
	if err != nil {
		return fmt.Errorf("start the machine %s: %w", name, err)
	}
	return os.WriteFile(l.pidFile(name), fmt.Appendf(nil, "%d %s\n", pid, born), 0o600)
}

// PID is the first process of a machine; 0 when it does not run.
func (l *Lab) PID(name string) (int, error) {
	b, err := os.ReadFile(l.pidFile(name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var pid int
	var born string
	if _, err := fmt.Sscanf(string(b), "%d %s", &pid, &born); err != nil {
		return 0, nil // cut off while it was written: it was never switched on
	}
	if now, err := startTime(pid); err != nil || now != born {
		return 0, nil // it has ended, and the number may be another process's
	}
	return pid, nil
}

// startTime tells a process from another that has its number later.
func startTime(pid int) (string, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", err
	}
	// The name, in parentheses, may hold anything.
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 20 || fields[0] == "Z" {
		return "", fmt.Errorf("process %d has ended", pid)
	}
	return fields[19], nil
}

// Kill pulls a machine's plug, and returns when all that ran on it has ended.
func (l *Lab) Kill(name string) error {
	pid, err := l.PID(name)
	if err != nil || pid == 0 {
		return err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("end the machine %s: %w", name, err)
	}
	defer unix.Close(fd)
	if again, err := l.PID(name); err != nil || again != pid {
		return err
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end the machine %s: %w", name, err)
	}
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Exec is the command that runs another one on a machine of the lab.
func (l *Lab) Exec(name string, args ...string) ([]string, error) {
	pid, err := l.PID(name)
	if err != nil {
		return nil, err
	}
	if pid == 0 {
		return nil, fmt.Errorf("the machine %s does not run: start it with `cairn lab up`", name)
	}
	return append([]string{"nsenter", "--target", strconv.Itoa(pid), "--mount", "--pid", "--uts", "--net", "--"}, args...), nil
}
