package controller

import (
	"hash/fnv"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/scheduler"
)

// snapshot is what the scheduler may know of the hosts. What is used of a host is
// read from its reservation, so the cost grows with hosts and not with instances.
func snapshot(v api.View) scheduler.Snapshot {
	var s scheduler.Snapshot
	for o := range v.List(api.KindHost, "", "") {
		h, ok := o.(*api.Host)
		if !ok {
			continue
		}
		host := hostOf(h)
		host.Ready = v.Alive(h.ID) && h.Status.CPUs > 0
		used := v.Used(api.ReservationKey(h.ID))
		host.Used = api.Size{VCPUs: used["vcpus"], MemoryMiB: used["memory_mib"], DiskGiB: used["disk_gib"]}
		s.Hosts = append(s.Hosts, host)
	}
	return s
}

// hostOf is what a host is by itself, whatever runs on it.
func hostOf(h *api.Host) scheduler.Host {
	return scheduler.Host{
		ID: h.ID, Name: h.Name, Architecture: h.Status.Architecture, Labels: h.Labels,
		Pool: h.Spec.Pool, CPU: h.Status.CPU, Storage: h.Status.Storage,
		Schedulable: (h.Spec.Schedulable == nil || *h.Spec.Schedulable) && h.Spec.Drain == nil,
		Capacity:    h.Capacity(),
	}
}

// tooLarge asks the scheduler about all hosts only where the first that come
// could not take it.
func tooLarge(v api.View, r scheduler.Request) string {
	for o := range v.List(api.KindHost, "", "") {
		if h, ok := o.(*api.Host); ok && scheduler.FitsEmpty(hostOf(h), r) {
			return ""
		}
	}
	return scheduler.TooLarge(snapshot(v), r)
}

// reserve takes what was decided from the hosts.
func reserve(s scheduler.Snapshot, rs []scheduler.Request, ds []scheduler.Decision) {
	for h := range s.Hosts {
		for i, d := range ds {
			if host := &s.Hosts[h]; d.Host == host.ID {
				x := rs[i].Size
				host.Used = api.Size{VCPUs: host.Used.VCPUs + x.VCPUs, MemoryMiB: host.Used.MemoryMiB + x.MemoryMiB, DiskGiB: host.Used.DiskGiB + x.DiskGiB}
			}
		}
	}
}

func requestFor(i *api.Instance) scheduler.Request {
	return scheduler.Request{
		ID: i.ID, Size: i.Spec.Size, Architecture: i.Spec.Architecture, RequiredLabels: i.Spec.RequiredLabels,
		Shared: i.Spec.OnHostLoss == api.OnHostLossRestart,
	}
}

// seedOf makes a decision about an instance replayable from its ID.
func seedOf(id string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // a hash never fails
	return h.Sum64()
}
