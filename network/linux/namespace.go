package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// nsfs is the magic number of the file system that namespaces are files of.
const nsfs = 0x6e736673

func (n *Network) routerPath(vni uint32) string {
	return filepath.Join(n.o.NamespaceDir, network.Namespace(vni))
}

// routers lists the routers' namespaces. A file that is no namespace is what a
// crash has left of making one; it is listed as not there.
func (n *Network) routers() (out []uint32, err error) {
	files, err := os.ReadDir(n.o.NamespaceDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the routers: %w", err)
	}
	for _, f := range files {
		var vni uint32
		if _, err := fmt.Sscanf(f.Name(), "cairn-%x", &vni); err != nil || f.Name() != network.Namespace(vni) {
			continue
		}
		if isNamespace(filepath.Join(n.o.NamespaceDir, f.Name())) {
			out = append(out, vni)
		}
	}
	return out, nil
}

func isNamespace(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == nsfs
}

// addRouter makes a namespace and names it.
func (n *Network) addRouter(vni uint32) error {
	path := n.routerPath(vni)
	if isNamespace(path) {
		return nil
	}
	if err := os.MkdirAll(n.o.NamespaceDir, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	f.Close()
	made := make(chan error)
	go func() {
		// The thread is never given back: it ends with this goroutine.
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), path, "", unix.MS_BIND, "")
		}
		made <- err
	}()
	if err := <-made; err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// deleteRouter takes the name from a namespace, which ends it.
func (n *Network) deleteRouter(vni uint32) error {
	path := n.routerPath(vni)
	for isNamespace(path) { // once for each time that it was mounted
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			return err
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// within calls do on a thread that is in the namespace.
func within(ns netns.NsHandle, do func() error) error {
	result := make(chan error)
	go func() {
		// The thread is never given back: it ends with this goroutine.
		runtime.LockOSThread()
		err := netns.Set(ns)
		if err == nil {
			err = do()
		}
		result <- err
	}()
	return <-result
}

// sysctl writes a setting of the network of the thread's namespace, if it is
// another one.
func sysctl(key, value string) error {
	path := filepath.Join("/proc/sys/net", key)
	b, err := os.ReadFile(path)
	if err == nil && strings.TrimSpace(string(b)) == value {
		return nil
	}
	if err == nil {
		err = os.WriteFile(path, []byte(value), 0o644)
	}
	if err != nil {
		return fmt.Errorf("set net/%s to %s: %w", key, value, err)
	}
	return nil
}

// ipv6Off keeps the host's or the router's own IPv6 from a link. Where the
// kernel has no IPv6 there is nothing to keep.
func ipv6Off(link string) error {
	err := sysctl("ipv6/conf/"+link+"/disable_ipv6", "1")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func isSet(key, value string) bool {
	b, err := os.ReadFile(filepath.Join("/proc/sys/net", key))
	return err == nil && strings.TrimSpace(string(b)) == value
}

func hasNoIPv6(link string) bool {
	b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + link + "/disable_ipv6")
	return errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(string(b)) == "1"
}
