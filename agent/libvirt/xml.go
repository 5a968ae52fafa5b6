package libvirt

import (
	"crypto/sha256"
	"fmt"

	"libvirt.org/go/libvirtxml"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/api"
)

// machine is what the XML depends on beside the spec: facts of this host.
type machine struct {
	kvm      bool
	dac      bool // the DAC security driver is there, so labels can be refused
	user     int  // that QEMU runs as
	group    int
	cpu      *api.HostCPU // that guests can be given; nil: not known
	directIO func(path string) bool
}

// virtualization is how guests run, as libvirt names it.
func (m machine) virtualization() string {
	if m.kvm {
		return "kvm"
	}
	return "qemu"
}

// domainXML builds the definition of a domain.
func domainXML(s agent.DomainSpec, m machine) (string, error) {
	mark, err := markXML(s.Mark)
	if err != nil {
		return "", err
	}
	d := &libvirtxml.Domain{
		Type:       "qemu",
		Name:       s.Mark.Instance,
		UUID:       domainUUID(s.Mark.Instance),
		Title:      s.Title,
		Metadata:   &libvirtxml.DomainMetadata{XML: mark},
		Memory:     &libvirtxml.DomainMemory{Value: uint(s.MemoryMiB), Unit: "MiB"},
		VCPU:       &libvirtxml.DomainVCPU{Placement: "static", Value: uint(s.VCPUs)},
		OS:         osOf(s.Architecture),
		Features:   &libvirtxml.DomainFeatureList{ACPI: &libvirtxml.DomainFeature{}},
		CPU:        &libvirtxml.DomainCPU{Mode: "maximum", Check: "none"},
		Clock:      &libvirtxml.DomainClock{Offset: "utc"},
		OnPoweroff: "destroy", OnReboot: "restart",
		// A guest that panics is stopped, so that the agent hears of it; it restarts it.
		OnCrash: "destroy",
		Devices: devices(s, m),
	}
	if s.Architecture == "x86_64" {
		d.Features.APIC = &libvirtxml.DomainFeatureAPIC{}
	}
	if m.kvm {
		d.Type = "kvm"
	}
	if s.CPU != nil {
		d.CPU = cpuXML(*s.CPU)
	} else if m.kvm {
		d.CPU = &libvirtxml.DomainCPU{Mode: "host-passthrough", Check: "none", Migratable: "on"}
	}
	out, err := d.Marshal()
	if err != nil {
		return "", fmt.Errorf("XML of domain %s: %w", s.Mark.Instance, err)
	}
	return out, nil
}

// cpuXML is the CPU that a guest sees wherever it runs. That its host has all of
// it was seen to before; libvirt refuses to start it where that is not so.
func cpuXML(c api.CPU) *libvirtxml.DomainCPU {
	x := &libvirtxml.DomainCPU{Mode: "custom", Match: "exact", Check: "partial", Model: &libvirtxml.DomainCPUModel{Fallback: "forbid", Value: c.Model}}
	for _, f := range c.Features {
		x.Features = append(x.Features, libvirtxml.DomainCPUFeature{Policy: "require", Name: f})
	}
	return x
}

func osOf(arch string) *libvirtxml.DomainOS {
	os := &libvirtxml.DomainOS{
		Type:        &libvirtxml.DomainOSType{Arch: arch, Machine: "q35", Type: "hvm"},
		BootDevices: []libvirtxml.DomainBootDevice{{Dev: "hd"}},
	}
	if arch == "aarch64" {
		os.Type.Machine = "virt"
		os.Firmware = "efi"
	}
	return os
}

func devices(s agent.DomainSpec, m machine) *libvirtxml.DomainDeviceList {
	zero := uint(0)
	l := &libvirtxml.DomainDeviceList{
		Disks: []libvirtxml.DomainDisk{rootDisk(s.Root, m)},
		Controllers: []libvirtxml.DomainController{
			{Type: "usb", Index: &zero, Model: "none"},
		},
		Serials: []libvirtxml.DomainSerial{{
			Source: &libvirtxml.DomainChardevSource{Pty: &libvirtxml.DomainChardevSourcePty{}},
			Target: &libvirtxml.DomainSerialTarget{Port: &zero},
			Log:    &libvirtxml.DomainChardevLog{File: s.ConsoleLog, Append: "on"},
		}},
		MemBalloon: &libvirtxml.DomainMemBalloon{Model: "virtio", FreePageReporting: "on"},
		RNGs: []libvirtxml.DomainRNG{{
			Model:   "virtio",
			Backend: &libvirtxml.DomainRNGBackend{Random: &libvirtxml.DomainRNGBackendRandom{Device: "/dev/urandom"}},
		}},
	}
	if s.Architecture == "x86_64" {
		// By it a guest's kernel tells that it panicked.
		l.Panics = []libvirtxml.DomainPanic{{Model: "isa"}}
	}
	if s.ConfigDrive != "" {
		l.Disks = append(l.Disks, configDrive(s.ConfigDrive))
	}
	for _, n := range s.NICs {
		l.Interfaces = append(l.Interfaces, nic(n))
	}
	return l
}

// rootTarget is the root disk's name in the definition.
const rootTarget = "vda"

func rootDisk(f agent.DiskFile, m machine) libvirtxml.DomainDisk {
	d := libvirtxml.DomainDisk{
		Device: "disk",
		// writeback still honours the guest's flushes; none also spares the host's page cache.
		Driver:       &libvirtxml.DomainDiskDriver{Name: "qemu", Type: f.Format, Cache: "writeback", Discard: "unmap"},
		Source:       fileSource(f.Path),
		BackingStore: backing(f.Backing, m),
		Target:       &libvirtxml.DomainDiskTarget{Dev: rootTarget, Bus: "virtio"},
	}
	if m.directIO(f.Path) {
		d.Driver.Cache = "none"
	}
	return d
}

// backing spells out the chain to its end: an empty backingStore ends it, and
// keeps libvirt from looking into the file.
func backing(f *agent.DiskFile, m machine) *libvirtxml.DomainDiskBackingStore {
	if f == nil {
		return &libvirtxml.DomainDiskBackingStore{}
	}
	src := fileSource(f.Path)
	if m.dac {
		// The cache is read-only for everybody, and shared: nobody is given it.
		src.File.SecLabel = []libvirtxml.DomainDeviceSecLabel{{Model: "dac", Relabel: "no"}}
	}
	return &libvirtxml.DomainDiskBackingStore{
		Format:       &libvirtxml.DomainDiskFormat{Type: f.Format},
		Source:       src,
		BackingStore: backing(f.Backing, m),
	}
}

func fileSource(path string) *libvirtxml.DomainDiskSource {
	return &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: path}}
}

func configDrive(path string) libvirtxml.DomainDisk {
	return libvirtxml.DomainDisk{
		Device:   "disk",
		Driver:   &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "raw"},
		Source:   fileSource(path),
		Target:   &libvirtxml.DomainDiskTarget{Dev: "vdb", Bus: "virtio"},
		ReadOnly: &libvirtxml.DomainDiskReadOnly{},
	}
}

func nic(n agent.DomainNIC) libvirtxml.DomainInterface {
	i := libvirtxml.DomainInterface{
		Source: &libvirtxml.DomainInterfaceSource{Ethernet: &libvirtxml.DomainInterfaceSourceEthernet{}},
		MAC:    &libvirtxml.DomainInterfaceMAC{Address: n.MAC},
		Target: &libvirtxml.DomainInterfaceTarget{Dev: n.Tap, Managed: "no"},
		Model:  &libvirtxml.DomainInterfaceModel{Type: "virtio"},
	}
	if n.MTU > 0 {
		i.MTU = &libvirtxml.DomainInterfaceMTU{Size: uint(n.MTU)}
	}
	// No option ROM: instances boot from disk, and SeaBIOS is spared the NIC.
	i.ROM = &libvirtxml.DomainROM{Enabled: "no"}
	return i
}

// domainUUID derives the domain's UUID (version 8, RFC 9562) from the instance's
// ID, so that two definitions of one instance can never be two domains.
func domainUUID(instance string) string {
	h := sha256.Sum256([]byte("cairn instance " + instance))
	b := h[:16]
	b[6] = b[6]&0x0f | 0x80
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
