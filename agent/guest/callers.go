package guest

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
)

// connectionsEach is how many connections a guest may have to the metadata
// service, and to DNS, so that none can use up the agent's files.
const connectionsEach = 16

// callers counts the connections of each address, and lets in only those that
// a local port has.
type callers struct {
	view   *atomic.Pointer[view]
	served sync.WaitGroup
	mu     sync.Mutex
	conns  map[net.Conn]netip.Addr
	count  map[netip.Addr]int
}

// gate returns a listener that passes on only connections of guests.
func (c *callers) gate(l net.Listener) net.Listener { return gate{l, c} }

type gate struct {
	net.Listener
	callers *callers
}

// Accept implements net.Listener.
func (g gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil || g.callers.welcome(conn) {
			return conn, err
		}
		conn.Close()
	}
}

func (c *callers) welcome(conn net.Conn) bool {
	from := addressOf(conn.RemoteAddr().String())
	if _, ours := c.view.Load().byAddr[from]; !ours {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count[from] < connectionsEach
}

// track follows connections from the goroutine that serves each; it is the
// server's ConnState. New ones are counted before the next is accepted.
func (c *callers) track(conn net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s { //nolint:exhaustive // the states between are no affair of the count
	case http.StateNew:
		if c.conns == nil {
			c.conns, c.count = map[net.Conn]netip.Addr{}, map[netip.Addr]int{}
		}
		from := addressOf(conn.RemoteAddr().String())
		c.conns[conn] = from
		c.count[from]++
		c.served.Add(1)
	case http.StateClosed:
		from := c.conns[conn]
		delete(c.conns, conn)
		if c.count[from]--; c.count[from] == 0 {
			delete(c.count, from)
		}
		c.served.Done()
	}
}

// reset makes the end of every connection a hard one: the kernel would go on
// trying to end it in good order, and keep the namespace for as long, although
// the cable to the guest may be gone.
func (c *callers) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		if t, ok := conn.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
	}
}

// hangUp resets every connection, and closes it.
func (c *callers) hangUp() {
	c.reset()
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		conn.Close()
	}
}

// wait returns when no connection is served any more. The listener was closed
// before.
func (c *callers) wait() { c.served.Wait() }

func addressOf(hostport string) netip.Addr {
	a, err := netip.ParseAddrPort(hostport)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}
