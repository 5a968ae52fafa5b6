package api

import "fmt"

// Project is a tenant: it owns resources and has a quota and tokens.
type Project struct {
	Resource[ProjectSpec, ProjectStatus]
}

// ProjectSpec is what is wanted of a project.
type ProjectSpec struct {
	Description string `json:"description,omitempty" doc:"Free text for people." maxLength:"1024"`
	Quota       Quota  `json:"quota,omitempty,omitzero" doc:"What the project may use at most; a missing or zero limit means the default."`
}

// Quota limits what a project may use.
type Quota struct {
	Instances   int64 `json:"instances,omitempty" minimum:"0" doc:"Default 100."`
	VCPUs       int64 `json:"vcpus,omitempty" minimum:"0" doc:"Default 400."`
	MemoryMiB   int64 `json:"memory_mib,omitempty" minimum:"0" doc:"Default 819200."`
	DiskGiB     int64 `json:"disk_gib,omitempty" minimum:"0" doc:"Root disks. Default 10000."`
	Networks    int64 `json:"networks,omitempty" minimum:"0" doc:"Default 50."`
	Ports       int64 `json:"ports,omitempty" minimum:"0" doc:"Default 1000."`
	FloatingIPs int64 `json:"floating_ips,omitempty" minimum:"0" doc:"Default 50."`
	ImageGiB    int64 `json:"image_gib,omitempty" minimum:"0" doc:"Stored image bytes. Default 500."`
}

// ProjectStatus is what is seen of a project.
type ProjectStatus struct {
	Status
	Usage map[string]int64 `json:"usage,omitempty" doc:"What the project uses now, by the names of its quota."`
}

// SystemProject is the name of the project made at first start. Its admin
// tokens administer the whole cloud, and its images serve every project.
const SystemProject = "system"

var projectKind = kind[Project](Kind{
	Name: KindProject, Plural: "projects", IDPrefix: "prj", Access: AccessOwnProject, Immediate: true,
	Doc:     "A tenant: it owns resources and has a quota and tokens.",
	States:  []State{StateReady},
	Columns: []Column{{"INSTANCES", "status.usage.instances"}, {"VCPUS", "status.usage.vcpus"}, {"MEMORY MIB", "status.usage.memory_mib"}},
})

// Default implements Object.
func (p *Project) Default() {
	q := &p.Spec.Quota
	for _, d := range []struct {
		v   *int64
		def int64
	}{
		{&q.Instances, 100}, {&q.VCPUs, 400}, {&q.MemoryMiB, 819200}, {&q.DiskGiB, 10000}, {&q.Networks, 50}, {&q.Ports, 1000}, {&q.FloatingIPs, 50}, {&q.ImageGiB, 500},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
}

// Validate implements Object.
func (p *Project) Validate() error {
	f := validateMeta(&p.Meta)
	for _, name := range QuotaNames {
		if p.Spec.Quota.Limit(name) < 0 {
			f.Add("spec.quota."+name, "give 0 for the default or a positive limit", "a limit cannot be negative")
		}
	}
	return f.Err()
}

// Claims implements Object.
func (p *Project) Claims() Claims {
	return Claims{Unique: []Unique{NameClaim(KindProject, &p.Meta)}}
}

// QuotaNames are the names of what a quota counts.
var QuotaNames = []string{"instances", "vcpus", "memory_mib", "disk_gib", "networks", "ports", "floating_ips", "image_gib"}

// Limit returns the limit of that name.
func (q Quota) Limit(name string) int64 {
	switch name {
	case "instances":
		return q.Instances
	case "vcpus":
		return q.VCPUs
	case "memory_mib":
		return q.MemoryMiB
	case "disk_gib":
		return q.DiskGiB
	case "networks":
		return q.Networks
	case "ports":
		return q.Ports
	case "floating_ips":
		return q.FloatingIPs
	case "image_gib":
		return q.ImageGiB
	}
	panic(fmt.Sprintf("api: no quota %q", name))
}

// QuotaKey is the counter of a project's usage.
func QuotaKey(project string) string { return "quota/" + project }
