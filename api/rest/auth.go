package rest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/cairn-cloud/cairn/api"
)

// hostOrganization marks the certificates of hosts.
const hostOrganization = "cairn:host"

// authenticate finds out who asks: a host by its certificate, everybody else
// by a bearer token.
func (c *call) authenticate() error {
	if host, ok := c.certifiedHost(); ok {
		return c.authenticateHost(host)
	}
	secret, ok := bearer(c.request().Header.Get("Authorization"))
	if !ok {
		return unauthenticated("send the header Authorization: Bearer cairn_…", "the request carries no bearer token")
	}
	sum := sha256.Sum256([]byte(secret))
	digest := hex.EncodeToString(sum[:])
	// The claim is found by the digest of the secret, so that the time it takes
	// says nothing about the secret.
	id := c.view.Owner(api.TokenKey(digest))
	token, _ := c.view.Get(api.KindToken, id).(*api.Token)
	if id == "" || token == nil || subtle.ConstantTimeCompare([]byte(token.Spec.SecretSHA256), []byte(digest)) != 1 {
		return unauthenticated("make a new token", "the bearer token is not known; it may have been deleted")
	}
	if e := token.Spec.ExpiresAt; e != nil && !c.now().Before(*e) {
		return unauthenticated("make a new token", "the bearer token expired at %s", e.UTC().Format("2006-01-02T15:04:05Z"))
	}
	if token.Deleting() {
		return unauthenticated("make a new token", "the bearer token was deleted")
	}
	c.who = api.Principal{Actor: "token/" + token.Name, Token: token.ID, Project: token.Project, Role: token.Spec.Role}
	if p := c.view.Get(api.KindProject, token.Project); p != nil && p.GetMeta().Name == api.SystemProject {
		c.who.Cloud = token.Spec.Role == api.RoleAdmin
	}
	return nil
}

func (c *call) certifiedHost() (id string, ok bool) {
	t := c.request().TLS
	if t == nil || len(t.VerifiedChains) == 0 {
		return "", false
	}
	subject := t.PeerCertificates[0].Subject
	return subject.CommonName, slices.Contains(subject.Organization, hostOrganization)
}

// authenticateHost lets a host's certificate reach what is marked as a host's,
// and nothing else.
func (c *call) authenticateHost(id string) error {
	if c.op.Metadata[metaHostRoute] == nil {
		return api.NewProblem(403, "not_your_host", "", "use a token", "a host's certificate opens only that host's own routes")
	}
	h := c.view.Get(api.KindHost, id)
	if h == nil {
		return unauthenticated("join again with a new join token", "the host %s of this certificate is not in the cloud (any more)", id)
	}
	c.who = api.Principal{Actor: "host/" + h.GetMeta().Name, Host: id}
	return nil
}

// ownHost demands that the caller is the host in the path.
func (c *call) ownHost() error {
	if c.who.Host == "" || c.who.Host != c.param("id") {
		return api.NewProblem(403, "not_your_host", "", "use the certificate that this host got when it joined", "only the host %s itself may do that", c.param("id"))
	}
	return nil
}

func bearer(header string) (string, bool) {
	scheme, secret, ok := strings.Cut(header, " ")
	secret = strings.TrimSpace(secret)
	return secret, ok && strings.EqualFold(scheme, "Bearer") && secret != ""
}

func unauthenticated(hint, format string, args ...any) error {
	return api.NewProblem(401, "unauthenticated", "", hint, format, args...)
}
