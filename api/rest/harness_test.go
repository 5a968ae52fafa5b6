package rest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cloud is a server over a memory backend, with two projects and their tokens.
type cloud struct {
	t      *testing.T
	m      *memory
	rest   *rest.Server
	http   *httptest.Server
	log    *bytes.Buffer
	ticks  chan time.Time
	mu     sync.Mutex
	now    time.Time
	p, q   *api.Project
	system *api.Project
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{t: t, m: newMemory(), ticks: make(chan time.Time), now: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), log: &bytes.Buffer{}}
	s, err := rest.New(rest.Options{
		Backend: c.m, Now: c.clock, Log: slog.New(slog.NewTextHandler(c.log, &slog.HandlerOptions{Level: slog.LevelInfo})),
		NewTicker: func(time.Duration) (<-chan time.Time, func()) { return c.ticks, func() {} },
		CatchUp:   time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.rest = s
	c.http = httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		s.Close()
		c.http.CloseClientConnections()
		c.http.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	c.system, c.p, c.q = c.project("system"), c.project("p"), c.project("q")
	c.token("cloud", c.system, api.RoleAdmin)
	for _, r := range []api.Role{api.RoleAdmin, api.RoleMember, api.RoleViewer} {
		c.token("p-"+string(r), c.p, r)
	}
	c.token("q-member", c.q, api.RoleMember)
	return c
}

func (c *cloud) clock() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *cloud) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// put writes an object as the controller would.
func (c *cloud) put(o api.Object) {
	c.t.Helper()
	if _, err := c.m.Create(context.Background(), api.Write{}, o); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cloud) project(name string) *api.Project {
	p := &api.Project{}
	p.Name = name
	c.put(p)
	return p
}

// token makes a token whose secret is "cairn_" and its name.
func (c *cloud) token(name string, p *api.Project, r api.Role) *api.Token {
	t := &api.Token{}
	t.Name, t.Project, t.Spec.Role = name, p.ID, r
	sum := sha256.Sum256([]byte("cairn_" + name))
	t.Spec.SecretSHA256 = hex.EncodeToString(sum[:])
	c.put(t)
	return t
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) problem(t *testing.T) api.Problem {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal(a.body, &p); err != nil || a.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("not a problem: %d %s %q", a.status, a.header.Get("Content-Type"), a.body)
	}
	if p.Status != a.status {
		t.Errorf("the problem says status %d, the answer %d", p.Status, a.status)
	}
	return p
}

func (a answer) object(t *testing.T, into any) {
	t.Helper()
	if a.status >= 300 {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
}

// do sends a request as the token's bearer. Headers are given as "Name: value".
func (c *cloud) do(token, method, path string, body any, headers ...string) answer {
	c.t.Helper()
	var r io.Reader
	contentType := "application/json"
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	case io.Reader:
		r = b
	default:
		j, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		r = bytes.NewReader(j)
	}
	req, err := http.NewRequest(method, c.http.URL+path, r)
	if err != nil {
		c.t.Fatal(err)
	}
	if method == http.MethodPatch {
		contentType = "application/merge-patch+json"
	}
	if r != nil {
		req.Header.Set("Content-Type", contentType)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer cairn_"+token)
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

// refused demands a problem of that status, code and field.
func (c *cloud) refused(a answer, status int, code, field string) api.Problem {
	c.t.Helper()
	p := a.problem(c.t)
	if p.Status != status || p.Code != code || p.Field != field {
		c.t.Errorf("got %d %s at %q, want %d %s at %q (%s)", p.Status, p.Code, p.Field, status, code, field, p.Detail)
	}
	return p
}
