package guest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// inside says to a test binary that it is in namespaces of its own.
const inside = "CAIRN_GUEST_TEST_INSIDE"

// TestMain runs the tests in namespaces that end with them, however they end:
// links and mounts of a test are never on the machine itself.
func TestMain(m *testing.M) {
	if os.Getenv(inside) == "" {
		os.Exit(outside())
	}
	err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("proc", "/proc", "proc", 0, ""), loopback())
	if err != nil {
		fmt.Fprintln(os.Stderr, "prepare the namespaces of the tests:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// loopback brings up the way to this process itself, where tests have name servers.
func loopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	// The first use of a socket is where Go finds out whether there is IPv6.
	c, err := net.ListenPacket("udp", ":0")
	if err != nil {
		return err
	}
	return c.Close()
}

// outside runs this binary once more, inside, and returns how that ended.
func outside() int {
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.Env = append(os.Environ(), inside+"=yes")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: unix.SIGKILL}
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "make namespaces for the tests (they run as root):", err)
		return 1
	}
	return c.ProcessState.ExitCode()
}
