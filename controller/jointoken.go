package controller

import (
	"cmp"
	"crypto/subtle"
	"strings"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

var joinTokenKind = Kind{Name: api.KindJoinToken, Admit: admitJoinToken}

const joinTokenLife = time.Hour

// admitJoinToken makes the secret cjt_<ID>.<random>.<SHA-256 of the CA>: the
// machine finds in it which CA to trust.
func admitJoinToken(a *admission, old, o api.Object) error {
	t := o.(*api.JoinToken)
	if old != nil {
		return immutable(old, o, "make another join token")
	}
	if t.Spec.ExpiresAt == nil {
		e := a.now.Add(joinTokenLife)
		t.Spec.ExpiresAt = &e
	} else if !t.Spec.ExpiresAt.After(a.now) {
		return inPast("spec.expires_at", "a join token")
	}
	middle := a.dice.secret()
	t.Spec.SecretSHA256 = digest(middle)
	a.secret = "cjt_" + t.ID + "." + middle + "." + a.caPin
	return nil
}

// judgeJoinToken finds the join token of a secret, if it may be used now, or was
// used by the machine of this key.
func (a *admission) judgeJoinToken(role api.JoinRole, secret, keyDigest string) (*api.JoinToken, error) {
	refused := func(code, hint, format string, args ...any) error {
		return api.NewProblem(403, code, "secret", hint, format, args...)
	}
	again := "make a new one: cairn join-token create NAME --role " + string(role)
	rest, ok := strings.CutPrefix(secret, "cjt_")
	parts := strings.Split(rest, ".")
	if !ok || len(parts) != 3 {
		return nil, refused("join_token_invalid", "copy all of it: cjt_….….…", "it is not of the form of a join token")
	}
	t := get[*api.JoinToken](a.view, api.KindJoinToken, parts[0])
	if t == nil || subtle.ConstantTimeCompare([]byte(t.Spec.SecretSHA256), []byte(digest(parts[1]))) != 1 {
		return nil, refused("join_token_invalid", again, "there is no such join token")
	}
	if cmp.Or(t.Spec.Role, api.JoinHost) != role { // one of a release before roles has none
		return nil, refused("join_token_invalid", again, "it is a join token of the role %s", t.Spec.Role)
	}
	same := t.Spec.KeySHA256 == keyDigest && (role != api.JoinHost || a.view.Get(api.KindHost, t.Spec.UsedBy) != nil)
	if t.Spec.UsedBy != "" && !same {
		return nil, api.NewProblem(409, "join_token_used", "secret", again, "a join token serves once, and this one was used by %s", a.describe(t.Spec.UsedBy))
	}
	if e := t.Spec.ExpiresAt; e != nil && !e.After(a.now) {
		return nil, refused("join_token_expired", again, "the join token expired at %s", e.UTC().Format(time.RFC3339))
	}
	return t, nil
}
