package agent

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// OrphanGrace is how long an orphan is kept where nothing else is said.
const OrphanGrace = 7 * 24 * time.Hour

// Orphan is what the agent keeps written down of an instance's domain and files
// that no record owns.
type Orphan struct {
	ID        string    `json:"id"` // the instance's, with the epoch behind it where its files were set aside
	Instance  string    `json:"instance"`
	Project   string    `json:"project,omitempty"`
	Name      string    `json:"name,omitempty"`
	Epoch     int64     `json:"epoch,omitempty"` // 0: not known
	FirstSeen time.Time `json:"first_seen"`

	// Of what is there; not written down.
	Aside   bool   `json:"-"` // its files were set aside
	Image   string `json:"-"` // SHA-256 of the image that the root disk among them stands on
	Path    string `json:"-"` // of its files
	DiskMiB int64  `json:"-"`
}

// orphans plans what becomes of what the desired state does not have: it stands
// still at once, and nothing of it is lost before its time.
func (p *planner) orphans() {
	if !p.have.Synced {
		return
	}
	ids := map[string]bool{}
	for id := range p.have.Domains {
		ids[id] = true
	}
	if !p.have.Shared { // else files may be another host's, and are removed with their instance
		for id := range p.have.Disks {
			ids[id] = true
		}
		for id := range p.have.Orphans {
			ids[id] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		_, wanted := p.want.Instances[id]
		o, noted := p.have.Orphans[id]
		switch {
		case wanted || p.now.Before(p.have.Memory[id].NotBefore):
		case p.have.Shared:
			p.removeDomain(id, "it is not placed here, and its disk may be in use elsewhere")
		case p.moved(id):
			p.remove(id, "it is on another host")
		case !noted:
			p.still(id)
			p.do(NoteOrphan{target{id}, p.history(id)})
		case p.due(o):
			p.remove(id, "nobody owns it, and its time has come")
		case o.Aside:
		case !p.there(id):
			p.do(ForgetOrphan{target{id}, id, "it is gone"})
		default:
			p.still(id)
		}
	}
}

// there tells whether anything is left of an instance.
func (p *planner) there(id string) bool {
	_, defined := p.have.Domains[id]
	_, onDisk := p.have.Disks[id]
	return defined || onDisk
}

func (p *planner) still(id string) {
	if p.have.Domains[id].State == DomainRunning {
		p.do(Suspend{target{id}})
	}
}

// history is what is known of an instance that nobody owns.
func (p *planner) history(id string) Orphan {
	d := p.have.Domains[id]
	o := Orphan{ID: id, Instance: id, Project: d.Mark.Project, Epoch: d.Mark.Epoch, FirstSeen: p.now.UTC()}
	if s := d.spec(); s != nil {
		o.Name = s.Title
	}
	return o
}

// due tells whether an orphan is to be removed now.
func (p *planner) due(o Orphan) bool {
	return slices.Contains(p.want.Host.RemoveOrphans, o.ID) || !p.now.Before(o.FirstSeen.Add(p.have.Grace))
}

// adopt takes a wanted instance out of quarantine, and returns the disk that it has
// then. What is of another placement than the wanted one is set aside: it may
// have run elsewhere since.
func (p *planner) adopt(w api.HostInstance) DiskState {
	o, noted := p.have.Orphans[w.ID]
	switch {
	case !noted || p.have.Shared:
	case o.Epoch == w.Epoch || !p.there(w.ID):
		p.do(ForgetOrphan{target{w.ID}, w.ID, "it is owned again"})
	default:
		p.do(SetAside{target{w.ID}, o})
		return DiskState{}
	}
	return p.have.Disks[w.ID]
}

// orphansSeen is what is reported of orphans: those that hold memory first, and
// no more than a status has room for.
func orphansSeen(want api.HostDesired, have Observed) (list []api.Orphan, count int) {
	for id, o := range have.Orphans {
		if _, wanted := want.Instances[id]; wanted {
			continue // it is being adopted
		}
		a := api.Orphan{
			ID: o.ID, Instance: o.Instance, Project: o.Project, Name: o.Name, Epoch: o.Epoch,
			Path: o.Path, DiskMiB: o.DiskMiB, FirstSeen: o.FirstSeen, RemoveAt: o.FirstSeen.Add(have.Grace),
		}
		if d, defined := have.Domains[id]; defined {
			a.Domain = string(d.State)
			if s := d.spec(); s != nil && d.State != DomainStopped {
				a.MemoryMiB = s.MemoryMiB
			}
		}
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b api.Orphan) int {
		return cmp.Or(cmp.Compare(b.MemoryMiB, a.MemoryMiB), strings.Compare(a.ID, b.ID))
	})
	return list[:min(len(list), api.OrphansMax)], len(list)
}
