package controller

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// agentTimeout bounds the wait for an agent's answer to begin.
const agentTimeout = 10 * time.Second

// ConsoleLog implements rest.Backend. It asks the agent of the instance's host.
func (b *Backend) ConsoleLog(ctx context.Context, i *api.Instance, limit int64) (io.ReadCloser, error) {
	v, err := b.store.View(ctx, 0)
	if err != nil {
		return nil, err
	}
	h := get[*api.Host](v, api.KindHost, i.Placement.Host)
	if h == nil {
		return nil, api.NewProblem(409, "not_placed", "placement.host", "wait until it is placed; see its conditions", "instance %s is on no host yet, so it has no console", i.Name)
	}
	resp, err := b.askAgent(ctx, h, "placement.host", "v1/console/"+i.ID, url.Values{"limit": {strconv.FormatInt(limit, 10)}})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	err = resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, errors.Join(api.NewProblem(409, "no_console_yet", "", "wait until it has started", "the host %s has no console log of instance %s yet", h.Name, i.Name), err)
	}
	return nil, errors.Join(agentFault(h, "placement.host", resp), err)
}

// maxNetworkReport bounds what an agent may answer, in bytes.
const maxNetworkReport = 64 << 20

// HostNetwork implements rest.Backend. It asks the host's agent to look.
func (b *Backend) HostNetwork(ctx context.Context, h *api.Host) (r api.NetworkReport, err error) {
	resp, err := b.askAgent(ctx, h, "", "v1/network", nil)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return r, agentFault(h, "", resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxNetworkReport)).Decode(&r); err != nil {
		return r, errors.Join(api.NewProblem(503, "host_unreachable", "", "try again, and look into the agent's log", "the answer of the agent of host %s breaks off or cannot be read", h.Name), err)
	}
	return r, nil
}

func agentFault(h *api.Host, field string, resp *http.Response) error {
	return api.NewProblem(503, "host_unreachable", field, "look into the agent's log", "the agent of host %s answered %s", h.Name, resp.Status)
}

// askAgent asks the agent of a host, whose certificate must be that of this very
// host. The caller closes the body.
func (b *Backend) askAgent(ctx context.Context, h *api.Host, field, path string, query url.Values) (*http.Response, error) {
	if h.Status.AgentURL == "" {
		return nil, api.NewProblem(503, "host_unreachable", field, "wait for the host's first report", "the host %s has not said where its agent listens", h.Name)
	}
	if u, err := url.Parse(h.Status.AgentURL); err != nil || u.Scheme != "https" {
		// What a host says must not make a controller ask anybody whose certificate it does not judge.
		return nil, api.NewProblem(503, "host_unreachable", field, "look into the agent's settings", "the host %s says that its agent is at %q, which is no https URL", h.Name, h.Status.AgentURL)
	}
	at, err := url.JoinPath(h.Status.AgentURL, path)
	if err != nil {
		return nil, fmt.Errorf("agent URL of host %s: %w", h.Name, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at+"?"+query.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask the agent of host %s: %w", h.Name, err)
	}
	resp, err := b.agentClient(h.ID).Do(req)
	if err != nil {
		b.log.Warn("an agent is not reached", "host", h.Name, "err", err)
		return nil, api.NewProblem(503, "host_unreachable", field, "look whether its agent runs and its port is reachable", "the agent of host %s does not answer", h.Name)
	}
	return resp, nil
}

// agentClient trusts the one host only: the name in a host's certificate is its ID.
func (b *Backend) agentClient(host string) *http.Client {
	c := b.ca.ClientTLS(b.controllerCert)
	c.ServerName = host
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: c, DisableKeepAlives: true, DisableCompression: true, ForceAttemptHTTP2: false,
		TLSHandshakeTimeout: agentTimeout, ResponseHeaderTimeout: agentTimeout,
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
