package controller

import (
	"strings"

	"github.com/cairn-cloud/cairn/api"
)

// quotaFields says which field of an instance asks for what a quota counts.
var quotaFields = map[string]string{"vcpus": "spec.type", "memory_mib": "spec.type", "disk_gib": "spec.type", "ports": "spec.nics", "floating_ips": "", "image_gib": "spec.size_bytes"}

// quotaDeltas is what the change adds to each project's usage.
func (a *admission) quotaDeltas() map[string]map[string]int64 {
	deltas := map[string]map[string]int64{}
	add := func(counts []api.Count, sign int64) {
		for _, c := range counts {
			project, ok := strings.CutPrefix(c.Key, api.QuotaKey(""))
			if !ok {
				continue
			}
			if deltas[project] == nil {
				deltas[project] = map[string]int64{}
			}
			for name, n := range c.Amounts {
				deltas[project][name] += sign * n
			}
		}
	}
	for _, o := range a.change.Create {
		add(a.claims[o.GetMeta().ID].Counts, 1)
	}
	for _, o := range a.change.Update {
		add(a.claims[o.GetMeta().ID].Counts, 1)
		if old := a.view.Get(kindName(o), o.GetMeta().ID); old != nil {
			add(old.Claims().Counts, -1)
		}
	}
	for _, o := range a.change.Delete {
		add(o.Claims().Counts, -1)
	}
	return deltas
}

func (a *admission) judgeQuota() error {
	for id, delta := range a.quotaDeltas() {
		p := get[*api.Project](a.view, api.KindProject, id)
		if p == nil {
			continue // its create is in this change
		}
		used := a.view.Used(api.QuotaKey(id))
		for _, name := range api.QuotaNames {
			limit := p.Spec.Quota.Limit(name)
			if delta[name] > 0 && used[name]+delta[name] > limit {
				return api.NewProblem(409, "quota_exceeded", a.quotaField(name), "delete something, or ask a cloud administrator to raise the quota",
					"the project %s uses %d of %d %s, and %d more were asked for", p.Name, used[name], limit, name, delta[name])
			}
		}
	}
	return nil
}

func (a *admission) quotaField(name string) string {
	if name == "image_gib" || len(a.change.Create) > 0 && kindName(a.change.Create[len(a.change.Create)-1]) == api.KindInstance {
		return quotaFields[name]
	}
	return ""
}

// quotaPreview says what each quota that the change touches is before and after.
func (a *admission) quotaPreview() map[string]api.QuotaUse {
	out := map[string]api.QuotaUse{}
	for id, delta := range a.quotaDeltas() {
		p := get[*api.Project](a.view, api.KindProject, id)
		if p == nil {
			continue
		}
		used := a.view.Used(api.QuotaKey(id))
		for name, n := range delta {
			if n != 0 {
				out[name] = api.QuotaUse{Used: used[name], After: used[name] + n, Limit: p.Spec.Quota.Limit(name)}
			}
		}
	}
	return out
}
