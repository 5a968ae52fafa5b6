package libvirt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/agent"
)

// virtioHeader is the size in bytes of the header before each packet of a
// virtio 1.0 NIC.
const virtioHeader = 12

// Plug implements agent.Hypervisor. A tap that is deleted leaves QEMU with a file
// that leads nowhere, and neither QEMU nor libvirt can give a NIC another one. The
// kernel can: the file is QEMU's, but whoever may trace QEMU can get at it
// (pidfd_getfd) and attach it to the new tap of the same name, as was done when it
// was opened. Offloads are not restored before the next start: the kernel then
// does what the guest had left to it.
func (h *Hypervisor) Plug(_ context.Context, instance, mac, tap string) error {
	pid, fd, held, err := heldTap(instance, mac)
	if err == nil && held == tap {
		return nil
	}
	if err == nil && held != "" {
		err = fmt.Errorf("its descriptor %d holds the tap %q", fd, held)
	}
	if err == nil {
		err = attach(pid, fd, tap)
	}
	if err != nil {
		return fmt.Errorf("plug %s of domain %s in: %w; stop and start the instance if this goes on", tap, instance, err)
	}
	return nil
}

// unplugged are the taps that running domains have and do not hold: they are gone,
// or were made anew. links are those of our network namespace.
func unplugged(d agent.Domain, links map[string]net.Flags) (out []string) {
	if d.State != agent.DomainRunning || d.Live == nil {
		return nil
	}
	for _, n := range d.Live.NICs {
		flags, there := links[n.Tap]
		if there && flags&net.FlagRunning != 0 {
			continue
		}
		if there { // the kernel takes up to a second to say that one is held
			if _, _, held, err := heldTap(d.Mark.Instance, n.MAC); err != nil || held != "" {
				continue
			}
		}
		out = append(out, n.Tap)
	}
	return out
}

// linksHere are the links of our network namespace.
func linksHere() (map[string]net.Flags, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	out := map[string]net.Flags{}
	for _, l := range list {
		out[l.Name] = l.Flags
	}
	return out, nil
}

// heldTap finds the descriptor that the QEMU of a domain has for the NIC with that
// MAC, and the tap that it holds: "" where that was deleted.
func heldTap(instance, mac string) (pid, fd int, tap string, err error) {
	pid, line, err := qemuOf(domainUUID(instance))
	if err != nil {
		return 0, 0, "", err
	}
	if fd, err = tapDescriptor(line, mac); err != nil {
		return 0, 0, "", err
	}
	tap, err = tapOf(pid, fd)
	return pid, fd, tap, err
}

// qemuOf finds the process of a domain in our network namespace, and its command line.
func qemuOf(uuid string) (pid int, line []string, err error) {
	// Not /proc/self, which is the first thread: it may be in a router's namespace.
	home, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return 0, nil, err
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, nil, err
	}
	for _, dir := range dirs {
		b, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || !bytes.Contains(b, []byte("\x00"+uuid+"\x00")) || !bytes.Contains(b, []byte("\x00-netdev\x00")) {
			continue
		}
		if ns, err := os.Readlink(filepath.Join(dir, "ns", "net")); err != nil || ns != home {
			continue
		}
		pid, err = strconv.Atoi(filepath.Base(dir))
		return pid, strings.Split(string(b), "\x00"), err
	}
	return 0, nil, errors.New("its process is not found")
}

// tapDescriptor finds the descriptor that QEMU was given for the NIC with that
// MAC, in the arguments that libvirt wrote.
func tapDescriptor(line []string, mac string) (int, error) {
	netdev, fds := "", map[string]string{}
	for i := 0; i+1 < len(line); i++ {
		switch line[i] {
		case "-device":
			if p := properties(line[i+1]); strings.EqualFold(p["mac"], mac) {
				netdev = p["netdev"]
			}
		case "-netdev":
			p := properties(line[i+1])
			fds[p["id"]] = p["fd"]
		}
	}
	fd, err := strconv.Atoi(fds[netdev])
	if netdev == "" || err != nil {
		return 0, fmt.Errorf("QEMU's arguments name no descriptor for the MAC %s", mac)
	}
	return fd, nil
}

// properties reads an argument of QEMU: JSON, or key=value with commas between.
func properties(arg string) map[string]string {
	out := map[string]string{}
	var values map[string]any
	if json.Unmarshal([]byte(arg), &values) == nil {
		for k, v := range values {
			out[k] = fmt.Sprint(v)
		}
		return out
	}
	for _, p := range strings.Split(arg, ",") {
		k, v, _ := strings.Cut(p, "=")
		out[k] = v
	}
	return out
}

// tapOf is the tap that a descriptor of a process holds; empty where that was deleted.
func tapOf(pid, fd int) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd))
	if err != nil {
		return "", err
	}
	for _, l := range strings.Split(string(b), "\n") {
		if name, ok := strings.CutPrefix(l, "iff:"); ok {
			return strings.TrimSpace(name), nil
		}
	}
	return "", fmt.Errorf("the descriptor %d is no tap's", fd)
}

// attach makes a descriptor of another process the tap's.
func attach(pid, fd int, tap string) error {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	defer unix.Close(process)
	file, err := unix.PidfdGetfd(process, fd, 0)
	if err != nil {
		return fmt.Errorf("get descriptor %d of process %d: %w", fd, pid, err)
	}
	defer unix.Close(file)
	r, err := unix.NewIfreq(tap)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(file, unix.TUNSETIFF, r); err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	return unix.IoctlSetPointerInt(file, unix.TUNSETVNETHDRSZ, virtioHeader)
}
