package rest

import (
	"github.com/cairn-cloud/cairn/api"
)

// project resolves the project in the path, by name or ID. A project that the
// caller may not know of is as one that does not exist.
func (c *call) project(k api.Kind, verb api.Verb) (*api.Project, error) {
	if k.Scope != api.ScopeProject {
		return nil, nil
	}
	ref := c.param("project")
	p, _ := c.view.Lookup(api.KindProject, "", ref).(*api.Project)
	if p == nil {
		return nil, api.NotFound(api.KindProject, ref)
	}
	if c.who.Cloud || p.ID == c.who.Project || (k.Shared && reads(verb) && p.Name == api.SystemProject) {
		return p, nil
	}
	return nil, api.NotFound(api.KindProject, ref)
}

func reads(v api.Verb) bool { return v == api.VerbGet || v == api.VerbList }

// mayRead tells whether the caller may read a kind at all, in the projects
// that it may know of.
func mayRead(who api.Principal, k api.Kind) bool {
	switch k.Access {
	case api.AccessTenant, api.AccessCatalog, api.AccessOwnProject:
		return true
	case api.AccessProjectAdmin:
		return who.Cloud || who.Role == api.RoleAdmin
	case api.AccessCloud:
		return who.Cloud
	}
	return who.Cloud
}

// mayChange returns which role the caller lacks to change a kind, or "".
func mayChange(who api.Principal, k api.Kind) (needs string) {
	switch {
	case who.Cloud:
		return ""
	case k.Access == api.AccessTenant:
		if who.Role == api.RoleMember || who.Role == api.RoleAdmin {
			return ""
		}
		return "the role member or admin in the project"
	case k.Access == api.AccessProjectAdmin:
		if who.Role == api.RoleAdmin {
			return ""
		}
		return "the role admin in the project"
	}
	return "an admin token of the project " + api.SystemProject
}

// authorize judges the verb on the kind, before anything is looked up, so that
// an answer tells nobody what exists. Who may not even read an object is told
// that it is not there.
func (c *call) authorize(k api.Kind, verb api.Verb) error {
	if !mayRead(c.who, k) {
		if verb == api.VerbList || verb == api.VerbCreate {
			return forbidden(mayChange(c.who, k), string(verb), k)
		}
		return api.NotFound(k.Name, c.param("id"))
	}
	if reads(verb) {
		return nil
	}
	if needs := mayChange(c.who, k); needs != "" {
		return forbidden(needs, string(verb), k)
	}
	return nil
}

func forbidden(needs, verb string, k api.Kind) error {
	return api.NewProblem(403, "forbidden", "", "ask for "+needs, "to %s %s takes %s", verb, k.Plural, needs)
}

// visible tells whether the caller may see the object, where no project is named.
func (c *call) visible(k api.Kind, o api.Object) bool {
	if c.who.Cloud {
		return true
	}
	m := o.GetMeta()
	if k.Scope == api.ScopeCloud {
		return k.Access != api.AccessOwnProject || m.ID == c.who.Project
	}
	return m.Project == c.who.Project || (k.Shared && m.Project == c.systemProject())
}

func (c *call) systemProject() string {
	if p := c.view.Lookup(api.KindProject, "", api.SystemProject); p != nil {
		return p.GetMeta().ID
	}
	return ""
}

// find resolves {id}, a name or an ID, to an object that the caller may see.
// projectID is "" where the path names no project. A shared object of the project
// "system" is found from other projects for reading only.
func (c *call) find(k api.Kind, projectID string, verb api.Verb) (api.Object, error) {
	ref := c.param("id")
	for _, p := range c.searched(k, projectID, verb) {
		o := c.reader(k).lookup(c.view, p, ref)
		if o != nil && c.visible(k, o) && (projectID == "" || o.GetMeta().Project == p) {
			return o, nil
		}
	}
	return nil, api.NotFound(k.Name, ref)
}

// searched lists where a reference is looked up, in order.
func (c *call) searched(k api.Kind, projectID string, verb api.Verb) []string {
	switch {
	case k.Scope == api.ScopeCloud:
		return []string{""}
	case projectID == "" && !c.who.Cloud:
		projectID = c.who.Project
	}
	if k.Shared && reads(verb) && projectID != c.systemProject() {
		return []string{projectID, c.systemProject()}
	}
	return []string{projectID}
}
