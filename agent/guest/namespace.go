package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// place is where sockets are: a namespace, by what the kernel calls it, and the
// link that they are bound to. When either was made anew, the sockets that are
// there hear nothing. The kernel does not use the number of a namespace again
// as long as a socket is in it.
type place struct {
	dev, ino uint64
	link     int
}

// enter runs do on a thread that is in the namespace of that file. What do
// opens stays there; do must not start goroutines, which would not.
func enter(file string, do func(at place) error) error {
	done := make(chan error)
	go func() { done <- onOwnThread(file, do) }()
	return <-done
}

// onOwnThread ends its goroutine still locked if the thread cannot come back,
// and the runtime then ends the thread.
func onOwnThread(file string, do func(at place) error) (err error) {
	there, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the router's namespace is not there, the network has to be applied first: %w", err)
	}
	if err != nil {
		return err
	}
	defer there.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(there.Fd()), &st); err != nil {
		return fmt.Errorf("stat %s: %w", file, err)
	}
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter namespace %s: %w", file, err)
	}
	defer func() {
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
			err = errors.Join(err, fmt.Errorf("leave namespace %s: %w", file, back))
			return
		}
		runtime.UnlockOSThread()
	}()
	gw, err := net.InterfaceByName(network.GatewayLink)
	if err != nil {
		return fmt.Errorf("find link %s in %s (the network has to be applied first): %w", network.GatewayLink, file, err)
	}
	return do(place{dev: uint64(st.Dev), ino: st.Ino, link: gw.Index})
}
