package controller

import (
	"context"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
)

// defaultTypes are the instance types made at first start.
var defaultTypes = []struct {
	name string
	size api.Size
}{
	{"t1-nano", api.Size{VCPUs: 1, MemoryMiB: 128, DiskGiB: 1}},
	{"s1-small", api.Size{VCPUs: 1, MemoryMiB: 1024, DiskGiB: 10}},
	{"s1-medium", api.Size{VCPUs: 2, MemoryMiB: 4096, DiskGiB: 20}},
	{"s1-large", api.Size{VCPUs: 4, MemoryMiB: 8192, DiskGiB: 40}},
}

// Bootstrap makes, at first start, the project "system", its first admin token and
// the default instance types, in one transaction. It returns the token's secret to
// the one caller that made it, and "" ever after.
func (b *Backend) Bootstrap(ctx context.Context) (adminToken string, err error) {
	seed, err := b.entropy.seed()
	if err != nil {
		return "", err
	}
	secret := ""
	_, err = b.store.Commit(ctx, func(v *store.View) (store.Change, error) {
		secret = ""
		if v.Lookup(api.KindProject, "", api.SystemProject) != nil {
			return store.Change{}, nil
		}
		a := &admission{view: v, now: b.now().UTC(), dice: newDice(seed), who: api.Principal{Actor: "controller/bootstrap"}}
		if err := a.bootstrap(); err != nil {
			return store.Change{}, err
		}
		secret = a.secret
		completeEvents(a.change.Events, a.now, a.dice)
		return a.change, nil
	})
	return secret, err
}

func (a *admission) bootstrap() error {
	p := &api.Project{}
	p.ID, p.Name, p.Spec.Description = a.newID(api.KindProject), api.SystemProject, "Cairn itself: its admins administer the cloud, its images serve every project."
	t := &api.Token{}
	t.ID, t.Name, t.Project, t.Spec.Role = a.newID(api.KindToken), "admin", p.ID, api.RoleAdmin
	if err := admitToken(a, nil, t); err != nil {
		return err
	}
	objects := []api.Object{p, t}
	for _, d := range defaultTypes {
		it := &api.InstanceType{}
		it.ID, it.Name, it.Spec.Size = a.newID(api.KindInstanceType), d.name, d.size
		objects = append(objects, it)
	}
	for _, o := range objects {
		o.Default()
		if err := o.Validate(); err != nil {
			return err
		}
		if !a.free(api.NameClaim(kindName(o), o.GetMeta()).Key) {
			continue // an operator made a type of that name before
		}
		a.create(o)
	}
	a.event(p, reasonCreated, "this cloud began")
	return a.judge()
}
