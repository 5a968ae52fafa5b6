package controller

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
)

// outcome is what a request comes to on one view.
type outcome struct {
	admission *admission
	object    api.Object // as it will be; nil when it goes
	kind, id  string
	replayed  bool
	refused   *api.Problem // why nothing is changed
}

// decide is a request as a function of a view.
type decide func(v *store.View, a *admission) (*outcome, error)

// Create implements rest.Backend.
func (b *Backend) Create(ctx context.Context, w api.Write, o api.Object) (api.Written, error) {
	k, ok := api.KindOf(o)
	if !ok {
		panic("controller: create an object of no kind")
	}
	return b.write(ctx, w, k.Name, func(_ *store.View, a *admission) (*outcome, error) {
		n := api.Clone(o)
		m := n.GetMeta()
		m.ID = a.newID(k.Name)
		if err := a.projectLives(m.Project); err != nil {
			return nil, err
		}
		if admit := kindOf(k.Name).Admit; admit != nil {
			if err := admit(a, nil, n); err != nil {
				return nil, err
			}
		}
		a.create(n)
		a.event(n, reasonCreated, "%s %s was created", k.Name, m.Name)
		return &outcome{object: n, id: m.ID}, nil
	})
}

func (a *admission) projectLives(id string) error {
	if id == "" {
		return nil
	}
	if p := a.view.Get(api.KindProject, id); p == nil || p.GetMeta().Deleting() {
		return api.NotFound(api.KindProject, id)
	}
	return nil
}

// Update implements rest.Backend.
func (b *Backend) Update(ctx context.Context, w api.Write, kind, id string, change func(api.Object) error) (api.Written, error) {
	return b.write(ctx, w, kind, func(v *store.View, a *admission) (*outcome, error) {
		old, err := target(v, w, kind, id)
		if err != nil {
			return nil, err
		}
		if old.GetMeta().Deleting() {
			return nil, api.NewProblem(409, "being_deleted", "", "wait until it is gone, then make a new one", "%s %s is being deleted", kind, old.GetMeta().Name)
		}
		o := api.Clone(old)
		if err := change(o); err != nil {
			return nil, err
		}
		keepMeta(old.GetMeta(), o.GetMeta())
		if admit := kindOf(kind).Admit; admit != nil {
			if err := admit(a, old, o); err != nil {
				return nil, err
			}
		}
		if fields := changedFields(old, o); len(fields) > 0 {
			a.update(old, o)
			a.event(o, reasonChanged, "%s changed", strings.Join(fields, ", "))
		}
		return &outcome{object: o, id: id}, nil
	})
}

// keepMeta takes back what no change of a user can touch.
func keepMeta(old, m *api.Meta) {
	name, labels, protected := m.Name, m.Labels, m.Protected
	*m = *old
	m.Name, m.Labels, m.Protected = name, labels, protected
}

// target finds the object of a change and holds it against If-Match.
func target(v api.View, w api.Write, kind, id string) (api.Object, error) {
	o := v.Get(kind, id)
	if o == nil {
		return nil, api.NotFound(kind, id)
	}
	if m := o.GetMeta(); w.IfMatch != 0 && m.Revision != w.IfMatch {
		return nil, api.NewProblem(412, "precondition_failed", "", "get it again and repeat the change", "%s %s is at revision %d, not at %d", kind, m.Name, m.Revision, w.IfMatch)
	}
	return o, nil
}

// write runs a request: on the view alone for a dry run, else in a commit.
func (b *Backend) write(ctx context.Context, w api.Write, kind string, d decide) (api.Written, error) {
	seed, err := b.entropy.seed()
	if err != nil {
		return api.Written{}, err
	}
	if w.DryRun {
		v, err := b.store.View(ctx, 0)
		if err != nil {
			return api.Written{}, err
		}
		out, err := b.decide(v, w, kind, seed, d)
		if err != nil {
			return api.Written{}, err
		}
		if out.refused != nil {
			return api.Written{}, out.refused
		}
		return api.Written{Object: asRead(v, out.object), Preview: out.preview(), Revision: v.Revision()}, nil
	}
	var out *outcome
	var seen int64
	rev, err := b.store.Commit(ctx, func(v *store.View) (store.Change, error) {
		o, err := b.decide(v, w, kind, seed, d)
		if err != nil {
			return store.Change{}, err
		}
		out, seen = o, v.Revision()
		return o.admission.change, nil
	})
	if err != nil {
		return api.Written{}, err
	}
	if out.refused != nil {
		return api.Written{}, out.refused
	}
	return b.written(ctx, out, max(rev, seen))
}

// asRead gives an object that was not written the status with which it would be read.
func asRead(v api.View, o api.Object) api.Object {
	if o == nil {
		return nil
	}
	o = api.Clone(o)
	k, _ := api.KindOf(o)
	switch s := o.StatusPtr().GetStatus(); {
	case k.Immediate:
		s.State, s.ObservedGeneration = api.StateReady, o.GetMeta().Generation
	case s.State == "":
		s.State = api.StatePending
	}
	return present(v, o)
}

// decide calls d on one view, or finds what a request with the same key was answered. A
// key has one answer: a refusal is remembered too, so that the same request, sent before and
// still on its way, is not carried out after its sender was told that it is refused.
func (b *Backend) decide(v *store.View, w api.Write, kind string, seed [32]byte, d decide) (*outcome, error) {
	a := &admission{view: v, now: b.now().UTC(), dice: newDice(seed), who: w.Principal, caPin: b.caPin, place: b.place}
	key := idempotencyKey(w)
	if key == "" {
		return admit(v, a, kind, d)
	}
	if before := v.Idempotency(key); before != nil {
		return replay(v, a, w, before)
	}
	out, err := admit(v, a, kind, d)
	if err != nil {
		p := refusal(err)
		if p == nil {
			return nil, err
		}
		out = &outcome{admission: &admission{}, kind: kind, refused: p}
	}
	out.admission.change.Idempotency = &store.Idempotency{Key: key, Fingerprint: w.Fingerprint, Kind: kind, ID: out.id, Refused: out.refused}
	return out, nil
}

// admit is what d makes of the request, complete and judged.
func admit(v *store.View, a *admission, kind string, d decide) (*outcome, error) {
	out, err := d(v, a)
	if err != nil {
		return nil, err
	}
	out.admission, out.kind = a, kind
	if err := a.judge(); err != nil {
		return nil, err
	}
	completeEvents(a.change.Events, a.now, a.dice)
	return out, nil
}

// refusal is the problem for which a request is refused, whenever it comes; nil where
// the error says nothing about that.
func refusal(err error) *api.Problem {
	var faults api.Faults
	if errors.As(err, &faults) && len(faults) > 0 {
		return api.InvalidProblem(faults)
	}
	var p *api.Problem
	if errors.As(err, &p) && p.Status >= 400 && p.Status < 500 && p.Status != http.StatusTooManyRequests {
		return p
	}
	return nil
}

// idempotencyKey scopes the caller's key by the caller.
func idempotencyKey(w api.Write) string {
	if w.IdempotencyKey == "" {
		return ""
	}
	return w.Principal.Token + w.Principal.Host + "/" + w.IdempotencyKey
}

func replay(v api.View, a *admission, w api.Write, before *store.Idempotency) (*outcome, error) {
	if before.Fingerprint != w.Fingerprint {
		return nil, api.NewProblem(409, "idempotency_key_reused", "Idempotency-Key", "use a new key for a new request", "this key came before with another request about the kind %s", before.Kind)
	}
	if before.Refused != nil {
		return &outcome{admission: a, kind: before.Kind, refused: before.Refused}, nil
	}
	return &outcome{admission: a, kind: before.Kind, id: before.ID, object: v.Get(before.Kind, before.ID), replayed: true}, nil
}

// written reads back what was written, as everybody sees it now.
func (b *Backend) written(ctx context.Context, out *outcome, rev int64) (api.Written, error) {
	v, err := b.store.View(ctx, rev)
	if err != nil {
		return api.Written{}, err
	}
	o := present(v, v.Get(out.kind, out.id))
	if s := out.admission.secret; s != "" && o != nil {
		o = withSecret(o, s)
	}
	return api.Written{Object: o, Replayed: out.replayed, Revision: v.Revision()}, nil
}

// withSecret shows a secret on a copy: it is in no record.
func withSecret(o api.Object, secret string) api.Object {
	switch t := api.Clone(o).(type) {
	case *api.Token:
		t.Secret = secret
		return t
	case *api.JoinToken:
		t.Secret = secret
		return t
	}
	return o
}

func (o *outcome) preview() *api.Preview {
	p := &api.Preview{Quota: o.admission.quotaPreview()}
	if f := kindOf(o.kind).Preview; f != nil && o.object != nil && !o.replayed {
		f(o.admission, o.object, p)
	}
	return p
}
