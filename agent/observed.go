package agent

import (
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// Observed is what is on the host, and what the agent remembers of what it
// did: all that Plan looks at beside the desired state.
type Observed struct {
	Layout  Layout
	Shared  bool                 // other hosts use the same files: they are removed with the instance only
	Domains map[string]Domain    // by instance
	Disks   map[string]DiskState // by instance
	Images  map[string]bool      // in the cache, by SHA-256
	Orphans map[string]Orphan    // noted or set aside, by ID
	Grace   time.Duration        // after which an orphan is removed by itself

	// Known: the desired state was read from the disk or said by the control
	// plane. Without it nothing may be done at all.
	Known bool
	// Synced: the control plane has named all of it since the agent started, so
	// that what is not in it is to go.
	Synced bool

	// Life is the revision at which the host came alive in the eyes of the control
	// plane; 0: it may count as dead. CutOff: that may have been so for long.
	Life   int64
	CutOff bool
	// Fences: the host has to stop what is exclusive once it is cut off.
	Fences bool

	Underlay Underlay
	// Network is what was applied last; nil when that is not known to hold.
	Network          *network.Desired
	NetworkHolds     bool      // Network is what is wanted now
	NetworkNotBefore time.Time // after a failure
	NetworkFailures  int       // in a row
	// Guests is the digest of what the guests' services were given last.
	Guests   string
	NetDrift []api.Drift // what of the network could not be put right

	Memory      map[string]Memory    // by instance
	UnusedSince map[string]time.Time // of images, by SHA-256
}

// Memory is what the agent remembers of an instance. It is lost when the agent
// is restarted; what must outlive that is in the domain's Mark.
type Memory struct {
	ShutdownAt time.Time // when the power button was first pressed to stop it
	PressedAt  time.Time // when it was last pressed to stop it
	RebootAt   time.Time // when it was pressed to reboot it
	Rebooted   bool      // the guest has come round since RebootAt

	NotBefore time.Time // after a failure: when to try again
	Failures  int       // in a row
	Failure   *Failure  // the last one; nil after a success

	StartNotBefore time.Time // after a crash
	Crashes        int       // in a row
	CrashSeen      bool      // the crash that it lies stopped from was counted
	Started        bool      // a start was done, and what came of it is not seen yet

	MendNotBefore time.Time // when a definition that another hand changes may be mended again

	Move  Move  // the last one away from here
	Still int64 // epoch of the last one to here whose guest stands still to go on here
}

// Move is what the agent remembers of sending an instance away.
type Move struct {
	Epoch         int64 // under which it is to run there
	State         api.Outgoing
	Message       string
	Copied, Total int64 // bytes
}

// Failure is what went wrong with an instance.
type Failure struct {
	Condition string // the condition that it breaks
	Reason    string
	Message   string
}

// pressEvery is how long until the power button is pressed again: a guest that
// was still booting has not heard the first time.
const pressEvery = 10 * time.Second

// Backoff after failures and crashes, before jitter: doubling from the first to the last.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
	firstCrash = time.Second
	lastCrash  = 5 * time.Minute
	// steady is how long a guest runs until its crashes before no longer count.
	steady = 10 * time.Minute
	// mendEvery is how often a definition is mended at most: whatever changes it
	// again and again is not fought.
	mendEvery = time.Minute
)

// backoff doubles from first to last; spread in [0,1) makes it ±25 %.
func backoff(n int, first, last time.Duration, spread float64) time.Duration {
	d := first
	for i := 1; i < n && d < last; i++ {
		d *= 2
	}
	return time.Duration(float64(min(d, last)) * (0.75 + spread/2))
}

// failed remembers a failure.
func (m Memory) failed(f Failure, now time.Time, spread float64) Memory {
	m.Failures++
	m.Failure = &f
	m.NotBefore = now.Add(backoff(m.Failures, firstRetry, lastRetry, spread))
	return m
}

// succeeded forgets the failures.
func (m Memory) succeeded() Memory {
	m.Failures, m.Failure, m.NotBefore = 0, nil, time.Time{}
	return m
}

// settle brings the memory in line with what is seen of the domain. It tells
// whether a crash was seen for the first time. A start after which nothing runs,
// whatever the hypervisor said, is a failure.
func (m Memory) settle(d Domain, defined bool, now time.Time, spread float64) (_ Memory, crashed bool) {
	started := m.Started
	if defined && d.State == DomainStarting {
		return m, false
	}
	m.Started = false
	if defined && d.State == DomainRunning {
		if m.CrashSeen = false; started {
			m = m.succeeded()
		}
		return m, false
	}
	m.ShutdownAt, m.PressedAt, m.RebootAt, m.Rebooted = time.Time{}, time.Time{}, time.Time{}, false
	switch {
	case defined && d.Reason == StopCrash:
		if m.CrashSeen && !started {
			return m, false
		}
	case started && d.Reason != StopShutdown:
		return m.failed(Failure{Condition: Running, Reason: "StartFailed", Message: "the hypervisor said that the guest was started, and it does not run"}, now, spread), false
	default:
		return m, false
	}
	if !d.Mark.StartedAt.IsZero() && now.Sub(d.Mark.StartedAt) >= steady {
		m.Crashes = 0
	}
	m.Crashes++
	m.CrashSeen = true
	m.StartNotBefore = now.Add(backoff(m.Crashes, firstCrash, lastCrash, spread))
	return m, true
}
