package controller

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/cairn-cloud/cairn/api"
)

var tokenKind = Kind{Name: api.KindToken, Admit: admitToken, Remove: removeToken}

// admitToken makes the secret. Only its digest is stored; the secret itself is
// in the answer to the create, and nowhere else.
func admitToken(a *admission, old, o api.Object) error {
	t := o.(*api.Token)
	if old != nil {
		return immutable(old, o, "make another token")
	}
	if e := t.Spec.ExpiresAt; e != nil && !e.After(a.now) {
		return inPast("spec.expires_at", "a token")
	}
	a.secret = "cairn_" + a.dice.secret()
	t.Spec.SecretSHA256 = digest(a.secret)
	return nil
}

// removeToken keeps the cloud from being locked: without an admin token of the
// project "system" nobody could make another one.
func removeToken(a *admission, o api.Object, _ bool) (bool, error) {
	t := o.(*api.Token)
	if !a.administers(t) {
		return true, nil
	}
	for other := range a.view.List(api.KindToken, t.Project, "") {
		if other.GetMeta().ID != t.ID && a.administers(other.(*api.Token)) {
			return true, nil
		}
	}
	return false, api.NewProblem(409, "last_admin", "", "make another admin token of the project "+api.SystemProject+" first", "the token %s is the last one that administers the cloud", t.Name)
}

// administers tells whether the token administers the cloud.
func (a *admission) administers(t *api.Token) bool {
	p := a.view.Get(api.KindProject, t.Project)
	return t.Spec.Role == api.RoleAdmin && p != nil && p.GetMeta().Name == api.SystemProject && (t.Spec.ExpiresAt == nil || t.Spec.ExpiresAt.After(a.now))
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func inPast(field, what string) error {
	return api.NewProblem(422, "invalid_value", field, "give a time to come", "%s that has expired already is of no use", what)
}
