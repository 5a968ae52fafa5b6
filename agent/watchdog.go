package agent

import (
	"context"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// Watchdog resets the machine unless it is petted: what must not run twice then
// does not run on here, also when the agent itself does not. agent/watchdog has it.
type Watchdog interface {
	// Arm starts it; the machine is reset Timeout after that, or after a Pet, unless it
	// is petted before.
	Arm() error
	Pet() error
	// Disarm stops it.
	Disarm() error
	// Leave lets go of it while it goes on: it is the next agent's, if that comes in time.
	Leave() error
	Timeout() time.Duration
}

const petEvery = 5 * time.Second

// selfFencing is how long after the last heartbeat that was answered nothing
// exclusive runs here any more.
func (a *Agent) selfFencing() time.Duration {
	if !a.armed.Load() {
		return 0
	}
	return cutOffAfter + a.o.Watchdog.Timeout()
}

// keepWatchdog arms the watchdog with the first contact, not before: an agent
// that is started again and again without any must not keep the machine from being
// reset. It pets it while there is contact, or nothing exclusive that could run.
func (a *Agent) keepWatchdog(ctx context.Context) {
	tick := time.NewTicker(petEvery)
	defer tick.Stop()
	for {
		life, _ := a.contact.now()
		switch {
		case !a.armed.Load() && life != 0:
			if err := a.o.Watchdog.Arm(); err != nil {
				a.o.Log.Error("the watchdog is not armed; a lost host's instances wait until somebody says that it is off", "error", err)
				break
			}
			a.armed.Store(true)
			if !a.send(ctx, message{observe: true}) { // so that the host says it
				a.dismiss()
				return
			}
		case a.armed.Load() && (life != 0 || a.idle.Load()):
			if err := a.o.Watchdog.Pet(); err != nil {
				a.o.Log.Error("the watchdog is not petted, and resets the machine", "error", err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			a.dismiss()
			return
		}
	}
}

// dismiss ends the watch where nothing needs it; else the next agent goes on with it.
func (a *Agent) dismiss() {
	if !a.armed.Load() {
		return
	}
	end := a.o.Watchdog.Leave
	if a.idle.Load() {
		end = a.o.Watchdog.Disarm
	}
	if err := end(); err != nil {
		a.o.Log.Error("the watchdog cannot be let go", "error", err)
	}
}

// idle tells whether nothing exclusive runs here or can start.
func idle(want api.HostDesired, have Observed) bool {
	for id, w := range want.Instances {
		if d, defined := have.Domains[id]; w.Exclusive && (mayStart(want, have, w) || defined && d.State != DomainStopped) {
			return false
		}
	}
	return true
}

// mayStart tells whether an instance can be started here without running elsewhere
// too. What is exclusive was perhaps started elsewhere while this host was silent. The life
// that the control plane counts it in began after that, and so what is wanted now,
// if it is as new, does not name it any more.
func mayStart(want api.HostDesired, have Observed, w api.HostInstance) bool {
	return !w.Exclusive || have.Life != 0 && have.Synced && want.Revision >= have.Life
}
