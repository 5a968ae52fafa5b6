package api

import "time"

// Drift is a field of what is on a host that is not as it is wanted.
type Drift struct {
	Field   string    `json:"field" doc:"What differs." example:"memory_mib"`
	Desired string    `json:"desired" doc:"What it should be."`
	Actual  string    `json:"actual" doc:"What it is."`
	Since   time.Time `json:"since" doc:"When its agent first saw that."`
	Repair  string    `json:"repair,omitempty" doc:"When it is put right, where that is not at once."`
}

// DriftMax is how many differences a status lists.
const DriftMax = 16

// Orphan is a domain, or the files of an instance, that carries Cairn's mark on a
// host and that no record owns. It is kept in quarantine until RemoveAt.
type Orphan struct {
	ID        string    `json:"id" doc:"To remove it by. Begins with the ID of the instance that it was of."`
	Instance  string    `json:"instance" doc:"ID of the instance that it was of."`
	Project   string    `json:"project,omitempty" doc:"ID of its project, where that is known."`
	Name      string    `json:"name,omitempty" doc:"Project and name of the instance when it was defined, where that is known."`
	Epoch     int64     `json:"epoch,omitempty" doc:"The placement under which it ran."`
	Domain    string    `json:"domain,omitempty" enum:"paused,stopped,running" doc:"Its domain, where it has one."`
	MemoryMiB int64     `json:"memory_mib,omitempty" doc:"Memory that its domain holds."`
	Path      string    `json:"path,omitempty" doc:"Where its files are on the host."`
	DiskMiB   int64     `json:"disk_mib,omitempty" doc:"Room that its files take."`
	FirstSeen time.Time `json:"first_seen" doc:"When its agent first saw that nobody owns it. It is there for as long as it is listed."`
	RemoveAt  time.Time `json:"remove_at" doc:"When it is removed by itself."`
}

// OrphansMax is how many orphans a host's status lists; those that hold memory come first.
const OrphansMax = 50
