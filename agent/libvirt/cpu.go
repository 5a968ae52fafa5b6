package libvirt

import (
	"fmt"
	"slices"
	"strings"

	lv "libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/cairn-cloud/cairn/api"
)

// hostCPU is what libvirt says that guests can be given here, by KVM or by
// emulation: the named models that can be used, and the features of the host-model.
func hostCPU(c *lv.Connect, virtualization string) (*api.HostCPU, error) {
	x, err := c.GetDomainCapabilities("", "", "q35", virtualization, 0)
	if err != nil {
		return nil, fmt.Errorf("libvirt's domain capabilities: %w", err)
	}
	var caps libvirtxml.DomainCaps
	if err := caps.Unmarshal(x); err != nil {
		return nil, fmt.Errorf("libvirt's domain capabilities: %w", err)
	}
	if caps.CPU == nil {
		return nil, fmt.Errorf("libvirt's domain capabilities name no CPU")
	}
	cpu := &api.HostCPU{}
	for _, m := range caps.CPU.Modes {
		switch {
		case m.Name == "host-model" && m.Supported == "yes" && len(m.Models) > 0:
			own := libvirtxml.DomainCPU{Mode: "custom", Match: "exact", Model: &libvirtxml.DomainCPUModel{Fallback: "forbid", Value: m.Models[0].Name}}
			for _, f := range m.Features {
				own.Features = append(own.Features, libvirtxml.DomainCPUFeature(f))
			}
			if cpu.Features, err = features(c, caps, virtualization, own); err != nil {
				return nil, err
			}
		case m.Name == "custom":
			for _, named := range m.Models {
				if named.Usable != "yes" {
					continue
				}
				has, err := features(c, caps, virtualization, libvirtxml.DomainCPU{Model: &libvirtxml.DomainCPUModel{Value: named.Name}})
				if err != nil {
					continue // an old one that this libvirt names and cannot compute with
				}
				cpu.Models = append(cpu.Models, api.CPUModel{Name: named.Name, Features: len(has)})
			}
		}
	}
	if len(cpu.Models) == 0 {
		return nil, fmt.Errorf("libvirt names no CPU model that can be used")
	}
	slices.SortFunc(cpu.Models, func(a, b api.CPUModel) int { return strings.Compare(a.Name, b.Name) })
	return cpu, nil
}

// features spells out what a CPU has.
func features(c *lv.Connect, caps libvirtxml.DomainCaps, virtualization string, cpu libvirtxml.DomainCPU) ([]string, error) {
	x, err := cpu.Marshal()
	if err != nil {
		return nil, err
	}
	full, err := c.BaselineHypervisorCPU(caps.Path, caps.Arch, caps.Machine, virtualization, []string{x}, lv.CONNECT_BASELINE_CPU_EXPAND_FEATURES)
	if err != nil {
		return nil, fmt.Errorf("features of the CPU: %w", err)
	}
	var out libvirtxml.DomainCPU
	if err := out.Unmarshal(full); err != nil {
		return nil, fmt.Errorf("features of the CPU: %w", err)
	}
	var names []string
	for _, f := range out.Features {
		if f.Policy != "disable" && f.Policy != "forbid" {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
