package libvirt

import (
	"context"
	"errors"
	"fmt"
	"time"

	lv "libvirt.org/go/libvirt"

	"github.com/cairn-cloud/cairn/agent"
)

// Migrate implements agent.Hypervisor.
//
// The domain is sent stopped in its tracks (MIGRATE_PAUSED), and let go on the other
// host only when it is gone here: libvirt's own protocol, where its last answer
// is lost, goes on here while it runs there.
func (h *Hypervisor) Migrate(ctx context.Context, m agent.Migration) error {
	// A connection of its own: a call that takes minutes holds up what else goes over it.
	c, err := lv.NewConnect(h.o.URI)
	if err != nil {
		return fmt.Errorf("migrate domain %s: %w", m.Instance, err)
	}
	defer release(c)
	t := &transfer{h: h, c: c, m: m}
	stayed, err := t.do(ctx)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("migrate domain %s: %w", m.Instance, err)
	if stayed {
		return &agent.StayedError{Err: err}
	}
	return err
}

// transfer is one attempt.
type transfer struct {
	h      *Hypervisor
	c      *lv.Connect // this host's
	peer   *lv.Connect // the other's; nil where it does not answer
	m      agent.Migration
	logged int64 // of the console's log, in bytes
}

// do takes the next steps; stayed tells, with an error, that it is here and will be.
func (t *transfer) do(ctx context.Context) (stayed bool, err error) {
	relay, peerErr := t.h.openRelay(ctx, t.m)
	if peerErr == nil {
		defer relay.close()
		t.peer, peerErr = lv.NewConnect(relay.uri())
	}
	if peerErr == nil {
		defer release(t.peer)
	}
	here, err := t.here()
	if err != nil {
		return false, err
	}
	var there *agent.DomainState
	if peerErr == nil {
		s, err := stateOn(t.peer, t.m.Instance)
		if peerErr = err; err == nil {
			there = &s
		}
	}
	step, why := agent.NextStep(here, there, t.m.Stay)
	switch step {
	case agent.StepSend:
		return t.send(ctx)
	case agent.StepLetGo:
		return false, t.letGo(ctx)
	case agent.StepDone:
		return false, t.h.Undefine(ctx, t.m.Instance) // its definition may have outlived it in a crash of this host
	case agent.StepStay:
		if here == agent.DomainPaused {
			if err := t.h.Resume(ctx, t.m.Instance); err != nil {
				return false, err
			}
		}
		return true, errors.Join(why, peerErr)
	default:
		return false, errors.Join(why, peerErr)
	}
}

// here is what there is of the domain on this host. One that stands still to
// leave, and has nobody left to send it, just stands still: libvirt leaves it so when it is killed
// at that moment.
func (t *transfer) here() (agent.DomainState, error) {
	s, err := stateOn(t.c, t.m.Instance)
	if err != nil || s != agent.DomainMoving {
		return s, err
	}
	d, err := t.c.LookupDomainByName(t.m.Instance)
	if err != nil {
		return "", err
	}
	defer func() { _ = d.Free() }()
	job, err := d.GetJobStats(0)
	if err == nil && job.Type == lv.DOMAIN_JOB_NONE {
		s = agent.DomainPaused
	}
	return s, err
}

// stateOn is what there is of a domain on the host of that connection. What was
// stopped because it has left is as good as gone, before its definition is.
func stateOn(c *lv.Connect, instance string) (agent.DomainState, error) {
	d, err := c.LookupDomainByName(instance)
	if noDomain(err) {
		return agent.DomainNone, nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = d.Free() }()
	state, reason, err := d.GetState()
	switch {
	case noDomain(err):
		return agent.DomainNone, nil
	case err != nil:
		return "", err
	case state == lv.DOMAIN_SHUTOFF && lv.DomainShutoffReason(reason) == lv.DOMAIN_SHUTOFF_MIGRATED:
		return agent.DomainNone, nil
	}
	s, _ := stateOf(state, reason)
	return s, nil
}

func (t *transfer) send(ctx context.Context) (stayed bool, err error) {
	spec, err := t.m.Spec(ctx)
	if err != nil {
		return true, err
	}
	d, err := t.c.LookupDomainByName(t.m.Instance)
	if err != nil {
		return false, err
	}
	defer func() { _ = d.Free() }()
	if err := t.sendLog(ctx); err != nil {
		return true, err
	}
	p, err := t.params(d, spec)
	if err != nil {
		return true, err
	}
	flags := lv.MIGRATE_LIVE | lv.MIGRATE_PEER2PEER | lv.MIGRATE_PERSIST_DEST | lv.MIGRATE_UNDEFINE_SOURCE |
		lv.MIGRATE_PAUSED | lv.MIGRATE_ABORT_ON_ERROR | lv.MIGRATE_AUTO_CONVERGE
	if t.m.Disks {
		flags |= lv.MIGRATE_NON_SHARED_INC
	}
	stop := t.watch(ctx)
	err = d.MigrateToURI3(uriOf(socketOf(t.m.Instance, agent.ChannelHypervisor)), p, flags)
	stop()
	if err != nil {
		// It is here, unless libvirt let go of it and could not say so.
		here, lookErr := stateOn(t.c, t.m.Instance)
		return lookErr == nil && here == agent.DomainRunning, err
	}
	t.h.forget(t.m.Instance)
	return false, t.letGo(ctx)
}

// letGo sends what the guest wrote last, and lets it go on there.
func (t *transfer) letGo(ctx context.Context) error {
	if err := t.sendLog(ctx); err != nil {
		t.h.o.Log.Warn("the end of a console log stays behind", "instance", t.m.Instance, "error", err)
	}
	d, err := t.peer.LookupDomainByName(t.m.Instance)
	if err != nil {
		return err
	}
	defer func() { _ = d.Free() }()
	return errors.Join(resume(d), t.h.Undefine(ctx, t.m.Instance))
}

func (t *transfer) params(d *lv.Domain, spec agent.DomainSpec) (*lv.DomainMigrateParameters, error) {
	mark, _, err := t.h.mark(d, t.m.Instance)
	if err != nil {
		return nil, err
	}
	// What it is goes with it; what it is known by is the other host's.
	mark.Epoch, mark.Digest, mark.Generation, mark.Sent = spec.Mark.Epoch, spec.Mark.Digest, spec.Mark.Generation, 0
	spec.Mark = mark
	p := &lv.DomainMigrateParameters{
		URISet: true, URI: "unix://" + socketOf(t.m.Instance, agent.ChannelMemory),
		DestXMLSet: true, PersistXMLSet: true,
	}
	if t.m.Disks {
		p.DisksURISet, p.DisksURI = true, "unix://"+socketOf(t.m.Instance, agent.ChannelDisks)
		p.MigrateDisksSet, p.MigrateDisks = true, []string{rootTarget}
	}
	if p.DestXML, err = thereXML(d, spec, lv.DOMAIN_XML_MIGRATABLE|lv.DOMAIN_XML_SECURE); err != nil {
		return nil, err
	}
	p.PersistXML, err = thereXML(d, spec, lv.DOMAIN_XML_MIGRATABLE|lv.DOMAIN_XML_SECURE|lv.DOMAIN_XML_INACTIVE)
	return p, err
}

// How often libvirt is asked how far it is, and told again to stop.
const (
	askEvery   = 2 * time.Second
	abortEvery = 250 * time.Millisecond
)

// watch tells how far it is and when the guest stands still, and gives it up when
// ctx ends. It must be stopped.
func (t *transfer) watch(ctx context.Context) (stop func()) {
	over, done := make(chan struct{}), make(chan struct{})
	events := t.h.bus.subscribe()
	go func() {
		defer close(done)
		defer t.h.bus.unsubscribe(events)
		ask := time.NewTicker(askEvery)
		defer ask.Stop()
		abort := time.NewTicker(abortEvery)
		defer abort.Stop()
		for still := false; ; {
			select {
			case <-over:
				return
			case <-events.ready:
				if events.take(); still {
					continue
				}
				t.aside(func(d *lv.Domain) error {
					state, reason, err := d.GetState()
					s, _ := stateOf(state, reason)
					still = err == nil && s == agent.DomainMoving
					return err
				})
				if still {
					t.m.Still(ctx)
				}
			case <-ask.C:
				t.aside(func(d *lv.Domain) error {
					s, err := d.GetJobStats(0)
					if err == nil && s.DataTotalSet && ctx.Err() == nil {
						t.m.Progress(int64(s.DataProcessed), int64(s.DataTotal))
					}
					return err
				})
			case <-abort.C:
				if ctx.Err() != nil { // until the job is over; before it began there is none
					t.aside(func(d *lv.Domain) error { return d.AbortJob() })
				}
			}
		}
	}()
	return func() { close(over); <-done }
}

// aside does something with the domain while it is sent, not over the connection
// that sends it. What fails is tried again.
func (t *transfer) aside(f func(d *lv.Domain) error) {
	_ = t.h.with("look at", t.m.Instance, nil, f)
}
