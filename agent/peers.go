package agent

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// hostOrganization marks the certificates of hosts.
const hostOrganization = "cairn:host"

// streamProtocol is what a request for a channel upgrades to: bytes both ways.
const streamProtocol = "cairn-stream"

// peerTimeout bounds the wait for another agent's answer.
const peerTimeout = 10 * time.Second

// maxSpec bounds what another agent says of a domain, in bytes.
const maxSpec = 1 << 20

// peers reaches other agents with this host's certificate. The name in theirs must be their host's ID.
type peers struct{ id *Identity }

// NewPeers makes what reaches the other agents.
func NewPeers(id *Identity) Peers { return peers{id} }

// Spec implements Peers.
func (p peers) Spec(ctx context.Context, to api.HostOutgoing, instance string) (s DomainSpec, err error) {
	conn, resp, err := p.ask(ctx, to, http.MethodGet, "v1/incoming/"+instance) //nolint:bodyclose // the connection is closed, which is all that there is
	if err != nil {
		return s, err
	}
	defer func() { _ = conn.Close() }()
	if resp.StatusCode != http.StatusOK {
		return s, refusal(to, resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxSpec)).Decode(&s); err != nil {
		return s, fmt.Errorf("what host %s says of %s: %w", to.To, instance, err)
	}
	if s.Mark.Instance != instance || s.Mark.Epoch != to.Epoch {
		return s, fmt.Errorf("host %s expects %s under epoch %d, not %s under %d", to.To, s.Mark.Instance, s.Mark.Epoch, instance, to.Epoch)
	}
	return s, nil
}

// Still implements Peers.
func (p peers) Still(ctx context.Context, to api.HostOutgoing, instance string) error {
	conn, resp, err := p.ask(ctx, to, http.MethodPost, "v1/incoming/"+instance) //nolint:bodyclose // the connection is closed, which is all that there is
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if resp.StatusCode != http.StatusNoContent {
		return refusal(to, resp)
	}
	return nil
}

// Dial implements Peers.
func (p peers) Dial(ctx context.Context, to api.HostOutgoing, instance string, c Channel) (net.Conn, error) {
	conn, resp, err := p.ask(ctx, to, http.MethodPost, "v1/incoming/"+instance+"/"+string(c)) //nolint:bodyclose // the connection is closed, which is all that there is
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, errors.Join(refusal(to, resp), conn.Close())
	}
	return conn, conn.SetDeadline(time.Time{})
}

func refusal(to api.HostOutgoing, resp *http.Response) error {
	why, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
	return fmt.Errorf("the agent of host %s answers %s: %s", to.To, resp.Status, why)
}

// buffered reads what came behind the answer before it reads on.
type buffered struct {
	*tls.Conn
	r *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// ask sends one request over a connection of its own, which may become a stream.
func (p peers) ask(ctx context.Context, to api.HostOutgoing, method, path string) (buffered, *http.Response, error) {
	fail := func(err error) (buffered, *http.Response, error) {
		return buffered{}, nil, fmt.Errorf("reach the agent of host %s at %s: %w", to.To, to.URL, err)
	}
	u, err := url.Parse(to.URL)
	if err != nil || u.Scheme != "https" {
		return fail(errors.New("that is no https URL; look into its agent's --listen"))
	}
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(p.id.ca)
	raw, err := (&tls.Dialer{NetDialer: &net.Dialer{KeepAliveConfig: lineKeepAlive, Control: lineControl}, Config: &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: to.To, NextProtos: []string{"http/1.1"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.id.cert.Load(), nil },
	}}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return fail(err)
	}
	conn := buffered{raw.(*tls.Conn), bufio.NewReader(raw)}
	req, err := http.NewRequestWithContext(ctx, method, u.JoinPath(path).String(), nil)
	if err == nil {
		if method == http.MethodPost {
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", streamProtocol)
		}
		err = errors.Join(conn.SetDeadline(deadlineOf(ctx)), req.Write(conn))
	}
	var resp *http.Response
	if err == nil {
		resp, err = http.ReadResponse(conn.r, req)
	}
	if err != nil {
		return fail(errors.Join(err, conn.Close()))
	}
	return conn, resp, nil
}

func deadlineOf(ctx context.Context) time.Time {
	at, _ := ctx.Deadline()
	return at
}
