package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// Start starts a domain, and then notes it on the domain.
type Start struct {
	target
	Mark Mark // with what is to be noted
	// Noted: the domain says so already, as when it was just defined.
	Noted bool
	// Repairs: another hand has pulled its plug.
	Repairs []api.Drift
}

// Do implements Action.
func (a Start) Do(ctx context.Context, d Drivers) error {
	if err := d.Hypervisor.Start(ctx, a.Instance); err != nil {
		return err
	}
	if a.Noted {
		return nil
	}
	return d.Hypervisor.SetMark(ctx, a.Mark)
}
func (a Start) String() string           { return a.Instance + ": start" }
func (a Start) breaks() (string, string) { return Running, "StartFailed" }
func (a Start) networked()               {}
func (a Start) repairs() []api.Drift     { return a.Repairs }

// Shutdown presses the power button of a domain that is to stop.
type Shutdown struct {
	target
	Mark Mark
	At   time.Time
}

// Do implements Action. The mark comes first: the guest may be off before a
// second call, and must not be taken for one that stopped by itself.
func (a Shutdown) Do(ctx context.Context, d Drivers) error {
	if err := d.Hypervisor.SetMark(ctx, a.Mark); err != nil {
		return err
	}
	return d.Hypervisor.Shutdown(ctx, a.Instance)
}
func (a Shutdown) String() string           { return a.Instance + ": press the power button" }
func (a Shutdown) breaks() (string, string) { return Running, "StopFailed" }

func (a Shutdown) remember(m Memory) Memory {
	m.PressedAt = a.At
	if m.ShutdownAt.IsZero() {
		m.ShutdownAt = a.At
	}
	return m
}

// forget keeps the time of an earlier press, from which the grace time runs.
func (a Shutdown) forget(m Memory) Memory {
	if m.ShutdownAt.Equal(a.At) {
		m.ShutdownAt = time.Time{}
	}
	return m
}

// Destroy pulls a domain's plug.
type Destroy struct {
	target
	Why string
}

// Do implements Action.
func (a Destroy) Do(ctx context.Context, d Drivers) error {
	return d.Hypervisor.Destroy(ctx, a.Instance)
}

func (a Destroy) String() string           { return fmt.Sprintf("%s: pull the plug: %s", a.Instance, a.Why) }
func (a Destroy) breaks() (string, string) { return Running, "StopFailed" }

// Reboot restarts a guest that runs: by its power button, or by a reset.
type Reboot struct {
	target
	Hard bool
	Mark Mark
	At   time.Time
}

// Do implements Action. The mark comes second: a reboot that fails is tried again.
func (a Reboot) Do(ctx context.Context, d Drivers) error {
	if err := d.Hypervisor.Reboot(ctx, a.Instance, a.Hard); err != nil {
		return err
	}
	return d.Hypervisor.SetMark(ctx, a.Mark)
}

func (a Reboot) String() string {
	if a.Hard {
		return a.Instance + ": reset"
	}
	return a.Instance + ": press the power button to reboot"
}
func (a Reboot) breaks() (string, string) { return Running, "RebootFailed" }

func (a Reboot) remember(m Memory) Memory {
	m.RebootAt, m.Rebooted = a.At, false
	if a.Hard {
		m.RebootAt = time.Time{}
	}
	return m
}
func (a Reboot) forget(m Memory) Memory { m.RebootAt = time.Time{}; return m }

// SetMark notes on a domain what was found or done.
type SetMark struct {
	target
	Mark Mark
	Why  string
}

// Do implements Action.
func (a SetMark) Do(ctx context.Context, d Drivers) error { return d.Hypervisor.SetMark(ctx, a.Mark) }

func (a SetMark) String() string           { return fmt.Sprintf("%s: note: %s", a.Instance, a.Why) }
func (a SetMark) breaks() (string, string) { return Running, "MarkFailed" }

// remember ends an earlier stop, once the domain is to run again: a later one
// has its own grace time.
func (a SetMark) remember(m Memory) Memory {
	if a.Mark.Power == MarkOn {
		m.ShutdownAt, m.PressedAt = time.Time{}, time.Time{}
	}
	return m
}
func (a SetMark) forget(m Memory) Memory { return m }
