package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Fetcher gets images from URLs that users gave. Unless it is told otherwise,
// it connects to public addresses only: a URL must not be a way into the networks
// that the control plane can reach. The address is judged when it is dialled, so
// that neither DNS nor a redirect gets around it.
type Fetcher struct {
	client *http.Client
}

// StatusError is an answer that is no image.
type StatusError struct{ Status int }

// Error implements error.
func (e *StatusError) Error() string {
	return fmt.Sprintf("the server answers %d %s", e.Status, http.StatusText(e.Status))
}

// NewFetcher makes a Fetcher.
func NewFetcher(allowPrivate bool) *Fetcher {
	d := &net.Dialer{Timeout: 20 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		if allowPrivate {
			return nil
		}
		return judgeAddress(address)
	}}
	t := &http.Transport{DialContext: d.DialContext, TLSHandshakeTimeout: 20 * time.Second, ResponseHeaderTimeout: time.Minute, DisableCompression: true, MaxConnsPerHost: 4, IdleConnTimeout: 30 * time.Second}
	return &Fetcher{&http.Client{Transport: t, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) >= 5 {
			return refuse("Redirects", "give the final URL", "it redirects more than 5 times")
		}
		if r.URL.Scheme != "http" && r.URL.Scheme != "https" || via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
			return refuse("Redirects", "give the final URL", "it redirects from %s to %s", via[0].URL.Scheme, r.URL.Scheme)
		}
		return nil
	}}}
}

// Close lets idle connections go.
func (f *Fetcher) Close() { f.client.CloseIdleConnections() }

// special are ranges that no public server has, beyond those that netip knows:
// between subscribers and providers, for documents and benchmarks, reserved; and
// those of IPv6 in which an IPv4 address is wrapped, which may be a private one.
var special = func() (out []netip.Prefix) {
	for _, s := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:db8::/32", "2002::/16", "fec0::/10",
	} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}()

func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}

func judgeAddress(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dial %s: %w", address, err)
	}
	a := ap.Addr().Unmap()
	if !public(a) {
		return refuse("PrivateAddress", "upload the image, or let the operator allow imports from private addresses", "%s is not a public address", a)
	}
	return nil
}

// Transfer is one image on its way: it remembers which version of it came, so
// that the rest of another version is never put behind it.
type Transfer struct {
	f         *Fetcher
	url       string
	validator string // ETag or Last-Modified of what came before
}

// Transfer begins to get the URL.
func (f *Fetcher) Transfer(from string) *Transfer { return &Transfer{f: f, url: from} }

// Fetch calls write with what the URL has from offset on. write is told where
// the stream begins: at 0 where the server cannot resume, or has another version now.
// It returns when all has come or the connection broke.
func (t *Transfer) Fetch(ctx context.Context, offset, limit int64, write func(at int64, r io.Reader) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url, nil)
	if err != nil {
		return refuse("BadURL", "give another URL", "the URL cannot be used: %s", err)
	}
	req.Header.Set("User-Agent", "cairn")
	if offset > 0 && t.validator != "" {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(offset, 10)+"-")
		req.Header.Set("If-Range", t.validator)
	} else {
		offset = 0
	}
	resp, err := t.f.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the URL is known
		}
		return fmt.Errorf("fetch the image: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // what was read was read
	switch {
	case resp.StatusCode == http.StatusOK:
		offset = 0
	case resp.StatusCode == http.StatusPartialContent && strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)):
	default:
		return &StatusError{resp.StatusCode}
	}
	t.validator = resp.Header.Get("ETag")
	if t.validator == "" || strings.HasPrefix(t.validator, "W/") {
		t.validator = resp.Header.Get("Last-Modified")
	}
	if resp.ContentLength > 0 && offset+resp.ContentLength > limit {
		return ErrTooLarge
	}
	// A server that falls silent counts as broken.
	silence := time.AfterFunc(stallTimeout, cancel)
	defer silence.Stop()
	return write(offset, readerFunc(func(b []byte) (int, error) {
		n, err := resp.Body.Read(b)
		silence.Reset(stallTimeout)
		return n, err
	}))
}

// stallTimeout is how long the next bytes of a transfer may take.
const stallTimeout = time.Minute

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
