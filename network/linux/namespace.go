package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// nsfs is the magic number of the file system that namespaces are files of.
const nsfs = 0x6e736673

// named lists the namespaces that have a router's name. A file that is no
// namespace is what a crash has left of making one; it is not listed.
func (n *Network) named() (out []string, err error) {
	files, err := os.ReadDir(n.o.NamespaceDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the routers: %w", err)
	}
	for _, f := range files {
		if network.OwnedNamespace(f.Name()) && isNamespace(n.path(f.Name())) {
			out = append(out, f.Name())
		}
	}
	return out, nil
}

func isNamespace(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == nsfs
}

// addNamespace makes a namespace and then names it, so that there is none of
// that name that lacks the mark.
func (k *kernel) addNamespace(name string) error {
	path := k.path(name)
	if isNamespace(path) {
		s, err := k.space(name)
		if err != nil {
			return err
		}
		return s.checkMark(path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY|unix.O_NOFOLLOW, 0o444)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		if err := markNamespace(); err != nil {
			return fmt.Errorf("mark it: %w", err)
		}
		return unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), path, "", unix.MS_BIND, "")
	})
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// markNamespace marks the thread's namespace by the alias of its loopback.
func markNamespace() error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	return h.LinkSetAlias(lo, network.Mark)
}

func (s *space) checkMark(path string) error {
	lo, err := s.links.LinkByName("lo")
	if err != nil {
		return err
	}
	if lo.Attrs().Alias != network.Mark {
		return fmt.Errorf("%s is a namespace that Cairn has not made: remove it or give it another name", path)
	}
	return nil
}

// removeNamespace takes the name from a namespace, which ends it when nobody
// uses it any more.
func (k *kernel) removeNamespace(name string) error {
	path := k.path(name)
	err := k.forget(name)
	for err == nil && isNamespace(path) { // once for each time that it was mounted
		err = unix.Unmount(path, unix.MNT_DETACH)
	}
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// onThread calls do on a thread of its own, which ends with it.
func onThread(do func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		result <- do()
	}()
	return <-result
}

// within calls do on a thread that is in the namespace. do must not start
// goroutines, which would not be.
func within(ns netns.NsHandle, do func() error) error {
	return onThread(func() error {
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("enter the namespace: %w", err)
		}
		return do()
	})
}
