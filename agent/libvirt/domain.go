package libvirt

import (
	"context"
	"fmt"
	"io"
	"os"

	lv "libvirt.org/go/libvirt"

	"github.com/cairn-cloud/cairn/agent"
)

// errNotOurs refuses a domain without Cairn's mark.
var errNotOurs = fmt.Errorf("a domain of that name exists that Cairn did not make; rename or remove it")

// with looks a domain up, makes sure that it is ours, and calls f. A domain
// that does not exist is the error of absent.
func (h *Hypervisor) with(op, instance string, absent error, f func(d *lv.Domain) error) error {
	c, _, err := h.get()
	if err != nil {
		return fmt.Errorf("%s domain %s: %w", op, instance, err)
	}
	defer release(c)
	d, err := c.LookupDomainByName(instance)
	if noDomain(err) {
		return absent
	}
	if err != nil {
		return fmt.Errorf("%s domain %s: %w", op, instance, err)
	}
	defer func() { _ = d.Free() }()
	if _, ok, err := h.mark(d, instance); err != nil || !ok {
		if err == nil {
			err = errNotOurs
		}
		return fmt.Errorf("%s domain %s: %w", op, instance, err)
	}
	if err := f(d); err != nil {
		return fmt.Errorf("%s domain %s: %w", op, instance, err)
	}
	return nil
}

func missing(op, instance string) error {
	return fmt.Errorf("%s domain %s: it is not defined", op, instance)
}

// Define implements agent.Hypervisor. On a running domain the new definition
// holds from its next start.
func (h *Hypervisor) Define(_ context.Context, s agent.DomainSpec) error {
	id := s.Mark.Instance
	c, m, err := h.get()
	if err != nil {
		return fmt.Errorf("define domain %s: %w", id, err)
	}
	defer release(c)
	old, err := c.LookupDomainByName(id)
	switch {
	case noDomain(err):
	case err != nil:
		return fmt.Errorf("define domain %s: %w", id, err)
	default:
		_, ours, err := h.mark(old, id)
		_ = old.Free()
		if err == nil && !ours {
			err = errNotOurs
		}
		if err != nil {
			return fmt.Errorf("define domain %s: %w", id, err)
		}
	}
	x, err := domainXML(s, m)
	if err != nil {
		return err
	}
	h.forget(id)
	d, err := c.DomainDefineXMLFlags(x, 0)
	if err != nil {
		return fmt.Errorf("define domain %s: %w", id, err)
	}
	defer func() { _ = d.Free() }()
	on, err := d.IsActive()
	if err != nil {
		return fmt.Errorf("define domain %s: %w", id, err)
	}
	if on { // its definition is beside it: the live mark is its own
		return h.setMark(d, s.Mark)
	}
	h.remember(s.Mark)
	return nil
}

// Start implements agent.Hypervisor.
func (h *Hypervisor) Start(_ context.Context, instance string) error {
	return h.with("start", instance, missing("start", instance), func(d *lv.Domain) error {
		err := d.Create()
		if wrongState(err) {
			if on, activeErr := d.IsActive(); activeErr == nil && on {
				return nil
			}
		}
		return err
	})
}

// Shutdown implements agent.Hypervisor.
func (h *Hypervisor) Shutdown(_ context.Context, instance string) error {
	return h.with("shut down", instance, nil, func(d *lv.Domain) error {
		return unlessStopped(d.ShutdownFlags(lv.DOMAIN_SHUTDOWN_ACPI_POWER_BTN), d)
	})
}

// Destroy implements agent.Hypervisor.
func (h *Hypervisor) Destroy(_ context.Context, instance string) error {
	return h.with("destroy", instance, nil, func(d *lv.Domain) error {
		return unlessStopped(d.DestroyFlags(lv.DOMAIN_DESTROY_DEFAULT), d)
	})
}

// Reboot implements agent.Hypervisor: hard resets the machine, soft presses the
// power button and starts it again once the guest is down.
func (h *Hypervisor) Reboot(_ context.Context, instance string, hard bool) error {
	return h.with("reboot", instance, missing("reboot", instance), func(d *lv.Domain) error {
		if hard {
			return d.Reset(0)
		}
		return d.Reboot(lv.DOMAIN_REBOOT_ACPI_POWER_BTN)
	})
}

// Suspend implements agent.Hypervisor.
func (h *Hypervisor) Suspend(_ context.Context, instance string) error {
	return h.with("suspend", instance, nil, func(d *lv.Domain) error { return unlessStopped(d.Suspend(), d) })
}

// Resume implements agent.Hypervisor.
func (h *Hypervisor) Resume(_ context.Context, instance string) error {
	return h.with("resume", instance, nil, resume)
}

// resume lets go on what stands still; what runs does already.
func resume(d *lv.Domain) error {
	err := d.Resume()
	if wrongState(err) {
		if state, _, stateErr := d.GetState(); stateErr == nil && state != lv.DOMAIN_PAUSED {
			return nil
		}
	}
	return err
}

// Undefine implements agent.Hypervisor.
func (h *Hypervisor) Undefine(_ context.Context, instance string) error {
	return h.with("undefine", instance, nil, func(d *lv.Domain) error {
		h.forget(instance)
		err := d.UndefineFlags(lv.DOMAIN_UNDEFINE_MANAGED_SAVE | lv.DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
			lv.DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | lv.DOMAIN_UNDEFINE_NVRAM)
		if noDomain(err) {
			return nil
		}
		return err
	})
}

// unlessStopped drops the error of stopping what does not run.
func unlessStopped(err error, d *lv.Domain) error {
	if noDomain(err) {
		return nil
	}
	if wrongState(err) {
		if on, activeErr := d.IsActive(); activeErr == nil && !on {
			return nil
		}
	}
	return err
}

// ConsoleLog implements agent.Hypervisor.
func (h *Hypervisor) ConsoleLog(_ context.Context, instance string) (io.ReadSeekCloser, error) {
	f, err := os.Open(h.o.Layout.ConsoleLog(instance))
	if err != nil {
		return nil, fmt.Errorf("console log of %s: %w", instance, err)
	}
	return f, nil
}
