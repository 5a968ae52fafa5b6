package controller

import "github.com/cairn-cloud/cairn/api"

var projectKind = Kind{
	Name: api.KindProject,
	Admit: func(_ *admission, old, o api.Object) error {
		if old != nil && old.GetMeta().Name == api.SystemProject && o.GetMeta().Name != api.SystemProject {
			return api.NewProblem(422, "immutable", "name", "make another project", "the project %s keeps its name: its administrators administer the cloud", api.SystemProject)
		}
		return nil
	},
	Remove: func(_ *admission, o api.Object, _ bool) (bool, error) {
		if o.GetMeta().Name == api.SystemProject {
			return false, api.NewProblem(409, "protected", "", "", "the project %s cannot be deleted: its administrators administer the cloud", api.SystemProject)
		}
		return true, nil
	},
}
