package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Options of New. Server is required.
type Options struct {
	Server string // such as https://cairn.example:7443
	Token  string // bearer token
	CA     []byte // PEM of the CA to trust; default: the system's
	CAPin  string // instead of CA: SHA-256 of its DER, hexadecimal; the server must send the CA in its chain
	// Certificate gives an agent's certificate, anew for each connection, so
	// that a rotated one is used without a new client.
	Certificate func() (*tls.Certificate, error)
	HTTPClient  *http.Client  // instead of one made from the above
	UserAgent   string        // default: cairn-client
	Timeout     time.Duration // of one attempt of an ordinary request; default 30 s
	Attempts    int           // at most, for what may be repeated; default 5

	// Sleep waits between attempts; default: a timer. Jitter gives numbers from
	// 0 to 1 that spread the attempts of many clients; default: math/rand.
	Sleep  func(context.Context, time.Duration) error
	Jitter func() float64
	Random io.Reader // of idempotency keys; default: crypto/rand
}

// Client speaks to one server. It may be used by many goroutines.
type Client struct {
	base  *url.URL
	http  *http.Client
	owned bool
	o     Options
}

// New makes a client. It does not connect yet.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.Server)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("make a client: %q is not the URL of a server; give one such as https://cairn.example:7443", o.Server)
	}
	if u.Scheme == "http" && o.Token != "" && !loopback(u.Hostname()) {
		return nil, fmt.Errorf("make a client: a token must not travel in the clear to %s; use https", u.Host)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	c := &Client{base: u, http: o.HTTPClient, o: o}
	if c.o.UserAgent == "" {
		c.o.UserAgent = "cairn-client"
	}
	if c.o.Timeout == 0 {
		c.o.Timeout = 30 * time.Second
	}
	if c.o.Attempts == 0 {
		c.o.Attempts = 5
	}
	if c.o.Sleep == nil {
		c.o.Sleep = sleep
	}
	if c.o.Jitter == nil {
		c.o.Jitter = mathrand.Float64
	}
	if c.o.Random == nil {
		c.o.Random = rand.Reader
	}
	if c.http == nil {
		config, err := tlsConfig(o, u.Hostname())
		if err != nil {
			return nil, fmt.Errorf("make a client for %s: %w", u.Host, err)
		}
		c.http, c.owned = &http.Client{Transport: transport(config), CheckRedirect: noRedirect}, true
	}
	return c, nil
}

// Close lets go of idle connections. After a certificate was rotated it makes
// the next request connect anew.
func (c *Client) Close() {
	if c.owned {
		c.http.CloseIdleConnections()
	}
}

// Server is the URL that the client was made with.
func (c *Client) Server() string { return c.base.String() }

func transport(config *tls.Config) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     90 * time.Second,
		// A stream that hangs on a dead connection is found by pings.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
}

// noRedirect keeps the token from being sent elsewhere.
func noRedirect(*http.Request, []*http.Request) error {
	return errors.New("the server redirects, which Cairn's API never does; check the server's URL")
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
