package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/cairn-cloud/cairn/api"
)

// JoinSecret is what a join token's secret says: cjt_<token's ID>.<secret>.<pin of the CA>.
type JoinSecret struct {
	TokenID string
	CAPin   string // SHA-256 of the CA's DER, hexadecimal
}

// ParseJoinSecret reads a join token's secret.
func ParseJoinSecret(s string) (JoinSecret, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(s), "cjt_")
	parts := strings.Split(rest, ".")
	if !ok || len(parts) != 3 || parts[0] == "" || parts[1] == "" || len(parts[2]) != 64 {
		return JoinSecret{}, fmt.Errorf("read the join token: it is not of the form cjt_….….…; copy all of what `cairn join-token create NAME` printed")
	}
	return JoinSecret{TokenID: parts[0], CAPin: parts[2]}, nil
}

// JoinOptions of Join.
type JoinOptions struct {
	Server string
	Secret string // of a join token
	Name   string // of the host
	CSR    string // PKCS#10 in PEM
	// Client are the other options of the client that joins.
	Client Options
}

// Join makes a machine a host. It trusts a server only if that presents the CA
// whose digest is in the join token.
func Join(ctx context.Context, o JoinOptions) (a api.JoinResponse, err error) {
	secret, err := ParseJoinSecret(o.Secret)
	if err != nil {
		return a, err
	}
	co := o.Client
	co.Server, co.CAPin, co.CA, co.Token, co.Certificate = o.Server, secret.CAPin, nil, "", nil
	c, err := New(co)
	if err != nil {
		return a, err
	}
	defer c.Close()
	err = c.post(ctx, "/v1/join", api.JoinRequest{Secret: strings.TrimSpace(o.Secret), Name: o.Name, CSR: o.CSR}, &a)
	if err != nil {
		return a, fmt.Errorf("join %s as %s: %w", o.Server, o.Name, err)
	}
	return a, nil
}

func (c *Client) post(ctx context.Context, path string, body, into any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := c.Do(ctx, Request{Method: http.MethodPost, Path: path, Body: b})
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal(r.Body, into)
}

func hostPath(host, verb string) string { return "/v1/hosts/" + url.PathEscape(host) + "/" + verb }

// Renew gets the host a new certificate for the public key in the CSR (PEM).
func (c *Client) Renew(ctx context.Context, host, csr string) (a api.JoinResponse, err error) {
	err = c.post(ctx, hostPath(host, "renew"), struct {
		CSR string `json:"csr"`
	}{csr}, &a)
	if err != nil {
		return a, fmt.Errorf("renew the certificate of host %s: %w", host, err)
	}
	return a, nil
}

// headerRevision says up to where somebody has seen the cloud.
const headerRevision = "Cairn-Revision"

func revisionOf(r *Response) int64 {
	rev, err := strconv.ParseInt(r.Header.Get(headerRevision), 10, 64)
	if err != nil {
		return 0 // it does not say
	}
	return rev
}

func seenHeader(seen int64) http.Header {
	h := http.Header{}
	if seen > 0 {
		h.Set(headerRevision, strconv.FormatInt(seen, 10))
	}
	return h
}

// Heartbeat says that the host lives, and returns the revision at which it last
// came alive. It is one attempt with each server: the next beat is the next attempt.
func (c *Client) Heartbeat(ctx context.Context, host string) (life int64, err error) {
	for range c.bases {
		var r *Response
		r, _, err = c.once(ctx, Request{Method: http.MethodPut, Path: hostPath(host, "heartbeat")})
		if err == nil {
			return revisionOf(r), nil
		}
		if !again(err) || ctx.Err() != nil {
			return 0, err
		}
	}
	return 0, err
}

// reportsPerRequest keeps a request far below the server's limit of 16 MiB.
const reportsPerRequest = 1000

// Report says what is on the host, as one who has seen that revision, and
// returns the one that it is in. Reporting the same again changes nothing.
func (c *Client) Report(ctx context.Context, host string, seen int64, reports []api.Report) (revision int64, err error) {
	for len(reports) > 0 {
		n := min(len(reports), reportsPerRequest)
		b, err := json.Marshal(reports[:n])
		if err != nil {
			return revision, err
		}
		r := Request{Method: http.MethodPost, Path: hostPath(host, "report"), Body: b, Header: seenHeader(seen)}
		resp, err := c.Do(ctx, r)
		if err != nil {
			return revision, fmt.Errorf("report of host %s: %w", host, err)
		}
		revision = max(revision, revisionOf(resp))
		reports = reports[n:]
	}
	return revision, nil
}

// Desired yields the host's desired state, first all of it and then each
// difference, for as long as ctx lives. An error says that the connection was
// lost or refused; whoever goes on gets a new one, which begins with all again.
// seen, where it is not nil, gives the revision that the host has seen: a
// controller that is behind it is refused as one that does not answer.
func (c *Client) Desired(ctx context.Context, host string, seen func() int64) iter.Seq2[[]api.DesiredItem, error] {
	return func(yield func([]api.DesiredItem, error) bool) {
		for failures := 1; ctx.Err() == nil; failures++ {
			r := Request{Method: http.MethodGet, Path: hostPath(host, "desired")}
			if seen != nil {
				r.Header = seenHeader(seen())
			}
			for e, err := range c.events(ctx, r) {
				var items []api.DesiredItem
				if err == nil {
					if e.Event != "items" {
						continue // a sign of life
					}
					err = json.Unmarshal([]byte(e.Data), &items)
				}
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					if !yield(nil, fmt.Errorf("desired state of host %s: %w", host, err)) {
						return
					}
					break
				}
				failures = 1
				if !yield(items, nil) {
					return
				}
			}
			if c.o.Sleep(ctx, c.backoff(failures)) != nil {
				return
			}
		}
	}
}
