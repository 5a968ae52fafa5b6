package libvirt

import (
	"fmt"

	lv "libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/cairn-cloud/cairn/agent"
)

// thereXML is a domain as it is here, with all addresses that libvirt gave its
// devices, but with the files and the mark that it is to have on the other host.
func thereXML(d *lv.Domain, s agent.DomainSpec, flags lv.DomainXMLFlags) (string, error) {
	text, err := d.GetXMLDesc(flags)
	if err != nil {
		return "", fmt.Errorf("definition of domain %s: %w", s.Mark.Instance, err)
	}
	return moveXML(text, s)
}

func moveXML(text string, s agent.DomainSpec) (string, error) {
	var x libvirtxml.Domain
	if err := x.Unmarshal(text); err != nil {
		return "", fmt.Errorf("definition of domain %s: %w", s.Mark.Instance, err)
	}
	mark, err := markXML(s.Mark)
	if err != nil {
		return "", err
	}
	x.Metadata = &libvirtxml.DomainMetadata{XML: mark}
	for i := range x.Devices.Disks {
		disk := &x.Devices.Disks[i]
		if disk.Target == nil || disk.Source == nil || disk.Source.File == nil {
			continue
		}
		if disk.Target.Dev != rootTarget {
			disk.Source.File.File = s.ConfigDrive
			continue
		}
		disk.Source.File.File = s.Root.Path
		for b, f := disk.BackingStore, s.Root.Backing; b != nil && f != nil; b, f = b.BackingStore, f.Backing {
			if b.Source != nil && b.Source.File != nil {
				b.Source.File.File = f.Path
			}
		}
	}
	for i := range x.Devices.Serials {
		if l := x.Devices.Serials[i].Log; l != nil {
			l.File = s.ConsoleLog
		}
	}
	for i := range x.Devices.Consoles {
		if l := x.Devices.Consoles[i].Log; l != nil {
			l.File = s.ConsoleLog
		}
	}
	out, err := x.Marshal()
	if err != nil {
		return "", fmt.Errorf("definition of domain %s: %w", s.Mark.Instance, err)
	}
	return out, nil
}
