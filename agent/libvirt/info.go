package libvirt

import (
	"context"
	"fmt"

	"github.com/cairn-cloud/cairn/agent"
)

// Info implements agent.Hypervisor.
func (h *Hypervisor) Info(_ context.Context) (agent.HypervisorInfo, error) {
	c, m, err := h.get()
	if err != nil {
		return agent.HypervisorInfo{}, fmt.Errorf("hypervisor's information: %w", err)
	}
	defer release(c)
	node, err := c.GetNodeInfo()
	if err != nil {
		return agent.HypervisorInfo{}, fmt.Errorf("hypervisor's node information: %w", err)
	}
	lib, err := c.GetLibVersion()
	if err != nil {
		return agent.HypervisorInfo{}, fmt.Errorf("libvirt's version: %w", err)
	}
	qemu, err := c.GetVersion()
	if err != nil {
		return agent.HypervisorInfo{}, fmt.Errorf("QEMU's version: %w", err)
	}
	return agent.HypervisorInfo{
		CPUs: int64(node.Cpus), MemoryMiB: int64(node.Memory >> 10), Architecture: node.Model,
		Virtualization: m.virtualization(), CPU: m.cpu,
		Versions: map[string]string{"libvirt": version(lib), "qemu": version(qemu)},
	}, nil
}

// version spells libvirt's numbers: 9000001 is 9.0.1.
func version(v uint32) string {
	return fmt.Sprintf("%d.%d.%d", v/1_000_000, v/1000%1000, v%1000)
}
