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
		used := v.Used(api.ReservationKey(h.ID))
		s.Hosts = append(s.Hosts, scheduler.Host{
			ID: h.ID, Name: h.Name, Architecture: h.Status.Architecture, Labels: h.Labels,
			Ready:       v.Alive(h.ID) && h.Status.CPUs > 0,
			Schedulable: h.Spec.Schedulable == nil || *h.Spec.Schedulable,
			Capacity:    h.Capacity(),
			Used:        api.Size{VCPUs: used["vcpus"], MemoryMiB: used["memory_mib"], DiskGiB: used["disk_gib"]},
		})
	}
	return s
}

func requestFor(i *api.Instance) scheduler.Request {
	return scheduler.Request{ID: i.ID, Size: i.Spec.Size, Architecture: i.Spec.Architecture, RequiredLabels: i.Spec.RequiredLabels}
}

// seedOf makes a decision about an instance replayable from its ID.
func seedOf(id string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // a hash never fails
	return h.Sum64()
}
