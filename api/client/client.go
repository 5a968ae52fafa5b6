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
	"sync/atomic"
	"time"
)

// Options of New. Server is required.
type Options struct {
	// Server is such as https://cairn.example:7443. Of several, separated by commas,
	// one is asked until it does not answer or cannot serve, then the next.
	Server string
	Token  string // bearer token
	CA     []byte // PEM of the CA to trust; default: the system's
	CAPin  string // instead of CA: SHA-256 of its DER, hexadecimal; the server must send the CA in its chain
	// Certificate gives an agent's certificate, anew for each connection, so
	// that a rotated one is used without a new client.
	Certificate func() (*tls.Certificate, error)
	HTTPClient  *http.Client  // instead of one made from the above
	UserAgent   string        // default: cairn-client
	Timeout     time.Duration // of one attempt of an ordinary request; default 30 s
	Attempts    int           // of each server at most, for what may be repeated; default 5

	// Sleep waits between attempts; default: a timer. Jitter gives numbers from
	// 0 to 1 that spread the attempts of many clients; default: math/rand.
	Sleep  func(context.Context, time.Duration) error
	Jitter func() float64
	Random io.Reader // of idempotency keys; default: crypto/rand
}

// Client speaks to one cloud. It may be used by many goroutines.
type Client struct {
	bases []*url.URL
	asked atomic.Int64 // which of them, counted on and on
	http  *http.Client
	owned bool
	o     Options
}

// New makes a client. It does not connect yet.
func New(o Options) (*Client, error) {
	c := &Client{http: o.HTTPClient, o: o}
	for server := range strings.SplitSeq(o.Server, ",") {
		u, err := parseServer(server, o.Token != "")
		if err != nil {
			return nil, err
		}
		c.bases = append(c.bases, u)
	}
	if len(c.bases) > 1 && o.CAPin != "" {
		return nil, errors.New("make a client: the digest of a CA is of use with one server only")
	}
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
		config, err := tlsConfig(o, c.bases[0].Hostname())
		if err != nil {
			return nil, fmt.Errorf("make a client for %s: %w", o.Server, err)
		}
		c.http, c.owned = &http.Client{Transport: transport(config), CheckRedirect: noRedirect}, true
	}
	return c, nil
}

func parseServer(server string, token bool) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(server))
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("make a client: %q is not the URL of a server; give one such as https://cairn.example:7443", server)
	}
	if u.Scheme == "http" && token && !loopback(u.Hostname()) {
		return nil, fmt.Errorf("make a client: a token must not travel in the clear to %s; use https", u.Host)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u, nil
}

// at is the server to ask, and what says that another one be asked from now on.
func (c *Client) at() (base *url.URL, lost func()) {
	n := c.asked.Load()
	return c.bases[n%int64(len(c.bases))], func() { c.asked.CompareAndSwap(n, n+1) }
}

// host names the server that is asked at present.
func (c *Client) host() string {
	base, _ := c.at()
	return base.Host
}

// Close lets go of idle connections. After a certificate was rotated it makes
// the next request connect anew.
func (c *Client) Close() {
	if c.owned {
		c.http.CloseIdleConnections()
	}
}

func transport(config *tls.Config) *http.Transport {
	dialer := &net.Dialer{Timeout: 4 * time.Second, KeepAlive: 15 * time.Second}
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
