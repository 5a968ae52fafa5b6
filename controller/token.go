package controller

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/cairn-cloud/cairn/api"
)

var tokenKind = Kind{Name: api.KindToken, Admit: admitToken}

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

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func inPast(field, what string) error {
	return api.NewProblem(422, "invalid_value", field, "give a time to come", "%s that has expired already is of no use", what)
}
