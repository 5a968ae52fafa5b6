package agent

import (
	"context"
	"io"
	"iter"
	"slices"
	"sync"

	"github.com/cairn-cloud/cairn/api"
)

// plane is a control plane in memory.
type plane struct {
	stream chan message // items, or an error that breaks the stream

	mu       sync.Mutex
	said     map[string]api.Report // newest, by kind/ID
	events   []string
	messages map[string][]string // of events, by ID and reason
	calls    int
	reports  int // objects in all calls
	beats    int
	life     int64 // what heartbeats are answered; 0: they are not
	down     bool
}

func newPlane() *plane {
	return &plane{stream: make(chan message), said: map[string]api.Report{}, messages: map[string][]string{}, life: 1}
}

func (p *plane) Renew(context.Context, string, string) (api.JoinResponse, error) {
	return api.JoinResponse{}, errFake
}

func (p *plane) ImageData(context.Context, string, string, int64) (io.ReadCloser, error) {
	return nil, errFake
}

func (p *plane) Heartbeat(context.Context, string) (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life == 0 {
		return 0, errFake
	}
	p.beats++
	return p.life, nil
}

// answer sets what heartbeats are answered from now on.
func (p *plane) answer(life int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.life = life
}

func (p *plane) Report(_ context.Context, _ string, _ int64, rs []api.Report) (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return 0, errFake
	}
	p.calls++
	for _, r := range rs {
		p.reports++
		p.said[reportKey(r)] = r
		for _, e := range r.Events {
			p.events = append(p.events, r.ID+" "+e.Reason)
			p.messages[r.ID+" "+e.Reason] = append(p.messages[r.ID+" "+e.Reason], e.Message)
		}
	}
	return 0, nil
}

func (p *plane) Desired(ctx context.Context, _ string, _ func() int64) iter.Seq2[[]api.DesiredItem, error] {
	return func(yield func([]api.DesiredItem, error) bool) {
		for {
			select {
			case m := <-p.stream:
				if !yield(m.items, m.streamErr) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// all is what the stream says of a desired state from the beginning.
func all(d api.HostDesired) []api.DesiredItem {
	var items []api.DesiredItem
	for id, n := range d.Networks {
		items = append(items, api.DesiredItem{Op: "set", Kind: api.KindNetwork, ID: id, Network: &n})
	}
	for id, p := range d.Ports {
		items = append(items, api.DesiredItem{Op: "set", Kind: api.KindPort, ID: id, Port: &p})
	}
	for id, f := range d.Floating {
		items = append(items, api.DesiredItem{Op: "set", Kind: api.KindFloatingIP, ID: id, Floating: &f})
	}
	for id, g := range d.Groups {
		items = append(items, api.DesiredItem{Op: "set", Kind: api.KindSecurityGroup, ID: id, Group: &g})
	}
	for id, i := range d.Instances {
		items = append(items, api.DesiredItem{Op: "set", Kind: api.KindInstance, ID: id, Instance: &i})
	}
	return append(items, api.DesiredItem{Op: "synced", Revision: d.Revision})
}

func setInstance(i api.HostInstance) message {
	return message{items: []api.DesiredItem{{Op: "set", Kind: api.KindInstance, ID: i.ID, Instance: &i}}}
}

// host is what was reported last of the host.
func (r *rig) host() *api.HostStatus {
	r.plane.mu.Lock()
	defer r.plane.mu.Unlock()
	return r.plane.said["host/hst_a"].Host
}

// instance is what was reported last of an instance.
func (r *rig) instance(id string) *api.InstanceStatus {
	r.plane.mu.Lock()
	defer r.plane.mu.Unlock()
	return r.plane.said["instance/"+id].Instance
}

// events are all so far, as ID and reason.
func (r *rig) events() []string {
	r.plane.mu.Lock()
	defer r.plane.mu.Unlock()
	return slices.Clone(r.plane.events)
}

// reports is how many there were.
func (r *rig) reports() int {
	r.plane.mu.Lock()
	defer r.plane.mu.Unlock()
	return r.plane.reports
}
