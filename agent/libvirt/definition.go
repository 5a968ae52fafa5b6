package libvirt

import (
	"fmt"
	"time"

	lv "libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/cairn-cloud/cairn/agent"
)

// definition is what was read back of a domain. It is kept until libvirt says that
// the domain changed, as to read all at every look would cost calls for each; and
// no longer than readAgain, since of some changes libvirt says nothing.
type definition struct {
	at           time.Time
	config, live *agent.DomainSpec
	transient    bool
}

// readAgain is less than the time between two looks at everything of the agent's.
const readAgain = 4 * time.Minute

// stale forgets what was read of a domain, also of a read that is under way.
func (h *Hypervisor) stale(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changes++
	delete(h.definitions, name)
	delete(h.marks, name)
}

// registerChanges hears of changes of a domain that are none of its life.
func (h *Hypervisor) registerChanges(c *lv.Connect) error {
	changed := func(d *lv.Domain) { h.publish(d, agent.EventChanged) }
	if _, err := c.DomainEventDeviceRemovedRegister(nil, func(_ *lv.Connect, d *lv.Domain, _ *lv.DomainEventDeviceRemoved) { changed(d) }); err != nil {
		return err
	}
	_, err := c.DomainEventDeviceAddedRegister(nil, func(_ *lv.Connect, d *lv.Domain, _ *lv.DomainEventDeviceAdded) { changed(d) })
	return err
}

// define fills in what a domain's definition says.
func (h *Hypervisor) define(d *lv.Domain, out *agent.Domain) error {
	name, now := out.Mark.Instance, h.o.Now()
	h.mu.RLock()
	x, ok := h.definitions[name]
	changes := h.changes
	h.mu.RUnlock()
	if !ok || now.Sub(x.at) >= readAgain {
		var err error
		if x, err = readDefinition(d, out.State); err != nil {
			return err
		}
		x.at = now
		h.mu.Lock()
		if h.definitions != nil && h.changes == changes {
			h.definitions[name] = x
		}
		h.mu.Unlock()
	}
	out.Config, out.Live, out.Transient = x.config, x.live, x.transient
	return nil
}

func readDefinition(d *lv.Domain, state agent.DomainState) (x definition, err error) {
	kept, err := d.IsPersistent()
	if err != nil {
		return x, err
	}
	x.transient = !kept
	if kept {
		if x.config, err = readSpec(d, lv.DOMAIN_XML_INACTIVE); err != nil {
			return x, err
		}
	}
	if state == agent.DomainRunning || state == agent.DomainPaused {
		x.live, err = readSpec(d, 0)
	}
	return x, err
}

func readSpec(d *lv.Domain, flags lv.DomainXMLFlags) (*agent.DomainSpec, error) {
	s, err := d.GetXMLDesc(flags)
	if err != nil {
		return nil, err
	}
	return specOf(s)
}

// specOf reads from a domain's XML what domainXML wrote into it, but for the mark.
func specOf(s string) (*agent.DomainSpec, error) {
	var d libvirtxml.Domain
	if err := d.Unmarshal(s); err != nil {
		return nil, fmt.Errorf("read a domain's XML: %w", err)
	}
	out := &agent.DomainSpec{Title: d.Title}
	if d.VCPU != nil {
		out.VCPUs = int64(d.VCPU.Value)
		if d.VCPU.Current != 0 {
			out.VCPUs = int64(d.VCPU.Current)
		}
	}
	if d.Memory != nil {
		out.MemoryMiB = mebibytes(uint64(d.Memory.Value), d.Memory.Unit)
	}
	if d.OS != nil && d.OS.Type != nil {
		out.Architecture = d.OS.Type.Arch
	}
	if d.Devices == nil {
		return out, nil
	}
	for _, disk := range d.Devices.Disks {
		switch {
		case disk.Target == nil:
		case disk.Target.Dev == "vda":
			out.Root = diskOf(disk)
		case disk.Target.Dev == "vdb":
			out.ConfigDrive = pathOf(disk.Source)
		}
	}
	for _, c := range d.Devices.Serials {
		if c.Log != nil {
			out.ConsoleLog = c.Log.File
		}
	}
	for _, i := range d.Devices.Interfaces {
		out.NICs = append(out.NICs, nicOf(i))
	}
	return out, nil
}

func nicOf(i libvirtxml.DomainInterface) (n agent.DomainNIC) {
	if i.MAC != nil {
		n.MAC = i.MAC.Address
	}
	if i.Target != nil {
		n.Tap = i.Target.Dev
	}
	if i.MTU != nil {
		n.MTU = int(i.MTU.Size)
	}
	return n
}

func diskOf(d libvirtxml.DomainDisk) agent.DiskFile {
	f := agent.DiskFile{Path: pathOf(d.Source)}
	if d.Driver != nil {
		f.Format = d.Driver.Type
	}
	f.Backing = backingOf(d.BackingStore)
	return f
}

func backingOf(b *libvirtxml.DomainDiskBackingStore) *agent.DiskFile {
	if b == nil || b.Source == nil || b.Source.File == nil {
		return nil // the end of the chain
	}
	f := &agent.DiskFile{Path: pathOf(b.Source), Backing: backingOf(b.BackingStore)}
	if b.Format != nil {
		f.Format = b.Format.Type
	}
	return f
}

func pathOf(s *libvirtxml.DomainDiskSource) string {
	if s == nil || s.File == nil {
		return ""
	}
	return s.File.File
}

// mebibytes converts libvirt's memory, which it writes in KiB whatever it was given in.
func mebibytes(value uint64, unit string) int64 {
	switch unit {
	case "MiB", "M":
		return int64(value)
	case "GiB", "G":
		return int64(value << 10)
	case "b", "bytes":
		return int64(value >> 20)
	default:
		return int64(value >> 10)
	}
}
