package api

// InstanceType is a size that instances come in.
type InstanceType struct {
	Resource[InstanceTypeSpec, InstanceTypeStatus]
}

// InstanceTypeSpec is what is wanted of an instance type. An instance keeps
// the size that it was made with; a change here is for instances made later.
type InstanceTypeSpec struct {
	Size
	Architecture string `json:"architecture,omitempty" enum:"x86_64,aarch64" doc:"Default x86_64."`
}

// Size is what an instance uses of its host.
type Size struct {
	VCPUs     int64 `json:"vcpus" minimum:"1" maximum:"512" doc:"Virtual CPUs."`
	MemoryMiB int64 `json:"memory_mib" minimum:"64" maximum:"16777216" doc:"Memory in MiB."`
	DiskGiB   int64 `json:"disk_gib" minimum:"1" maximum:"65536" doc:"Root disk in GiB."`
}

// Amounts returns the size by the names of quotas and reservations.
func (s Size) Amounts() map[string]int64 {
	return map[string]int64{"vcpus": s.VCPUs, "memory_mib": s.MemoryMiB, "disk_gib": s.DiskGiB}
}

// InstanceTypeStatus is what is seen of an instance type.
type InstanceTypeStatus struct{ Status }

var instanceTypeKind = kind[InstanceType](Kind{
	Name: KindInstanceType, Plural: "instance-types", IDPrefix: "typ", Access: AccessCatalog, Immediate: true,
	Doc:     "A size that instances come in.",
	States:  []State{StateReady},
	Columns: []Column{{"VCPUS", "spec.vcpus"}, {"MEMORY MIB", "spec.memory_mib"}, {"DISK GIB", "spec.disk_gib"}, {"ARCH", "spec.architecture"}},
})

// Default implements Object.
func (t *InstanceType) Default() {
	if t.Spec.Architecture == "" {
		t.Spec.Architecture = "x86_64"
	}
}

// Validate implements Object.
func (t *InstanceType) Validate() error {
	f := validateMeta(&t.Meta)
	f = append(f, t.Spec.validate("spec")...)
	if t.Spec.Architecture != "x86_64" && t.Spec.Architecture != "aarch64" {
		f.Add("spec.architecture", "give x86_64 or aarch64", "%q is no architecture that Cairn knows", t.Spec.Architecture)
	}
	return f.Err()
}

func (s Size) validate(at string) (f Faults) {
	for _, x := range []struct {
		name     string
		v        int64
		min, max int64
	}{{"vcpus", s.VCPUs, 1, 512}, {"memory_mib", s.MemoryMiB, 64, 1 << 24}, {"disk_gib", s.DiskGiB, 1, 1 << 16}} {
		if x.v < x.min || x.v > x.max {
			f.Add(at+"."+x.name, "", "%d is not between %d and %d", x.v, x.min, x.max)
		}
	}
	return f
}

// Claims implements Object.
func (t *InstanceType) Claims() Claims {
	return Claims{Unique: []Unique{NameClaim(KindInstanceType, &t.Meta)}}
}
