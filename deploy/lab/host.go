package lab

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// needed are the programs without which a lab is none.
var needed = []string{"libvirtd", "qemu-system-x86_64", "qemu-img", "nsenter"}

func checkNeeded() error {
	for _, p := range needed {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("%s is not installed: install it with `make deps`", p)
		}
	}
	return nil
}

const libvirtdConf = `unix_sock_group = "root"
unix_sock_rw_perms = "0700"
auth_unix_rw = "none"
auth_unix_ro = "none"
`

// A machine of the lab is no place for what a real host has around its guests:
// no virtlogd, no cgroups of its own, no security driver.
const qemuConf = `stdio_handler = "file"
cgroup_controllers = []
namespaces = []
security_driver = "none"
user = "root"
group = "root"
`

// hostMachine is the n-th host: its own libvirtd and agent.
func (l *Lab) hostMachine(n int, size hostSize, virtualization string) (machine, error) {
	name := hostName(n)
	dir := func(parts ...string) string { return l.path(append([]string{"hosts", name}, parts...)...) }
	etc := dir("etc")
	if err := os.MkdirAll(etc, 0o755); err != nil {
		return machine{}, err
	}
	for file, text := range map[string]string{"libvirtd.conf": libvirtdConf, "qemu.conf": qemuConf} {
		if err := os.WriteFile(filepath.Join(etc, file), []byte(text), 0o644); err != nil {
			return machine{}, err
		}
	}
	own := l.plan.address(10 + n)
	return machine{
		Network: true,
		Binds: [][2]string{
			{etc, "/etc/libvirt"},
			{dir("lib"), "/var/lib/libvirt"},
			{dir("log"), "/var/log/libvirt"},
			// What QEMU can do is the same for all, and takes each libvirtd seconds to find out.
			{l.path("cache"), "/var/cache/libvirt"},
		},
		Programs: []program{
			{Name: "libvirtd", Args: []string{"libvirtd", "--config", "/etc/libvirt/libvirtd.conf"}, Log: dir("libvirtd.log")},
			{Name: "agent", Log: dir("agent.log"), Args: []string{
				l.o.Binary, "agent", "--name", name, "--server", strings.Join(l.Servers(), ","), "--state", dir("state"),
				"--join-token-file", l.joinTokenFile(n), "--underlay", own.String(), "--listen", netip.AddrPortFrom(own, 7444).String(),
				"--virtualization", virtualization,
				"--memory-mib", strconv.FormatInt(size.memoryMiB, 10), "--disk-gib", strconv.FormatInt(size.diskGiB, 10),
			}},
		},
	}, nil
}

func (l *Lab) joinTokenFile(n int) string { return l.path("hosts", hostName(n), "join-token") }

// joined tells whether a host has its certificate.
func (l *Lab) joined(n int) bool {
	_, err := os.Stat(l.path("hosts", hostName(n), "state", "pki", "host.crt"))
	return err == nil
}

// controllerMachine is the n-th controller: the first on this machine's own
// network, the others with one of their own, and with the first one's images.
func (l *Lab) controllerMachine(n int, notify string) machine {
	name, own := controllerName(n), l.plan.address(n)
	p := program{
		Name: "controller", Log: l.path(name + ".log"), Env: []string{"NOTIFY_SOCKET=" + notify},
		Args: []string{l.o.Binary, "controller", "--data", l.controllerDir(n), "--listen", netip.AddrPortFrom(own, 7443).String()},
	}
	if n == 1 {
		return machine{Programs: []program{p}}
	}
	p.Args = append(p.Args, "--join", l.plan.server(1), "--join-token-file", l.controllerToken(n))
	m := machine{Network: true, Programs: []program{p}}
	for _, shared := range []string{"images", "uploads"} {
		m.Binds = append(m.Binds, [2]string{l.path(shared), filepath.Join(l.controllerDir(n), shared)})
	}
	return m
}

// hostSize is what one of the hosts offers.
type hostSize struct{ memoryMiB, diskGiB int64 }

// share divides three quarters of what this machine has free among its hosts.
func share(dir string, hosts int) (hostSize, error) {
	var mem unix.Sysinfo_t
	if err := unix.Sysinfo(&mem); err != nil {
		return hostSize{}, fmt.Errorf("memory of this machine: %w", err)
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return hostSize{}, fmt.Errorf("disk of this machine: %w", err)
	}
	parts := int64(hosts) * 4
	return hostSize{
		memoryMiB: int64(mem.Totalram) * int64(mem.Unit) >> 20 * 3 / parts,
		diskGiB:   int64(disk.Bavail) * disk.Bsize >> 30 * 3 / parts,
	}, nil
}
