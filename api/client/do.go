package client

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// Request is one call of the API.
type Request struct {
	Method string
	Path   string // such as /v1/projects; what is not a letter of a path must be escaped
	Query  url.Values
	Header http.Header
	Body   []byte
	// Stream leaves the answer's body open and has no timeout.
	Stream bool
}

// Response is an answer of the API with a status below 400.
type Response struct {
	Status int
	Header http.Header
	Body   []byte        // unless Stream
	Stream io.ReadCloser // where Stream
}

// Do calls the API. Reads, and changes, which get an idempotency key, are
// repeated when the connection breaks or the server is not available. The error is an
// *api.Problem where the server gave one.
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	r.Header = r.Header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if changes(r.Method) && r.Header.Get("Idempotency-Key") == "" {
		key, err := c.newKey()
		if err != nil {
			return nil, err
		}
		r.Header.Set("Idempotency-Key", key)
	}
	for attempt := 1; ; attempt++ {
		resp, wait, err := c.once(ctx, r)
		if err == nil || !again(err) || attempt >= c.o.Attempts*len(c.bases) || ctx.Err() != nil {
			return resp, err
		}
		if attempt%len(c.bases) != 0 {
			continue // there is another server to be asked
		}
		if err := c.o.Sleep(ctx, max(wait, c.backoff(attempt/len(c.bases)))); err != nil {
			return nil, err
		}
	}
}

func changes(method string) bool {
	return method == http.MethodPost || method == http.MethodPatch || method == http.MethodDelete
}

func (c *Client) newKey() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(c.o.Random, b[:]); err != nil {
		return "", fmt.Errorf("draw an idempotency key: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// backoff is about 0.1 s, 0.2 s, 0.4 s … up to 5 s, spread by half.
func (c *Client) backoff(attempt int) time.Duration {
	d := min(100*time.Millisecond<<min(attempt-1, 10), 5*time.Second)
	return d/2 + time.Duration(c.o.Jitter()*float64(d/2))
}

// again tells whether the same request may succeed later.
func again(err error) bool {
	var p *api.Problem
	if errors.As(err, &p) {
		return p.Status == http.StatusTooManyRequests || p.Status == http.StatusBadGateway ||
			p.Status == http.StatusServiceUnavailable || p.Status == http.StatusGatewayTimeout
	}
	return broken(err)
}

func broken(err error) bool {
	var c *connectionError
	return errors.As(err, &c) && !untrusted(err)
}

// connectionError says that no whole answer came.
type connectionError struct {
	server string
	err    error
}

func (e *connectionError) Error() string { return "reach " + e.server + ": " + e.err.Error() }
func (e *connectionError) Unwrap() error { return e.err }

// once makes one attempt. wait is what the server asked for before the next one,
// which another server gets, where there are several.
func (c *Client) once(ctx context.Context, r Request) (resp *Response, wait time.Duration, err error) {
	base, lost := c.at()
	defer func() {
		if err != nil && again(err) {
			lost()
		}
	}()
	attempt := ctx
	if !r.Stream {
		var cancel context.CancelFunc
		attempt, cancel = context.WithTimeout(ctx, c.o.Timeout)
		defer cancel()
	}
	got, err := c.send(attempt, base, r, &pieces{bytes.NewReader(r.Body)}, int64(len(r.Body)))
	if err != nil {
		if ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		return nil, 0, &connectionError{base.Host, err}
	}
	if got.StatusCode >= 400 {
		defer func() { _ = got.Body.Close() }() // nothing more is wanted of it
		seconds, _ := strconv.Atoi(got.Header.Get("Retry-After"))
		return nil, time.Duration(min(seconds, 60)) * time.Second, problemOf(base.Host, got)
	}
	resp = &Response{Status: got.StatusCode, Header: got.Header}
	if r.Stream {
		resp.Stream = got.Body
		return resp, 0, nil
	}
	resp.Body, err = io.ReadAll(got.Body)
	if e := got.Body.Close(); err == nil {
		err = e
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		return nil, 0, &connectionError{base.Host, err}
	}
	return resp, 0, nil
}

func (c *Client) send(ctx context.Context, base *url.URL, r Request, body io.Reader, length int64) (*http.Response, error) {
	u := *base
	path, err := url.PathUnescape(r.Path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("call %s: %w", r.Path, err), closeBody(body))
	}
	u.RawPath = u.EscapedPath() + r.Path
	u.Path += path
	u.RawQuery = r.Query.Encode()
	if length == 0 {
		body = http.NoBody
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, u.String(), body)
	if err != nil {
		return nil, errors.Join(err, closeBody(body))
	}
	req.ContentLength = length
	if _, whole := body.(*pieces); whole {
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(&pieces{bytes.NewReader(r.Body)}), nil }
	}
	for k, v := range r.Header {
		req.Header[k] = v
	}
	if length > 0 && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.o.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.o.Token)
	}
	req.Header.Set("User-Agent", c.o.UserAgent)
	return c.http.Do(req)
}

// pieces is a body that is sent in small pieces: a server keeps, for each
// connection, buffers as large as the largest piece that it has seen.
type pieces struct{ whole *bytes.Reader }

func (p *pieces) Read(b []byte) (int, error) { return p.whole.Read(b[:min(len(b), 4<<10)]) }

// closeBody does what the transport does with a body, where it never gets it.
func closeBody(body io.Reader) error {
	if c, ok := body.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// problemOf reads the problem in an answer, or makes one where a server in
// between answered something else. Of an answer that broke off nothing is known.
func problemOf(server string, r *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return &connectionError{server, err}
	}
	p := &api.Problem{}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "application/problem+json" && json.Unmarshal(b, p) == nil && p.Code != "" {
		return p
	}
	text := strings.TrimSpace(string(b))
	if len(text) > 200 {
		text = text[:200] + "…"
	}
	return api.NewProblem(r.StatusCode, "http_"+strconv.Itoa(r.StatusCode), "", "is there a proxy in between?", "the server answered %s: %q", r.Status, text)
}

// IsCode tells whether the error is a problem with that code.
func IsCode(err error, code string) bool {
	var p *api.Problem
	return errors.As(err, &p) && p.Code == code
}
