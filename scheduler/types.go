package scheduler

import "github.com/cairn-cloud/cairn/api"

// Placer is the door to a scheduler. It returns one decision a request, in the
// order of the requests; later requests see the decisions made before them. The
// same arguments always give the same answer, whatever the order of the hosts, and
// the arguments are not changed.
type Placer func(s Snapshot, rs []Request, seed uint64) []Decision

// Snapshot is all that is known of the hosts at one moment.
type Snapshot struct {
	Hosts []Host
}

// Host is a host as the scheduler sees it.
type Host struct {
	ID, Name     string
	Architecture string
	Ready        bool // it reports
	Schedulable  bool // its administrator lets new instances in
	Labels       map[string]string
	Pool         string
	CPU          *api.HostCPU // nil: it has not said
	Storage      string       // that it shares with others; empty: none
	Capacity     api.Size     // overcommit and reserves taken into account
	Used         api.Size     // reserved by the instances placed on it
}

// Free is what is left of the host.
func (h *Host) Free() api.Size {
	return api.Size{VCPUs: h.Capacity.VCPUs - h.Used.VCPUs, MemoryMiB: h.Capacity.MemoryMiB - h.Used.MemoryMiB, DiskGiB: h.Capacity.DiskGiB - h.Used.DiskGiB}
}

// Request asks for a host for one instance.
type Request struct {
	ID             string
	Size           api.Size
	Architecture   string
	RequiredLabels map[string]string
	Shared         bool  // its disk is to be on storage that hosts share
	Move           *Move // nil: it runs nowhere yet
}

// Move is what a request for an instance that runs already asks for besides.
type Move struct {
	From string   // ID of its host, where it is not to stay
	To   string   // ID of the only host that will do; empty: any
	Pool string   // of its host, which it does not leave
	CPU  *api.CPU // that its guest sees; nil: its host's own, which is not to be had elsewhere
	// Storage: it is off, and its disk is there; empty: it runs. What is off has no CPU.
	Storage string
}

// Decision is the answer to a Request.
type Decision struct {
	Request  string
	Host     string // ID; empty where none fits
	HostName string
	// Reason says in a sentence why this host and which one came second, or why none.
	Reason   string
	RunnerUp string // name of the second best host, or ""
	Rejected []api.Rejected
}
