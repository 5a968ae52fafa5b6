package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// machine is a host in memory, behind the agent's drivers.
type machine struct {
	mu      sync.Mutex
	domains map[string]agent.Domain
	disks   map[string]agent.DiskState
	images  map[string]bool
	events  chan agent.DomainEvent
}

func newMachine() *machine {
	return &machine{domains: map[string]agent.Domain{}, disks: map[string]agent.DiskState{}, images: map[string]bool{}, events: make(chan agent.DomainEvent, 256)}
}

func (m *machine) drivers() agent.Drivers {
	return agent.Drivers{Hypervisor: hypervisor{m}, Network: links{}, Disks: disks{m}, Guests: guests{}}
}

type hypervisor struct{ *machine }

// set changes a domain, and tells of it.
func (h hypervisor) set(id string, kind agent.EventKind, change func(*agent.Domain)) error {
	h.mu.Lock()
	d, ok := h.domains[id]
	if ok {
		change(&d)
		h.domains[id] = d
	}
	h.mu.Unlock()
	if !ok {
		return fmt.Errorf("there is no domain %s", id)
	}
	h.events <- agent.DomainEvent{Instance: id, Kind: kind}
	return nil
}

func (h hypervisor) Domains(context.Context) ([]agent.Domain, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.domains)), nil
}

func (h hypervisor) Define(_ context.Context, s agent.DomainSpec) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	d, ok := h.domains[s.Mark.Instance]
	if !ok {
		d.State = agent.DomainStopped
	}
	d.Mark = s.Mark
	h.domains[s.Mark.Instance] = d
	return nil
}

func (h hypervisor) Start(_ context.Context, id string) error {
	return h.set(id, agent.EventStarted, func(d *agent.Domain) { d.State = agent.DomainRunning })
}

func (h hypervisor) Shutdown(ctx context.Context, id string) error { return h.Destroy(ctx, id) }

func (h hypervisor) Destroy(_ context.Context, id string) error {
	return h.set(id, agent.EventStopped, func(d *agent.Domain) { d.State, d.Reason = agent.DomainStopped, agent.StopDestroy })
}

func (h hypervisor) Reboot(_ context.Context, id string, _ bool) error {
	return h.set(id, agent.EventRebooted, func(*agent.Domain) {})
}

func (h hypervisor) Suspend(_ context.Context, id string) error {
	return h.set(id, agent.EventChanged, func(d *agent.Domain) { d.State = agent.DomainPaused })
}

func (h hypervisor) Resume(_ context.Context, id string) error {
	return h.set(id, agent.EventChanged, func(d *agent.Domain) { d.State = agent.DomainRunning })
}

func (h hypervisor) Plug(context.Context, string, string, string) error { return nil }

func (h hypervisor) Undefine(_ context.Context, id string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.domains, id)
	return nil
}

func (h hypervisor) SetMark(_ context.Context, m agent.Mark) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.domains[m.Instance]
	d.Mark = m
	h.domains[m.Instance] = d
	return nil
}

func (h hypervisor) Events(ctx context.Context) iter.Seq2[agent.DomainEvent, error] {
	return func(yield func(agent.DomainEvent, error) bool) {
		for {
			select {
			case e := <-h.events:
				if !yield(e, nil) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

func (h hypervisor) Info(context.Context) (agent.HypervisorInfo, error) {
	return agent.HypervisorInfo{CPUs: hostSize.VCPUs, MemoryMiB: hostSize.MemoryMiB, Architecture: "x86_64", Virtualization: "qemu"}, nil
}

type closer struct{ *bytes.Reader }

func (closer) Close() error { return nil }

func (h hypervisor) ConsoleLog(context.Context, string) (io.ReadSeekCloser, error) {
	return closer{bytes.NewReader(nil)}, nil
}

type links struct{}

func (links) Apply(context.Context, network.Desired) ([]network.Difference, error) { return nil, nil }

func (links) Look(context.Context) (network.Report, error) { return network.Report{}, nil }

func (links) Events(ctx context.Context) iter.Seq2[string, error] {
	return func(func(string, error) bool) { <-ctx.Done() }
}

type guests struct{}

func (guests) Set(context.Context, api.HostDesired) error { return nil }

func (guests) ConfigDrive(api.HostDesired, string) (map[string][]byte, error) {
	return map[string][]byte{"meta-data": nil}, nil
}

type disks struct{ *machine }

func (d disks) change(id string, f func(*agent.DiskState)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.disks[id]
	f(&s)
	d.disks[id] = s
}

func (d disks) FetchImage(_ context.Context, i api.HostImage) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.images[i.SHA256] = true
	return nil
}

func (d disks) CreateRoot(_ context.Context, i api.HostInstance) error {
	d.change(i.ID, func(s *agent.DiskState) { s.Root, s.Image = true, i.Image.SHA256 })
	return nil
}

func (d disks) WriteConfigDrive(_ context.Context, id, digest string, _ map[string][]byte) error {
	d.change(id, func(s *agent.DiskState) { s.ConfigDigest = digest })
	return nil
}

func (d disks) Remove(_ context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.disks, id)
	return nil
}

func (d disks) RemoveImage(_ context.Context, sha string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.images, sha)
	return nil
}

// Nothing here is ever nobody's.

func (d disks) Orphans(context.Context) (map[string]agent.Orphan, error) { return nil, nil }
func (d disks) NoteOrphan(context.Context, agent.Orphan) error           { return nil }
func (d disks) SetAside(context.Context, agent.Orphan) error             { return nil }
func (d disks) ForgetOrphan(context.Context, string) error               { return nil }

func (d disks) TrimLogs(context.Context) error { return nil }

func (d disks) Observe(context.Context) (map[string]agent.DiskState, map[string]bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.disks), maps.Clone(d.images), nil
}

func (h hypervisor) Migrate(context.Context, agent.Migration) error {
	return &agent.StayedError{Err: errNoMoves}
}

func (h hypervisor) Receive(context.Context, string, agent.Channel) (agent.Stream, error) {
	return nil, errNoMoves
}

func (d disks) NoteAway(context.Context, string, int64) error { return nil }

var errNoMoves = errors.New("this host in memory sends and receives nothing")
