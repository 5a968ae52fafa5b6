package controller

import (
	"context"
	"fmt"
	"strings"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
)

// Delete implements rest.Backend. It is asked again without harm: what is being
// deleted goes on being deleted.
func (b *Backend) Delete(ctx context.Context, w api.Write, kind, id string, force bool) (api.Written, error) {
	return b.write(ctx, w, kind, func(v *store.View, a *admission) (*outcome, error) {
		o, err := target(v, w, kind, id)
		if err != nil {
			return nil, err
		}
		if force && !w.Principal.Cloud {
			return nil, api.NewProblem(403, "forbidden", "force", "delete it without force", "only a cloud administrator can delete by force, because what runs on a lost host may run on")
		}
		gone, err := a.remove(o, force)
		if err != nil {
			return nil, err
		}
		if gone {
			return &outcome{id: id}, nil
		}
		return &outcome{object: o, id: id}, nil
	})
}

// remove adds the deletion of an object to the change, or the mark that it is
// to be deleted once its finalizers are done.
func (a *admission) remove(o api.Object, force bool) (gone bool, err error) {
	m, kind := o.GetMeta(), kindName(o)
	if m.Protected {
		return false, api.NewProblem(409, "protected", "protected", "set protected to false first, if you mean it", "%s %s is protected against deletion", kind, m.Name)
	}
	if err := a.unused(o); err != nil {
		return false, err
	}
	now := len(m.Finalizers) == 0
	if f := kindOf(kind).Remove; f != nil {
		at, err := f(a, o, force)
		if err != nil {
			return false, err
		}
		now = now || at
	}
	switch {
	case now:
		a.change.Delete = append(a.change.Delete, o)
		a.event(o, reasonDeleted, "%s %s was deleted", kind, m.Name)
	case !m.Deleting():
		n := api.Clone(o)
		t := a.now
		n.GetMeta().DeletedAt = &t
		a.update(o, n)
		a.event(o, reasonDeleting, "%s %s is being deleted", kind, m.Name)
	}
	return now, nil
}

// unused refuses the deletion of what others refer to, naming some of them. The
// ports of an instance do not count: they go with it or are detached. Nor does a
// project's default group.
func (a *admission) unused(o api.Object) error {
	m, kind := o.GetMeta(), kindName(o)
	var names []string
	more := false
	for _, k := range api.Kinds {
		if kind == api.KindInstance && k.Name == api.KindPort {
			continue
		}
		for r := range a.view.Referrers(k.Name, kind, m.ID) {
			if kind == api.KindProject && k.Name == api.KindSecurityGroup && r.GetMeta().Name == api.DefaultGroup {
				continue // it was made with it
			}
			if len(names) == 3 {
				more = true
				break
			}
			names = append(names, fmt.Sprintf("%s %s", k.Name, r.GetMeta().Name))
		}
	}
	if len(names) == 0 {
		return nil
	}
	who, hint := strings.Join(names, ", "), "delete those first"
	if more {
		who += " and others"
	}
	if kind == api.KindHost && !a.view.Alive(m.ID) {
		hint = "it does not report: delete those by force first, if it is lost for good"
	}
	return api.NewProblem(409, "in_use", "", hint, "%s %s is in use by %s", kind, m.Name, who)
}
