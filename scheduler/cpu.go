package scheduler

import (
	"slices"
	"strings"

	"github.com/cairn-cloud/cairn/api"
)

// Baseline is the CPU that all of these hosts can give to a guest: the named
// model with the most features that each can use, and the features that each has
// beside it. A host that has not said its CPU counts for none. It is nil where no
// host has, or no model is common to all. The order of the hosts does not matter.
func Baseline(hosts []*api.HostCPU) *api.CPU {
	var models []api.CPUModel
	var features []string
	known := false
	for _, h := range hosts {
		if h == nil {
			continue
		}
		if !known {
			models, features, known = h.Models, h.Features, true
			continue
		}
		if slices.Equal(h.Models, models) && slices.Equal(h.Features, features) {
			continue // as most are
		}
		models = keep(models, func(m api.CPUModel) bool { return hasModel(h, m.Name) })
		features = keep(features, func(f string) bool { return slices.Contains(h.Features, f) })
	}
	if len(models) == 0 {
		return nil
	}
	best := models[0]
	for _, m := range models[1:] {
		// Versions differ between hosts in how they count: the name decides between equals.
		if m.Features > best.Features || m.Features == best.Features && strings.Compare(m.Name, best.Name) > 0 {
			best = m
		}
	}
	features = slices.Clone(features)
	slices.Sort(features)
	return &api.CPU{Model: best.Name, Features: slices.Compact(features)}
}

// Lacks is how much of a guest's CPU a host cannot give: 0 where the guest can
// run there. A host or guest of which nothing is known lacks one thing.
func Lacks(h *api.HostCPU, guest *api.CPU) (n int) {
	if h == nil || guest == nil {
		return 1
	}
	if !hasModel(h, guest.Model) {
		n++
	}
	for _, f := range guest.Features {
		if !slices.Contains(h.Features, f) {
			n++
		}
	}
	return n
}

func hasModel(h *api.HostCPU, name string) bool {
	return slices.ContainsFunc(h.Models, func(m api.CPUModel) bool { return m.Name == name })
}

func keep[T any](in []T, ok func(T) bool) (out []T) {
	for _, x := range in {
		if ok(x) {
			out = append(out, x)
		}
	}
	return out
}
