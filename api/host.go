package api

import "slices"

// Host is a machine that runs instances. It comes by joining, not by a create.
type Host struct {
	Resource[HostSpec, HostStatus]
}

// HostSpec is what is wanted of a host.
type HostSpec struct {
	Schedulable      *bool   `json:"schedulable,omitempty" doc:"Whether new instances may be placed on it. Default true."`
	Pool             string  `json:"pool,omitempty" maxLength:"63" pattern:"^[a-z]([a-z0-9-]*[a-z0-9])?$" doc:"The hosts among which instances move: they see a CPU that all of them have. Default \"default\"."`
	VCPUOvercommit   float64 `json:"vcpu_overcommit,omitempty" minimum:"0.1" maximum:"64" doc:"vCPUs sold per hardware thread. Default 4."`
	MemoryReserveMiB *int64  `json:"memory_reserve_mib,omitempty" minimum:"0" doc:"Memory kept for the host itself, in MiB. Default 1024."`
	DiskReserveGiB   *int64  `json:"disk_reserve_gib,omitempty" minimum:"0" doc:"Disk kept for the host itself, in GiB. Default 5."`

	// RemoveOrphans is given by the action remove-orphan.
	RemoveOrphans []string `json:"remove_orphans,omitempty" readOnly:"true" doc:"Orphans to remove before their time."`
}

// HostStatus is what is seen of a host, reported by its agent.
type HostStatus struct {
	Status
	Address        string            `json:"address,omitempty" doc:"Underlay address: the end of its tunnels."`
	AgentURL       string            `json:"agent_url,omitempty" doc:"Where its agent serves consoles to the controllers."`
	Architecture   string            `json:"architecture,omitempty" doc:"x86_64 or aarch64."`
	CPUs           int64             `json:"cpus,omitempty" doc:"Hardware threads."`
	MemoryMiB      int64             `json:"memory_mib,omitempty" doc:"Memory of the machine in MiB."`
	DiskGiB        int64             `json:"disk_gib,omitempty" doc:"Size of the file system that holds the root disks."`
	UnderlayMTU    int               `json:"underlay_mtu,omitempty" doc:"Of the interface that holds the underlay address, in bytes."`
	Virtualization string            `json:"virtualization,omitempty" doc:"kvm or qemu: how its instances run."`
	Versions       map[string]string `json:"versions,omitempty" doc:"Of the kernel, libvirt, QEMU and the agent."`
	Storage        string            `json:"storage,omitempty" doc:"Name of the storage that holds the root disks, where other hosts have it too; absent: disks of its own."`
	CPU            *HostCPU          `json:"cpu,omitempty" doc:"What CPUs its guests can be given."`
	Missing        []string          `json:"missing,omitempty" doc:"Kernel features that it lacks."`
	Reserved       map[string]int64  `json:"reserved,omitempty" doc:"What its instances have reserved."`
	Drift          []Drift           `json:"drift,omitempty" doc:"What of its network is not as it is wanted, while that lasts."`
	Orphans        []Orphan          `json:"orphans,omitempty" doc:"What is on it in quarantine and nobody's, those that hold memory first, and at most fifty."`
	OrphanCount    int               `json:"orphan_count,omitempty" doc:"How many orphans there are in all."`
}

// HostCPU is what a host's hypervisor can give to guests.
type HostCPU struct {
	Models   []CPUModel `json:"models" doc:"Named models that can be used, by name."`
	Features []string   `json:"features" doc:"All features that a guest can be given, by name."`
}

// CPUModel is a named model of CPU.
type CPUModel struct {
	Name     string `json:"name" doc:"As libvirt names it." example:"Skylake-Server-v4"`
	Features int    `json:"features" doc:"How many features it has: the more, the better."`
}

// CPU is a CPU that guests are given: a named model and the features that are on.
type CPU struct {
	Model    string   `json:"model" doc:"As libvirt names it." example:"Skylake-Server-v4"`
	Features []string `json:"features,omitempty" doc:"Features beside the model's own, by name."`
}

var hostKind = kind[Host](Kind{
	Name: KindHost, Plural: "hosts", IDPrefix: "hst", Access: AccessCloud,
	Verbs:  []Verb{VerbList, VerbGet, VerbUpdate, VerbDelete},
	Doc:    "A machine that runs instances.",
	States: []State{StatePending, StateReady, StateNotReady},
	Actions: []Action{
		{Name: "remove-orphan", Doc: "Remove an orphan from the host now, with its disks.", Input: &orphanInput{}, Apply: func(o Object, in any) error {
			return o.(*Host).removeOrphan(in.(*orphanInput).Orphan)
		}},
	},
	Columns: []Column{{"ADDRESS", "status.address"}, {"CPUS", "status.cpus"}, {"MEMORY MIB", "status.memory_mib"}, {"RESERVED VCPUS", "status.reserved.vcpus"}, {"RESERVED MIB", "status.reserved.memory_mib"}},
})

// DefaultPool is the pool of hosts that are in no other.
const DefaultPool = "default"

type orphanInput struct {
	Orphan string `json:"orphan" doc:"ID of the orphan, as the host's status lists it."`
}

// removeOrphan asks for the end of an orphan, and forgets those that are gone.
func (h *Host) removeOrphan(id string) error {
	listed := func(id string) bool {
		return slices.ContainsFunc(h.Status.Orphans, func(o Orphan) bool { return o.ID == id })
	}
	if !listed(id) {
		return NewProblem(422, "unknown_orphan", "orphan", "list them with: cairn drift", "the host %s lists no orphan %q", h.Name, id)
	}
	h.Spec.RemoveOrphans = slices.DeleteFunc(slices.Clone(h.Spec.RemoveOrphans), func(x string) bool { return x == id || !listed(x) })
	h.Spec.RemoveOrphans = append(h.Spec.RemoveOrphans, id)
	return nil
}

// Default implements Object.
func (h *Host) Default() {
	if h.Spec.Schedulable == nil {
		t := true
		h.Spec.Schedulable = &t
	}
	if h.Spec.Pool == "" {
		h.Spec.Pool = DefaultPool
	}
	if h.Spec.VCPUOvercommit == 0 {
		h.Spec.VCPUOvercommit = 4
	}
	if h.Spec.MemoryReserveMiB == nil {
		m := int64(1024)
		h.Spec.MemoryReserveMiB = &m
	}
	if h.Spec.DiskReserveGiB == nil {
		d := int64(5)
		h.Spec.DiskReserveGiB = &d
	}
}

// Validate implements Object.
func (h *Host) Validate() error {
	f := validateMeta(&h.Meta)
	if !IsName(h.Spec.Pool) {
		f.Add("spec.pool", "use lower-case letters, digits and dashes, starting with a letter", "%q is not the name of a pool", h.Spec.Pool)
	}
	if h.Spec.VCPUOvercommit < 0.1 || h.Spec.VCPUOvercommit > 64 {
		f.Add("spec.vcpu_overcommit", "", "%g is not between 0.1 and 64", h.Spec.VCPUOvercommit)
	}
	if h.Spec.MemoryReserveMiB != nil && *h.Spec.MemoryReserveMiB < 0 {
		f.Add("spec.memory_reserve_mib", "", "a reserve cannot be negative")
	}
	if h.Spec.DiskReserveGiB != nil && *h.Spec.DiskReserveGiB < 0 {
		f.Add("spec.disk_reserve_gib", "", "a reserve cannot be negative")
	}
	return f.Err()
}

// Claims implements Object.
func (h *Host) Claims() Claims {
	return Claims{Unique: []Unique{NameClaim(KindHost, &h.Meta)}}
}

// Capacity is what may be reserved on the host at most.
func (h *Host) Capacity() Size {
	var held int64 // by what is in quarantine
	for _, o := range h.Status.Orphans {
		held += o.MemoryMiB
	}
	return Size{
		VCPUs:     int64(float64(h.Status.CPUs) * h.Spec.VCPUOvercommit),
		MemoryMiB: h.Status.MemoryMiB - deref(h.Spec.MemoryReserveMiB) - held,
		DiskGiB:   h.Status.DiskGiB - deref(h.Spec.DiskReserveGiB),
	}
}

func deref(p *int64) int64 {
	if p == nil {
		return 0
	}
	return *p
}
