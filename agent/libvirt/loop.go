package libvirt

import (
	"sync/atomic"

	lv "libvirt.org/go/libvirt"
)

// eventLoop runs libvirt's default event loop. libvirt has one for the whole
// process; several runners of it take turns, so every Hypervisor may own one.
type eventLoop struct {
	stopping atomic.Bool
	done     chan struct{}
}

// startLoop must come before the first connection is opened.
func startLoop() (*eventLoop, error) {
	if err := lv.EventRegisterDefaultImpl(); err != nil {
		return nil, err
	}
	l := &eventLoop{done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for !l.stopping.Load() {
			if err := lv.EventRunDefaultImpl(); err != nil {
				return
			}
		}
	}()
	return l, nil
}

// wakeMillis is how often stop wakes the loop until it has seen that it is to
// end: with several runners, another one may have taken the first waking.
const wakeMillis = 5

// stop ends the loop and waits for it. The connections must be closed before.
func (l *eventLoop) stop() {
	l.stopping.Store(true)
	timer, err := lv.EventAddTimeout(wakeMillis, func(int) {})
	<-l.done
	if err == nil {
		_ = lv.EventRemoveTimeout(timer)
	}
}
