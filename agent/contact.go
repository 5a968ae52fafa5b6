package agent

import (
	"sync"
	"time"
)

// cutOffAfter is how long after the last heartbeat that was answered, counted from
// when it was sent, a host is cut off: it knows no more whether what runs here is
// started elsewhere. It is a little before the sixth one after that is due.
const cutOffAfter = 58 * time.Second

// contact is whether the control plane counts this host as alive. It is measured
// by timers, for wall clocks jump.
type contact struct {
	mu      sync.Mutex
	sent    int64 // heartbeats
	last    int64 // the one that contact rests on; 0: the time since the start
	timer   *time.Timer
	life    int64 // as that one's answer said; 0: there is no contact
	cutOff  bool
	changed chan struct{} // of one
}

// newContact begins with no contact, and is cut off when none comes in time.
func newContact() *contact {
	c := &contact{changed: make(chan struct{}, 1)}
	c.timer = time.AfterFunc(cutOffAfter, func() { c.cut(0) })
	return c
}

// send is called before a heartbeat is sent. heard is called with its answer, or
// with 0 where it has none.
func (c *contact) send() (heard func(life int64)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	n := c.sent
	t := time.AfterFunc(cutOffAfter, func() { c.cut(n) })
	return func(life int64) {
		if life == 0 {
			t.Stop()
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.timer.Stop()
		c.timer, c.last = t, n
		if c.life != life {
			c.life, c.cutOff = life, false
			c.poke()
		}
	}
}

func (c *contact) cut(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == n {
		c.life, c.cutOff = 0, true
		c.poke()
	}
}

func (c *contact) poke() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// now returns the life of the host, 0 while there is no contact, and whether the
// host is cut off: there has been none for as long as that takes.
func (c *contact) now() (life int64, cutOff bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.life, c.cutOff
}

// end stops the timer.
func (c *contact) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer.Stop()
}
