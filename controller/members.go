package controller

import (
	"context"
	"net/url"
	"strconv"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
)

// Controllers implements rest.Backend.
func (b *Backend) Controllers(ctx context.Context) ([]api.Controller, error) {
	all, err := b.store.Controllers(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]api.Controller, 0, len(all))
	for _, c := range all {
		x := api.Controller{Name: c.Name, URL: c.API, State: api.StateNotReady, Leads: c.Leads}
		if c.Lives {
			x.State = api.StateReady
		}
		if m := c.Member; m != nil {
			x.Member, x.PeerURL = strconv.FormatUint(m.ID, 16), m.PeerURL
			if m.Learner {
				x.State = api.StatePending
			}
			if x.Name == "" { // it has never started
				x.Name = x.Member
			}
		}
		out = append(out, x)
	}
	return out, nil
}

// RemoveController implements rest.Backend.
func (b *Backend) RemoveController(ctx context.Context, name string) error {
	all, err := b.store.Controllers(ctx)
	if err != nil {
		return err
	}
	for _, c := range all {
		if m := c.Member; m != nil && (c.Name == name || strconv.FormatUint(m.ID, 16) == name) {
			if err := b.store.RemoveMember(ctx, m.ID); err != nil {
				return err
			}
			b.log.Info("a controller was removed", "name", c.Name, "member", m.ID)
			return nil
		}
	}
	return api.NewProblem(404, "not_found", "", "see `cairn controller list`", "there is no controller %s with a copy of the store", name)
}

// JoinController implements rest.Backend. The token is spent before the machine
// becomes a member, and the machine that spent it may ask again until it is one.
func (b *Backend) JoinController(ctx context.Context, r api.JoinControllerRequest) (a api.JoinControllerResponse, err error) {
	if u, err := url.Parse(r.PeerURL); r.PeerURL != "" && (err != nil || u.Scheme != "https" || u.Port() == "") {
		return a, api.NewProblem(422, "invalid_value", "peer_url", "give https://ADDRESS:PORT", "%q is not where a controller can be reached", r.PeerURL)
	}
	_, err = b.store.Commit(ctx, func(v *store.View) (store.Change, error) {
		x := &admission{view: v, now: b.now().UTC()}
		t, err := x.judgeJoinToken(api.JoinController, r.Secret, digest(r.Proof))
		if err != nil || t.Spec.UsedBy != "" {
			return store.Change{}, err
		}
		used := api.Clone(t)
		used.Spec.UsedBy, used.Spec.KeySHA256 = r.Name, digest(r.Proof)
		x.update(t, used)
		return x.change, nil
	})
	if err != nil {
		return a, err
	}
	if err := b.freeControllerName(ctx, r); err != nil {
		return a, err
	}
	if r.PeerURL != "" {
		if a.PeerURLs, err = b.store.AddMember(ctx, r.PeerURL); err != nil {
			return a, err
		}
	}
	ca, err := b.ca.Export()
	if err != nil {
		return a, err
	}
	b.log.Info("a controller joins, and was given the CA", "name", r.Name, "at", r.PeerURL)
	a.CA = string(ca)
	return a, nil
}

// freeControllerName refuses a name that another controller has.
func (b *Backend) freeControllerName(ctx context.Context, r api.JoinControllerRequest) error {
	all, err := b.store.Controllers(ctx)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.Name == r.Name && (c.Member == nil || c.Member.PeerURL != r.PeerURL) {
			return api.NewProblem(409, "name_taken", "name", "join under another name, or remove that one first", "there is a controller %s already", r.Name)
		}
	}
	return nil
}
