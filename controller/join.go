package controller

import (
	"context"
	"errors"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/pki"
	"github.com/cairn-cloud/cairn/controller/store"
)

// Join implements rest.Backend. The token is spent and the host made in one
// transaction; what can be refused is refused before. A machine that asks again with
// the same key, because the answer was lost, is the host that it became.
func (b *Backend) Join(ctx context.Context, r api.JoinRequest) (api.JoinResponse, error) {
	key, err := pki.ParseCSR(r.CSR)
	if err != nil {
		return api.JoinResponse{}, badCSR(err)
	}
	keyDigest, err := pki.KeyDigest(key)
	if err != nil {
		return api.JoinResponse{}, err
	}
	seed, err := b.entropy.seed()
	if err != nil {
		return api.JoinResponse{}, err
	}
	host := ""
	_, err = b.store.Commit(ctx, func(v *store.View) (store.Change, error) {
		a := &admission{view: v, now: b.now().UTC(), dice: newDice(seed)}
		if host, err = a.join(r, keyDigest); err != nil {
			return store.Change{}, err
		}
		completeEvents(a.change.Events, a.now, a.dice)
		return a.change, nil
	})
	if err != nil {
		return api.JoinResponse{}, err
	}
	return b.certify(host, key)
}

// join decides on one view whether a machine becomes a host, and returns its ID.
func (a *admission) join(r api.JoinRequest, keyDigest string) (string, error) {
	t, err := a.judgeJoinToken(api.JoinHost, r.Secret, keyDigest)
	if err != nil {
		return "", err
	}
	if t.Spec.UsedBy != "" {
		return t.Spec.UsedBy, nil
	}
	h := &api.Host{}
	h.ID, h.Name = a.newID(api.KindHost), r.Name
	h.Default()
	if err := h.Validate(); err != nil {
		return "", err
	}
	if owner := a.view.Owner(api.NameClaim(api.KindHost, &h.Meta).Key); owner != "" {
		return "", api.NewProblem(409, "name_taken", "name", "join under another name, or delete that host first", "there is a host %s (%s) already", h.Name, owner)
	}
	used := api.Clone(t)
	used.Spec.UsedBy, used.Spec.KeySHA256 = h.ID, keyDigest
	a.who.Actor = "host/" + h.Name
	a.create(h)
	a.update(t, used)
	a.event(h, "Joined", "the host %s joined with the join token %s", h.Name, t.Name)
	return h.ID, a.judge()
}

// Renew implements rest.Backend: a new certificate for a host that has one.
func (b *Backend) Renew(ctx context.Context, host, csrPEM string) (api.JoinResponse, error) {
	key, err := pki.ParseCSR(csrPEM)
	if err != nil {
		return api.JoinResponse{}, badCSR(err)
	}
	v, err := b.store.View(ctx, 0)
	if err != nil {
		return api.JoinResponse{}, err
	}
	if v.Get(api.KindHost, host) == nil {
		return api.JoinResponse{}, api.NotFound(api.KindHost, host)
	}
	return b.certify(host, key)
}

func (b *Backend) certify(host string, key any) (api.JoinResponse, error) {
	c, err := b.ca.SignHost(host, key, b.now())
	if err != nil {
		return api.JoinResponse{}, err
	}
	return api.JoinResponse{HostID: host, Certificate: string(c.PEM), CA: string(b.ca.PEM()), ExpiresAt: c.ExpiresAt}, nil
}

func badCSR(err error) error {
	var bad *pki.CSRError
	if errors.As(err, &bad) {
		return api.NewProblem(422, "invalid_value", "csr", "send a PKCS#10 request in PEM with an ECDSA P-256, P-384 or Ed25519 key", "%s", bad.Error())
	}
	return err
}
