package libvirt

import (
	"context"
	"fmt"

	lv "libvirt.org/go/libvirt"

	"github.com/cairn-cloud/cairn/agent"
)

// SetMark implements agent.Hypervisor.
func (h *Hypervisor) SetMark(_ context.Context, m agent.Mark) error {
	return h.with("mark", m.Instance, missing("mark", m.Instance), func(d *lv.Domain) error { return h.setMark(d, m) })
}

// setMark writes the mark into the definition, and into the running domain
// where it runs.
func (h *Hypervisor) setMark(d *lv.Domain, m agent.Mark) error {
	flags := lv.DOMAIN_AFFECT_CONFIG
	on, err := d.IsActive()
	if err != nil {
		return fmt.Errorf("mark domain %s: %w", m.Instance, err)
	}
	if on {
		flags |= lv.DOMAIN_AFFECT_LIVE
	}
	x, err := plainMarkXML(m)
	if err != nil {
		return err
	}
	h.forget(m.Instance)
	if err := d.SetMetadata(lv.DOMAIN_METADATA_ELEMENT, x, markPrefix, markNamespace, flags); err != nil {
		return fmt.Errorf("mark domain %s: %w", m.Instance, err)
	}
	h.remember(m)
	return nil
}

// mark returns the domain's mark; false when it has none and is not ours. What
// was read once is remembered until libvirt says that the domain changed (the next of
// that name may be another one, that has come from another host), so that looking at all
// domains does not ask for each one's metadata; who else changes our mark is not heard before.
func (h *Hypervisor) mark(d *lv.Domain, name string) (agent.Mark, bool, error) {
	h.mu.RLock()
	m, ok := h.marks[name]
	changes := h.changes
	h.mu.RUnlock()
	if ok {
		return m, true, nil
	}
	x, err := d.GetMetadata(lv.DOMAIN_METADATA_ELEMENT, markNamespace, lv.DOMAIN_AFFECT_CURRENT)
	if noMark(err) {
		return agent.Mark{}, false, nil
	}
	if err != nil {
		return agent.Mark{}, false, err
	}
	m, err = parseMark(x)
	if err != nil {
		return agent.Mark{}, false, err
	}
	if m.Instance != name { // a clone that an operator made of one of ours
		return agent.Mark{}, false, nil
	}
	h.mu.Lock()
	if h.marks != nil && h.changes == changes {
		h.marks[name] = m
	}
	h.mu.Unlock()
	return m, true, nil
}

func (h *Hypervisor) remember(m agent.Mark) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.marks != nil {
		h.marks[m.Instance] = m
	}
}

func (h *Hypervisor) forget(instance string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.marks, instance)
	delete(h.definitions, instance)
	h.changes++
}

// Domains implements agent.Hypervisor.
func (h *Hypervisor) Domains(_ context.Context) ([]agent.Domain, error) {
	c, _, err := h.get()
	if err != nil {
		return nil, fmt.Errorf("list domains: %w", err)
	}
	defer release(c)
	all, err := c.ListAllDomains(0)
	if err != nil {
		return nil, fmt.Errorf("list domains: %w", err)
	}
	defer func() {
		for i := range all {
			_ = all[i].Free()
		}
	}()
	links, err := linksHere()
	if err != nil {
		return nil, err
	}
	var out []agent.Domain
	for i := range all {
		d, ok, err := h.domain(&all[i])
		if noDomain(err) {
			continue // it went meanwhile
		}
		if err != nil {
			return nil, err
		}
		if ok {
			d.Unplugged = unplugged(d, links)
			out = append(out, d)
		}
	}
	return out, nil
}

func (h *Hypervisor) domain(d *lv.Domain) (agent.Domain, bool, error) {
	name, err := d.GetName()
	if err != nil {
		return agent.Domain{}, false, fmt.Errorf("name of a domain: %w", err)
	}
	m, ours, err := h.mark(d, name)
	if err != nil || !ours {
		return agent.Domain{}, false, err
	}
	state, reason, err := d.GetState()
	if err != nil {
		return agent.Domain{}, false, fmt.Errorf("state of domain %s: %w", name, err)
	}
	out := agent.Domain{Mark: m}
	out.State, out.Reason = stateOf(state, reason)
	if err := h.define(d, &out); err != nil {
		return agent.Domain{}, false, fmt.Errorf("definition of domain %s: %w", name, err)
	}
	return out, true, nil
}

// stateOf puts libvirt's states into ours.
func stateOf(state lv.DomainState, reason int) (agent.DomainState, agent.StopReason) {
	switch state {
	case lv.DOMAIN_SHUTOFF:
		return agent.DomainStopped, stopReason(lv.DomainShutoffReason(reason))
	case lv.DOMAIN_CRASHED:
		return agent.DomainStopped, agent.StopCrash
	case lv.DOMAIN_PAUSED:
		switch lv.DomainPausedReason(reason) {
		case lv.DOMAIN_PAUSED_STARTING_UP:
			return agent.DomainStarting, ""
		case lv.DOMAIN_PAUSED_MIGRATION:
			return agent.DomainMoving, ""
		case lv.DOMAIN_PAUSED_USER:
			return agent.DomainPaused, ""
		default: // a full disk, …: not ours to resume
		}
	default: // running, blocked, shutting down: a QEMU is there
	}
	return agent.DomainRunning, ""
}

func stopReason(r lv.DomainShutoffReason) agent.StopReason {
	switch r {
	case lv.DOMAIN_SHUTOFF_SHUTDOWN:
		return agent.StopShutdown
	case lv.DOMAIN_SHUTOFF_DESTROYED:
		return agent.StopDestroy
	case lv.DOMAIN_SHUTOFF_CRASHED:
		return agent.StopCrash
	default: // also "failed": a start that did
		return agent.StopUnknown
	}
}
