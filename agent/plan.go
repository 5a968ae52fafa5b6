package agent

import (
	"maps"
	"slices"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// ImageGrace is how long an image stays in the cache after its last use.
const ImageGrace = 6 * time.Hour

// Plan says what to do to make the host what is wanted: first the network and
// what it serves, then each instance by itself, in order of ID. It is pure, and
// once all is as wanted it is empty.
//
// A guest that switches itself off stays off, as with other clouds: its instance is reported
// "stopped" although spec.power stays "on", with the condition Running saying
// so (reason GuestShutdown). It runs again when a start or a reboot is asked
// for. A guest that crashes is started again, with a growing delay, and so is
// one whose host was switched off.
func Plan(want api.HostDesired, have Observed, now time.Time) []Action {
	if !have.Known {
		return nil
	}
	p := &planner{want: situate(want, have), have: have, now: now}
	p.host()
	for _, id := range slices.Sorted(maps.Keys(want.Instances)) {
		p.instance(want.Instances[id])
	}
	p.orphans()
	if have.Synced {
		p.images()
	}
	return p.actions
}

type planner struct {
	want    api.HostDesired
	have    Observed
	now     time.Time
	net     network.Desired
	netOK   bool // the network is as wanted, or will be before instances start
	actions []Action
}

func (p *planner) do(a ...Action) { p.actions = append(p.actions, a...) }

// host plans the network, and then what it serves.
func (p *planner) host() {
	p.net, _ = networkDesired(p.have.Underlay, p.want)
	applied := p.have.Network != nil && equalNetworks(*p.have.Network, p.net)
	p.netOK = applied && p.have.Guests == guestsDigest(p.want)
	if p.netOK || p.now.Before(p.have.NetworkNotBefore) {
		p.netOK = applied // what only the services lack does not hold up a start
		return
	}
	if !applied {
		p.do(ApplyNetwork{Want: p.net})
	}
	p.do(ServeGuests{Want: p.want, Digest: guestsDigest(p.want)})
	p.netOK = true
}

// remove plans the end of all that there is of an instance.
func (p *planner) remove(id, why string) {
	p.removeDomain(id, why)
	p.removeDisks(id)
}

func (p *planner) removeDisks(id string) {
	if _, ok := p.have.Disks[id]; ok {
		p.do(RemoveDisks{target{id}})
	}
	if _, noted := p.have.Orphans[id]; noted {
		p.do(ForgetOrphan{target{id}, id, "it is removed"})
	}
}

func (p *planner) removeDomain(id, why string) {
	d, defined := p.have.Domains[id]
	if !defined {
		return
	}
	if d.State != DomainStopped {
		p.do(Destroy{target{id}, why})
	}
	p.do(Undefine{target{id}})
}

// images plans the removal of images that nothing has used for a while.
func (p *planner) images() {
	used, ok := usedImages(p.want, p.have)
	if !ok {
		return
	}
	for _, sha := range slices.Sorted(maps.Keys(p.have.Images)) {
		since, known := p.have.UnusedSince[sha]
		if !used[sha] && known && p.now.Sub(since) >= ImageGrace {
			p.do(RemoveImage{sha})
		}
	}
}

// usedImages are the images (by SHA-256) that an instance or a root disk needs;
// false when it is not known of every disk.
func usedImages(want api.HostDesired, have Observed) (map[string]bool, bool) {
	used := map[string]bool{}
	for _, i := range want.Instances {
		used[i.Image.SHA256] = true
	}
	for _, d := range have.Disks {
		if d.Root && d.Image == "" {
			return nil, false
		}
		used[d.Image] = true
	}
	for _, o := range have.Orphans {
		used[o.Image] = true
	}
	return used, true
}
