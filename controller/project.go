package controller

import "github.com/cairn-cloud/cairn/api"

var projectKind = Kind{
	Name: api.KindProject,
	Admit: func(a *admission, old, o api.Object) error {
		if old == nil {
			a.defaultGroup(o.GetMeta().ID)
		}
		if old != nil && old.GetMeta().Name == api.SystemProject && o.GetMeta().Name != api.SystemProject {
			return api.NewProblem(422, "immutable", "name", "make another project", "the project %s keeps its name: its administrators administer the cloud", api.SystemProject)
		}
		return nil
	},
	Remove: func(a *admission, o api.Object, _ bool) (bool, error) {
		if o.GetMeta().Name == api.SystemProject {
			return false, api.NewProblem(409, "protected", "", "", "the project %s cannot be deleted: its administrators administer the cloud", api.SystemProject)
		}
		// Its default group was made with it. Whoever uses that is in the project too.
		if g := a.lookup(api.KindSecurityGroup, o.GetMeta().ID, api.DefaultGroup); g != nil {
			a.change.Delete = append(a.change.Delete, g)
		}
		return true, nil
	},
}
