package api

import (
	"net/url"
	"slices"
	"time"
)

// Host is a machine that runs instances. It comes by joining, not by a create.
type Host struct {
	Resource[HostSpec, HostStatus]
	Fence *Fence `json:"fence,omitempty" readOnly:"true" doc:"That it is off for sure, while it is silent: what ran there can be started elsewhere."`
}

// Fence says that a silent host is off for sure. It ends when the host comes
// alive again.
type Fence struct {
	Host    string    `json:"host" doc:"ID of the host."`
	Life    int64     `json:"life" doc:"Revision of the store at which the host had last come alive."`
	By      FencedBy  `json:"by" enum:"administrator,hook,itself" doc:"Who says so."`
	Message string    `json:"message,omitempty" doc:"How that is known."`
	At      time.Time `json:"at" doc:"Since when that is known."`
}

// FencedBy is who says that a host is off.
type FencedBy string

// Who says so.
const (
	FencedByAdministrator FencedBy = "administrator"
	FencedByHook          FencedBy = "hook"   // a program or a BMC has switched it off
	FencedByItself        FencedBy = "itself" // its watchdog has, or has stopped what must not run twice
)

// HostSpec is what is wanted of a host.
type HostSpec struct {
	Schedulable      *bool   `json:"schedulable,omitempty" doc:"Whether new instances may be placed on it. Default true."`
	Pool             string  `json:"pool,omitempty" maxLength:"63" pattern:"^[a-z]([a-z0-9-]*[a-z0-9])?$" doc:"The hosts among which instances move: they see a CPU that all of them have. Default \"default\"."`
	VCPUOvercommit   float64 `json:"vcpu_overcommit,omitempty" minimum:"0.1" maximum:"64" doc:"vCPUs sold per hardware thread. Default 4."`
	MemoryReserveMiB *int64  `json:"memory_reserve_mib,omitempty" minimum:"0" doc:"Memory kept for the host itself, in MiB. Default 1024."`
	DiskReserveGiB   *int64  `json:"disk_reserve_gib,omitempty" minimum:"0" doc:"Disk kept for the host itself, in GiB. Default 5."`
	LostAfterSeconds *int    `json:"lost_after_seconds,omitempty" minimum:"10" maximum:"86400" doc:"How long it may be silent, beyond the 30 seconds after which it is not ready, until it counts as lost and is fenced. Default 120."`
	BMC              *BMC    `json:"bmc,omitempty" doc:"Its management controller, by which a lost host is switched off."`
	Drain            *Drain  `json:"drain,omitempty" doc:"Its instances are to leave it, and none is to come; absent: it is in use."`

	// RemoveOrphans is given by the action remove-orphan.
	RemoveOrphans []string `json:"remove_orphans,omitempty" readOnly:"true" doc:"Orphans to remove before their time."`
}

// BMC is a host's management controller, which speaks Redfish.
type BMC struct {
	URL         string `json:"url" maxLength:"255" doc:"Where it answers." example:"https://192.0.2.111"`
	System      string `json:"system,omitempty" maxLength:"255" doc:"Path of the machine in it. Default: its only one." example:"/redfish/v1/Systems/1"`
	Credentials string `json:"credentials,omitempty" maxLength:"63" doc:"Which of the controllers' credentials it takes. Default \"default\"."`
}

// Drain is how a host is emptied.
type Drain struct {
	Parallel         int       `json:"parallel,omitempty" minimum:"1" maximum:"64" doc:"How many instances are moved at a time. Default 2."`
	StopAfterSeconds *int      `json:"stop_after_seconds,omitempty" minimum:"0" maximum:"604800" doc:"How long to try to move them while they run; what is left then is stopped, and moved where its disk is on shared storage. Absent: nothing is stopped."`
	Since            time.Time `json:"since,omitempty,omitzero" readOnly:"true" doc:"When it began."`
}

// StopAt is when what is left is stopped; false: never.
func (d *Drain) StopAt() (time.Time, bool) {
	if d.StopAfterSeconds == nil {
		return time.Time{}, false
	}
	return d.Since.Add(time.Duration(*d.StopAfterSeconds) * time.Second), true
}

// Drained is how far a drain is.
type Drained struct {
	Left    int       `json:"left" doc:"Instances that run there, or may."`
	Moving  int       `json:"moving" doc:"Of these, instances on their way."`
	Stopped int       `json:"stopped" doc:"Instances that stay there, off, until the host is in use again."`
	Blocked []Blocked `json:"blocked,omitempty" doc:"The first of those that cannot be moved, and why."`
}

// Blocked is an instance that a drain does not get away.
type Blocked struct {
	Instance string `json:"instance" doc:"ID of the instance."`
	Name     string `json:"name" doc:"Name of the instance."`
	Reason   string `json:"reason" doc:"Why, and what to do."`
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
	Uplink         string            `json:"uplink,omitempty" doc:"Interface on which floating IPs are announced."`
	Virtualization string            `json:"virtualization,omitempty" doc:"kvm or qemu: how its instances run."`
	Versions       map[string]string `json:"versions,omitempty" doc:"Of the kernel, libvirt, QEMU and the agent."`
	Storage        string            `json:"storage,omitempty" doc:"Name of the storage that holds the root disks, where other hosts have it too; absent: disks of its own."`
	CPU            *HostCPU          `json:"cpu,omitempty" doc:"What CPUs its guests can be given."`
	Missing        []string          `json:"missing,omitempty" doc:"Kernel features that it lacks."`
	SelfFencing    int               `json:"self_fencing_seconds,omitempty" doc:"How long after it was last heard of it runs nothing any more that may start elsewhere; absent: that is not sure."`
	Drain          *Drained          `json:"drain,omitempty" doc:"How far the drain is."`
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
	States: []State{StatePending, StateReady, StateNotReady, StateDraining, StateMaintenance, StateLost},
	Actions: []Action{
		{Name: "remove-orphan", Doc: "Remove an orphan from the host now, with its disks.", Input: &orphanInput{}, Apply: func(o Object, in any) error {
			return o.(*Host).removeOrphan(in.(*orphanInput).Orphan)
		}},
		{Name: "drain", Doc: "Move all instances away and let none come: the host is then in maintenance.", Input: &drainInput{}, Apply: func(o Object, in any) error {
			h, d := o.(*Host), in.(*drainInput)
			n := Drain{}
			if h.Spec.Drain != nil {
				n = *h.Spec.Drain // asked for again: what is not given stays
			}
			if d.Parallel != 0 {
				n.Parallel = d.Parallel
			}
			if d.StopAfterSeconds != nil {
				n.StopAfterSeconds = d.StopAfterSeconds
			}
			h.Spec.Drain = &n
			h.Default()
			return nil
		}},
		{Name: "activate", Doc: "Use the host again: ends a drain, also one that is under way, and maintenance.", Apply: func(o Object, _ any) error {
			o.(*Host).Spec.Drain = nil
			return nil
		}},
		{Name: "fence", Doc: "Say that a silent host is off for sure: what ran there can then be started elsewhere.", Input: &fenceInput{}, Apply: func(o Object, in any) error {
			o.(*Host).Fence = &Fence{By: FencedByAdministrator, Message: in.(*fenceInput).Message}
			return nil
		}},
	},
	Columns: []Column{{"ADDRESS", "status.address"}, {"CPUS", "status.cpus"}, {"MEMORY MIB", "status.memory_mib"}, {"RESERVED VCPUS", "status.reserved.vcpus"}, {"RESERVED MIB", "status.reserved.memory_mib"}},
})

type drainInput struct {
	Parallel         int  `json:"parallel,omitempty" minimum:"1" maximum:"64" doc:"How many instances are moved at a time. Default 2."`
	StopAfterSeconds *int `json:"stop_after_seconds,omitempty" minimum:"0" maximum:"604800" doc:"How long to try to move them while they run, before what is left is stopped. Default: nothing is stopped."`
}

type fenceInput struct {
	Message string `json:"message,omitempty" maxLength:"255" doc:"How you know, for those who read it later."`
}

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
	if h.Spec.LostAfterSeconds == nil {
		s := 120
		h.Spec.LostAfterSeconds = &s
	}
	if d := h.Spec.Drain; d != nil && d.Parallel == 0 {
		d.Parallel = 2
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
	if s := h.Spec.LostAfterSeconds; s != nil && (*s < 10 || *s > 86400) {
		f.Add("spec.lost_after_seconds", "", "%d is not between 10 and 86400", *s)
	}
	if d := h.Spec.Drain; d != nil && (d.Parallel < 1 || d.Parallel > 64) {
		f.Add("spec.drain.parallel", "", "%d is not between 1 and 64", d.Parallel)
	}
	if d := h.Spec.Drain; d != nil && d.StopAfterSeconds != nil && (*d.StopAfterSeconds < 0 || *d.StopAfterSeconds > 604800) {
		f.Add("spec.drain.stop_after_seconds", "", "%d is not between 0 and 604800", *d.StopAfterSeconds)
	}
	if b := h.Spec.BMC; b != nil && !isHTTPS(b.URL) {
		f.Add("spec.bmc.url", "give one such as https://192.0.2.111", "%q is no https URL", b.URL)
	}
	return f.Err()
}

// isHTTPS tells whether it is the URL of a server, and no more.
func isHTTPS(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && (u.Path == "" || u.Path == "/") && u.RawQuery == ""
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
