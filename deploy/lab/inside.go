package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// Inside is the life of a machine: it runs as the first process of the
// machine's namespaces, mounts what the machine sees, starts its programs, and
// starts them again when they end. It does not return but with an error.
func Inside(ctx context.Context, name, specFile string, power io.Reader, log *slog.Logger) error {
	if os.Getpid() != 1 {
		return errors.New("this is the inside of a lab's machine: use `cairn lab up`")
	}
	word, err := io.ReadAll(power)
	if err != nil || string(word) != powerOn {
		return fmt.Errorf("the machine %s was never switched on: %w", name, err)
	}
	b, err := os.ReadFile(specFile)
	if err != nil {
		return err
	}
	var m machine
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("read the machine %s: %w", name, err)
	}
	if err := m.mount(); err != nil {
		return err
	}
	if err := m.name(name); err != nil {
		return fmt.Errorf("name the machine %s: %w", name, err)
	}
	return supervise(ctx, m.Programs, log)
}

// mount makes the machine's own view of the file system.
func (m machine) mount() error {
	type mount struct {
		from, to, kind string
		flags          uintptr
	}
	all := []mount{{"", "/", "", unix.MS_REC | unix.MS_PRIVATE}, {"proc", "/proc", "proc", 0}}
	if m.Network {
		all = append(all, mount{"sysfs", "/sys", "sysfs", 0}, mount{"tmpfs", "/run", "tmpfs", 0})
	}
	for _, b := range m.Binds {
		all = append(all, mount{b[0], b[1], "", unix.MS_BIND})
	}
	for _, x := range all {
		if x.flags&unix.MS_BIND != 0 {
			if err := errors.Join(os.MkdirAll(x.from, 0o755), os.MkdirAll(x.to, 0o755)); err != nil {
				return err
			}
		}
		if err := unix.Mount(x.from, x.to, x.kind, x.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", x.to, err)
		}
	}
	return nil
}

// name names the machine. A host also has to find the address of its name by
// itself: libvirt asks for it at every start of a guest, and where no name server
// can be reached, that would take ten seconds.
func (m machine) name(name string) error {
	if err := unix.Sethostname([]byte(name)); err != nil {
		return err
	}
	if !m.Network {
		return nil
	}
	const hosts = "/run/hosts"
	if err := os.WriteFile(hosts, fmt.Appendf(nil, "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 %s\n", name), 0o644); err != nil {
		return err
	}
	// This machine may have no such file to mount it over.
	f, err := os.OpenFile("/etc/hosts", os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), unix.Mount(hosts, "/etc/hosts", "", unix.MS_BIND, ""))
}

// restartAfter keeps a program that fails at once from doing so all the time.
const restartAfter = time.Second

// supervise keeps the programs running. Being the first process, it also takes
// the end of those whose parent has ended: QEMU's, when libvirtd was killed.
func supervise(ctx context.Context, programs []program, log *slog.Logger) error {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	defer signal.Stop(ended)
	running := map[int]program{}
	again := make(chan program, len(programs))
	run := func(p program) {
		pid, err := p.start()
		if err != nil {
			log.Error("a program does not start", "program", p.Name, "error", err)
			time.AfterFunc(restartAfter, func() { again <- p })
			return
		}
		log.Info("a program starts", "program", p.Name, "pid", pid)
		running[pid] = p
	}
	for _, p := range programs {
		run(p)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case p := <-again:
			run(p)
		case <-ended:
			for pid, status := reap(); pid > 0; pid, status = reap() {
				p, ours := running[pid]
				if !ours {
					continue
				}
				delete(running, pid)
				log.Warn("a program ended; it is started again", "program", p.Name, "pid", pid, "how", ending(status))
				time.AfterFunc(restartAfter, func() { again <- p })
			}
		}
	}
}

// reap takes the end of one process; its number is not positive when none has ended.
func reap() (int, unix.WaitStatus) {
	var status unix.WaitStatus
	for {
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if !errors.Is(err, unix.EINTR) {
			return pid, status
		}
	}
}

// ending says how a process ended.
func ending(s unix.WaitStatus) string {
	if s.Signaled() {
		return s.Signal().String()
	}
	return fmt.Sprintf("exit code %d", s.ExitStatus())
}

func (p program) start() (pid int, err error) {
	path, err := exec.LookPath(p.Args[0])
	if err != nil {
		return 0, err
	}
	out, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	// Not exec.Command: its Wait and ours would take each other's ends.
	proc, err := os.StartProcess(path, p.Args, &os.ProcAttr{Dir: "/", Env: append(os.Environ(), p.Env...), Files: []*os.File{null, out, out}})
	if err != nil {
		return 0, err
	}
	pid = proc.Pid
	return pid, proc.Release()
}
