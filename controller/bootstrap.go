package controller

import (
	"context"
	"fmt"

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
// the default instance types, in one transaction; began tells whether it did. The
// token's secret is given to keep before anything is written: it is in no record, so
// a crash in between would leave a cloud that nobody administers.
func (b *Backend) Bootstrap(ctx context.Context, keep func(adminToken string) error) (began bool, err error) {
	seed, err := b.entropy.seed()
	if err != nil {
		return false, err
	}
	v, err := b.store.View(ctx, 0)
	if err != nil || begun(v) {
		return false, err
	}
	secret := "cairn_" + newDice(seed).secret()
	if err := keep(secret); err != nil {
		return false, fmt.Errorf("keep the admin token: %w", err)
	}
	if seed, err = b.entropy.seed(); err != nil {
		return false, err
	}
	_, err = b.store.Commit(ctx, func(v *store.View) (store.Change, error) {
		if began = !begun(v); !began {
			return store.Change{}, nil
		}
		a := &admission{view: v, now: b.now().UTC(), dice: newDice(seed), who: api.Principal{Actor: "controller/bootstrap"}}
		if err := a.bootstrap(digest(secret)); err != nil {
			return store.Change{}, err
		}
		completeEvents(a.change.Events, a.now, a.dice)
		return a.change, nil
	})
	return began, err
}

func begun(v api.View) bool { return v.Lookup(api.KindProject, "", api.SystemProject) != nil }

func (a *admission) bootstrap(secretSHA256 string) error {
	p := &api.Project{}
	p.ID, p.Name, p.Spec.Description = a.newID(api.KindProject), api.SystemProject, "Cairn itself: its admins administer the cloud, its images serve every project."
	t := &api.Token{}
	t.ID, t.Name, t.Project, t.Spec = a.newID(api.KindToken), "admin", p.ID, api.TokenSpec{Role: api.RoleAdmin, SecretSHA256: secretSHA256}
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
	a.defaultGroup(p.ID)
	a.event(p, reasonCreated, "this cloud began")
	return a.judge()
}
