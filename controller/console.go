package controller

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// consoleTimeout bounds the wait for an agent's answer to begin.
const consoleTimeout = 10 * time.Second

// ConsoleLog implements rest.Backend. It asks the agent of the instance's host;
// the agent's certificate must be that of this very host.
func (b *Backend) ConsoleLog(ctx context.Context, i *api.Instance, limit int64) (io.ReadCloser, error) {
	v, err := b.store.View(ctx, 0)
	if err != nil {
		return nil, err
	}
	h := get[*api.Host](v, api.KindHost, i.Placement.Host)
	if h == nil {
		return nil, api.NewProblem(409, "not_placed", "placement.host", "wait until it is placed; see its conditions", "instance %s is on no host yet, so it has no console", i.Name)
	}
	if h.Status.AgentURL == "" {
		return nil, api.NewProblem(503, "host_unreachable", "placement.host", "wait for the host's first report", "the host %s has not said where its agent serves consoles", h.Name)
	}
	if u, err := url.Parse(h.Status.AgentURL); err != nil || u.Scheme != "https" {
		// What a host says must not make a controller ask anybody whose certificate it does not judge.
		return nil, api.NewProblem(503, "host_unreachable", "placement.host", "look into the agent's settings", "the host %s says that its agent is at %q, which is no https URL", h.Name, h.Status.AgentURL)
	}
	at, err := url.JoinPath(h.Status.AgentURL, "v1/console", i.ID)
	if err != nil {
		return nil, fmt.Errorf("console of %s: agent URL of host %s: %w", i.ID, h.Name, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at+"?limit="+strconv.FormatInt(limit, 10), nil)
	if err != nil {
		return nil, fmt.Errorf("console of %s: %w", i.ID, err)
	}
	resp, err := b.consoleClient(h.ID).Do(req)
	if err != nil {
		b.log.Warn("an agent's console is not reached", "host", h.Name, "err", err)
		return nil, api.NewProblem(503, "host_unreachable", "placement.host", "look whether its agent runs and its port is reachable", "the agent of host %s does not answer", h.Name)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	err = resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, errors.Join(api.NewProblem(409, "no_console_yet", "", "wait until it has started", "the host %s has no console log of instance %s yet", h.Name, i.Name), err)
	}
	return nil, errors.Join(api.NewProblem(503, "host_unreachable", "placement.host", "look into the agent's log", "the agent of host %s answered %s", h.Name, resp.Status), err)
}

// consoleClient trusts the one host only: the name in a host's certificate is its ID.
func (b *Backend) consoleClient(host string) *http.Client {
	c := b.ca.ClientTLS(b.controllerCert)
	c.ServerName = host
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: c, DisableKeepAlives: true, DisableCompression: true, ForceAttemptHTTP2: false,
		TLSHandshakeTimeout: consoleTimeout, ResponseHeaderTimeout: consoleTimeout,
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
