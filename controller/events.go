package controller

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// Reasons of the events that the control plane writes.
const (
	reasonCreated  = "Created"
	reasonChanged  = "Changed"
	reasonDeleting = "Deleting"
	reasonDeleted  = "Deleted"
	reasonDetached = "Detached"
)

// eventAbout makes an event that lacks its ID, which completeEvents gives.
func eventAbout(o api.Object, actor, reason, message string) *api.Event {
	k, _ := api.KindOf(o)
	m := o.GetMeta()
	e := &api.Event{}
	e.Project = m.Project
	if k.Name == api.KindProject {
		e.Project = m.ID
	}
	e.Spec = api.EventSpec{Kind: k.Name, Object: m.ID, Name: m.Name, Reason: reason, Message: message, Actor: actor}
	return e
}

// warning marks an event as one that somebody should look at.
func warning(e *api.Event) *api.Event {
	e.Spec.Warning = true
	return e
}

// completeEvents gives events their IDs and times.
func completeEvents(events []*api.Event, now time.Time, d dice) {
	for _, e := range events {
		if e.ID == "" {
			w := d.word()
			e.ID, e.Name = "evt_"+w, "evt-"+w
		}
		if e.Spec.Time.IsZero() {
			e.Spec.Time = now
		}
		e.Generation, e.CreatedAt, e.UpdatedAt = 1, now, now
	}
}

// changedFields names what differs between two versions of an object, at the
// first level of meta and spec.
func changedFields(old, o api.Object) []string {
	var names []string
	a, b := old.GetMeta(), o.GetMeta()
	if a.Name != b.Name {
		names = append(names, "name")
	}
	if !equalLabels(a.Labels, b.Labels) {
		names = append(names, "labels")
	}
	if a.Protected != b.Protected {
		names = append(names, "protected")
	}
	return append(names, changedSpec(old, o)...)
}

func equalLabels(a, b map[string]string) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}

// changedSpec names the fields of the spec, by their JSON names, that differ.
func changedSpec(old, o api.Object) []string {
	var names []string
	changedIn(reflect.ValueOf(old.SpecPtr()).Elem(), reflect.ValueOf(o.SpecPtr()).Elem(), &names)
	slices.Sort(names)
	return names
}

func changedIn(old, now reflect.Value, names *[]string) {
	for i := range old.NumField() {
		f := old.Type().Field(i)
		if f.Anonymous {
			changedIn(old.Field(i), now.Field(i), names)
			continue
		}
		if !sameField(old.Field(i), now.Field(i)) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			*names = append(*names, "spec."+name)
		}
	}
}

// sameField tells whether readers see the same: an empty list is as none.
func sameField(a, b reflect.Value) bool {
	if k := a.Kind(); (k == reflect.Map || k == reflect.Slice) && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface()) || asJSON(a.Interface()) == asJSON(b.Interface())
}

// immutable refuses a change of the named fields of the spec; "*" stands for all
// but those in except.
func immutable(old, o api.Object, hint string, except ...string) error {
	if old == nil {
		return nil
	}
	for _, f := range changedSpec(old, o) {
		if !slices.Contains(except, strings.TrimPrefix(f, "spec.")) {
			return api.NewProblem(422, "immutable", f, hint, "%s cannot be changed once the %s exists", f, kindName(o))
		}
	}
	return nil
}

func kindName(o api.Object) string {
	k, _ := api.KindOf(o)
	return k.Name
}
