package controller

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
	"github.com/cairn-cloud/cairn/scheduler"
)

// admission is one request being decided on one view. It is a value of the
// decision: nothing in it outlives the call.
type admission struct {
	view api.View
	now  time.Time
	dice dice
	who  api.Principal
	// caPin is the fingerprint of the CA, which join tokens carry.
	caPin string
	place scheduler.Placer

	change store.Change
	// secret is what the answer shows once, and what is never stored.
	secret string
	claims map[string]api.Claims // of what this change makes and changes, by ID
	taken  map[string]string     // unique keys claimed by this change → ID of the owner
}

func (a *admission) newID(kind string) string {
	k, ok := api.KindByName(kind)
	if !ok {
		panic("controller: no kind " + kind)
	}
	return k.IDPrefix + "_" + a.dice.word()
}

// create adds a new object to the change, with all that a new object has.
func (a *admission) create(o api.Object) {
	m := o.GetMeta()
	m.Generation, m.Revision, m.CreatedAt, m.UpdatedAt, m.DeletedAt = 1, 0, a.now, a.now, nil
	a.change.Create = append(a.change.Create, o)
	a.claim(o)
}

// update adds a changed object to the change.
func (a *admission) update(old, o api.Object) {
	m := o.GetMeta()
	m.UpdatedAt = a.now
	m.Generation = old.GetMeta().Generation
	if len(changedSpec(old, o)) > 0 {
		m.Generation++
	}
	a.change.Update = append(a.change.Update, o)
	a.claim(o)
}

// claim notes what an object will hold. It is complete by then.
func (a *admission) claim(o api.Object) {
	if a.claims == nil {
		a.claims, a.taken = map[string]api.Claims{}, map[string]string{}
	}
	id, c := o.GetMeta().ID, o.Claims()
	a.claims[id] = c
	for _, u := range c.Unique {
		if _, ok := a.taken[u.Key]; !ok {
			a.taken[u.Key] = id
		}
	}
}

// free tells whether nobody owns the unique key, in the view or in this change.
func (a *admission) free(key string) bool {
	return a.taken[key] == "" && a.view.Owner(key) == ""
}

func (a *admission) event(o api.Object, reason, format string, args ...any) {
	a.change.Events = append(a.change.Events, eventAbout(o, a.who.Actor, reason, fmt.Sprintf(format, args...)))
}

// resolve turns a name or ID in a field into the object, of the project or, for
// shared kinds, of the project "system".
func (a *admission) resolve(kind, project, field, ref string) (api.Object, error) {
	k, _ := api.KindByName(kind)
	if k.Scope == api.ScopeCloud {
		project = ""
	}
	o := a.lookup(kind, project, ref)
	if o == nil && k.Shared {
		if sys := a.view.Lookup(api.KindProject, "", api.SystemProject); sys != nil {
			o = a.lookup(kind, sys.GetMeta().ID, ref)
		}
	}
	if o == nil {
		return nil, api.NewProblem(422, "reference_not_found", field, fmt.Sprintf("list the %s to see what there is", k.Plural), "there is no %s %q", kind, ref)
	}
	if o.GetMeta().Deleting() {
		return nil, api.NewProblem(409, "being_deleted", field, "choose another one", "%s %s is being deleted", kind, o.GetMeta().Name)
	}
	return o, nil
}

func (a *admission) lookup(kind, project, ref string) api.Object {
	o := a.view.Lookup(kind, project, ref)
	if o == nil || project != "" && o.GetMeta().Project != project {
		return nil // an ID of another project is as one that does not exist
	}
	return o
}

// judge refuses a change that takes what others hold or exceeds a quota, and
// guards it against what could be deleted in the meantime.
func (a *admission) judge() error {
	for _, objects := range [][]api.Object{a.change.Create, a.change.Update} {
		for _, o := range objects {
			if err := a.judgeUnique(o); err != nil {
				return err
			}
		}
	}
	if err := a.judgeQuota(); err != nil {
		return err
	}
	a.guard()
	return nil
}

func (a *admission) judgeUnique(o api.Object) error {
	id := o.GetMeta().ID
	for _, u := range a.claims[id].Unique {
		owner := a.view.Owner(u.Key)
		if owner == "" || owner == id {
			owner = a.taken[u.Key]
		}
		if owner == "" || owner == id {
			continue
		}
		return api.NewProblem(409, u.Code, u.Field, takenHint(u), "%s is held by %s", takenWhat(u, o), a.describe(owner))
	}
	return nil
}

func takenHint(u api.Unique) string {
	if u.Field == "name" {
		return "choose another name"
	}
	return "leave it out for a free one"
}

func takenWhat(u api.Unique, o api.Object) string {
	if u.Field == "name" {
		return fmt.Sprintf("the name %q", o.GetMeta().Name)
	}
	return "the " + u.Field[strings.LastIndexByte(u.Field, '.')+1:] + " " + u.Key[strings.LastIndexByte(u.Key, '/')+1:]
}

// describe names an object by its ID: "port a (prt_…)".
func (a *admission) describe(id string) string {
	if k, ok := api.KindByID(id); ok {
		if o := a.view.Get(k.Name, id); o != nil {
			return k.Name + " " + o.GetMeta().Name + " (" + id + ")"
		}
	}
	return id
}

// refers tells whether the object refers to that already.
func (a *admission) refers(o api.Object, r api.Ref) bool {
	old := a.view.Get(kindName(o), o.GetMeta().ID)
	return old != nil && slices.ContainsFunc(old.Claims().Refs, func(x api.Ref) bool { return x.ID == r.ID })
}

// guard adds what the created and changed objects refer to from now on, so that it cannot be deleted by
// another process while this is written.
func (a *admission) guard() {
	done := map[string]bool{}
	for _, o := range a.change.Update {
		done[o.GetMeta().ID] = true
	}
	for _, o := range slices.Concat(a.change.Create, a.change.Update) {
		for _, r := range a.claims[o.GetMeta().ID].Refs {
			if done[r.ID] || a.refers(o, r) {
				continue
			}
			done[r.ID] = true
			if to := a.view.Get(r.Kind, r.ID); to != nil {
				a.change.Guards = append(a.change.Guards, to)
			}
		}
	}
}
