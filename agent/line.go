package agent

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A line between two agents over which nothing comes is taken for cut: what was
// sent over it is not acknowledged for lineTimeout, or nothing answers for as long
// where there was nothing to send.
const lineTimeout = 20 * time.Second

var lineKeepAlive = net.KeepAliveConfig{Enable: true, Idle: lineTimeout / 4, Interval: lineTimeout / 4, Count: 3}

// lineControl bounds how long a TCP connection waits for an acknowledgement. Those
// that a listener accepts have it from the listener.
func lineControl(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(lineTimeout.Milliseconds()))
	}); e != nil {
		return e
	}
	return err
}
