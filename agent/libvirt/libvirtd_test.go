package libvirt

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/agent"
)

// daemon is a libvirtd of a test's own, in its own mount namespace.
type daemon struct {
	t    *testing.T
	dir  string
	cmd  *exec.Cmd
	done chan error
}

const daemonConf = `
unix_sock_group = "root"
unix_sock_rw_perms = "0700"
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_dir = "/run/libvirt"
`

const qemuConf = `
stdio_handler = "file"
cgroup_controllers = []
namespaces = []
security_driver = "none"
user = "root"
group = "root"
`

// The folders that a libvirtd takes for its own.
var mounts = map[string]string{
	"run": "/run/libvirt", "lib": "/var/lib/libvirt", "log": "/var/log/libvirt", "cache": "/var/cache/libvirt", "etc": "/etc/libvirt",
}

func newDaemon(t *testing.T) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "cairnlv") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, dir: dir}
	for from, to := range mounts {
		for _, p := range []string{d.folder(from), to} {
			if err := os.MkdirAll(p, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(t, filepath.Join(dir, "etc", "libvirtd.conf"), daemonConf)
	write(t, filepath.Join(dir, "etc", "qemu.conf"), qemuConf)
	t.Cleanup(d.cleanup)
	d.start()
	return d
}

// probed is a cache folder for all daemons: finding out what QEMU can do takes
// libvirtd some seconds, once.
var probed string

func TestMain(m *testing.M) {
	var err error
	if probed, err = os.MkdirTemp("", "cairn-libvirt-cache"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(probed)
	os.Exit(code)
}

func (d *daemon) folder(name string) string {
	if name == "cache" {
		return probed
	}
	return filepath.Join(d.dir, name)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (d *daemon) uri() string {
	return "qemu+unix:///system?socket=" + filepath.Join(d.dir, "run", "libvirt-sock")
}

func (d *daemon) start() {
	d.t.Helper()
	var script strings.Builder
	for from, to := range mounts {
		fmt.Fprintf(&script, "mount --bind %s %s && ", d.folder(from), to)
	}
	script.WriteString("exec libvirtd -f /etc/libvirt/libvirtd.conf")
	log, err := os.Create(filepath.Join(d.dir, "libvirtd.log"))
	if err != nil {
		d.t.Fatal(err)
	}
	d.cmd = exec.Command("unshare", "-m", "--propagation", "private", "sh", "-c", script.String())
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	_ = log.Close()
	d.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan<- error) { done <- cmd.Wait() }(d.cmd, d.done)
}

// kill is kill -9 of libvirtd; what it started lives on.
func (d *daemon) kill() {
	d.t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		d.t.Fatal(err)
	}
	<-d.done
}

func (d *daemon) cleanup() {
	_ = d.cmd.Process.Kill()
	<-d.done
	pids, _ := filepath.Glob(filepath.Join(d.dir, "run", "qemu", "*.pid"))
	for _, f := range pids {
		if b, err := os.ReadFile(f); err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && pid > 1 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	if d.t.Failed() {
		b, _ := os.ReadFile(filepath.Join(d.dir, "libvirtd.log"))
		d.t.Logf("libvirtd said:\n%s", b)
	}
	_ = os.RemoveAll(d.dir)
}

func (d *daemon) open(l agent.Layout) *Hypervisor {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 20*time.Second)
	defer cancel()
	h, err := Open(ctx, Options{URI: d.uri(), Virtualization: "qemu", Layout: l, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = h.Close() })
	return h
}

// qemuPID is the process of a running domain.
func (d *daemon) qemuPID(instance string) int {
	d.t.Helper()
	b, err := os.ReadFile(filepath.Join(d.dir, "run", "qemu", instance+".pid"))
	if err != nil {
		d.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		d.t.Fatal(err)
	}
	return pid
}
