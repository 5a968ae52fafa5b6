package agent

import (
	"context"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// message is what wakes the loop. One of its fields is set.
type message struct {
	items     []api.DesiredItem
	streamErr error // the stream broke and begins anew
	domain    *DomainEvent
	observe   bool   // events may have been missed: look at everything
	network   string // what changed by another hand
	done      *done
	progress  *progress
	still     *still
}

// still says that the guest of an instance that comes here stands still.
type still struct {
	instance string
	epoch    int64
}

// progress is how far sending an instance is, in bytes.
type progress struct {
	of            Migrate
	copied, total int64
}

// send hands a message to the loop; false when ctx ended.
func (a *Agent) send(ctx context.Context, m message) bool {
	select {
	case a.inbox <- m:
		return true
	case <-ctx.Done():
		return false
	}
}

func (a *Agent) watchDesired(ctx context.Context) {
	down := false
	for items, err := range a.o.ControlPlane.Desired(ctx, a.host, a.reporter.seen.Load) {
		if err != nil && !down {
			a.o.Log.Warn("the control plane is away; the host goes on by what it knows", "error", err)
		}
		if err == nil && down {
			a.o.Log.Info("the control plane is back")
		}
		down = err != nil
		if !a.send(ctx, message{items: items, streamErr: err}) {
			return
		}
	}
}

func (a *Agent) watchDomains(ctx context.Context) {
	for e, err := range a.o.Drivers.Hypervisor.Events(ctx) {
		m := message{domain: &e}
		if err != nil || e.Instance == "" {
			m = message{observe: true}
		}
		if !a.send(ctx, m) {
			return
		}
	}
}

func (a *Agent) watchNetwork(ctx context.Context) {
	for what, err := range a.o.Drivers.Network.Events(ctx) {
		if err != nil {
			what = "the kernel's events were lost: " + err.Error()
		}
		if !a.send(ctx, message{network: what}) {
			return
		}
	}
}

// heartbeat says that the host lives.
func (a *Agent) heartbeat(ctx context.Context) {
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	failed := false
	for {
		bound, cancel := context.WithTimeout(ctx, heartbeatEvery)
		heard := a.contact.send()
		life, err := a.o.ControlPlane.Heartbeat(bound, a.host)
		cancel()
		heard(life)
		if err != nil && !failed && ctx.Err() == nil {
			a.o.Log.Warn("a heartbeat did not arrive", "error", err)
		}
		failed = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// keepCertificate renews the certificate before it ends.
func (a *Agent) keepCertificate(ctx context.Context) {
	for failures := 0; ; {
		wait := a.o.Identity.renewAt().Sub(a.o.Now())
		if failures > 0 {
			wait = backoff(failures, firstRetry, time.Hour, a.o.Rand())
		}
		if !pause(ctx, max(0, wait)) {
			return
		}
		if err := a.o.Identity.renew(ctx, a.o.ControlPlane); err != nil {
			failures++
			a.o.Log.Warn("the host's certificate is not renewed yet", "error", err)
			continue
		}
		failures = 0
		a.o.Log.Info("the host's certificate was renewed", "until", a.o.Identity.cert.Load().Leaf.NotAfter)
	}
}
