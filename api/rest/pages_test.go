package rest_test

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/rest"
	"github.com/cairn-cloud/cairn/web"
)

func TestPages_needNoTokenAndLoadNothingFromElsewhere(t *testing.T) {
	c := newCloud(t)
	for path, want := range map[string]struct{ typ, text string }{
		"/docs":               {"text/html; charset=utf-8", "/docs/reference.js"},
		"/docs/problems":      {"text/html; charset=utf-8", `id="name_taken"`},
		"/docs/reference.js":  {"text/javascript; charset=utf-8", "/openapi.json"},
		"/docs/reference.css": {"text/css; charset=utf-8", "details.op"},
		"/openapi.json":       {"application/openapi+json", `"openapi": "3.1.0"`},
		"/healthz":            {"text/plain; charset=UTF-8", "ok"},
	} {
		a := c.do("", "GET", path, nil)
		if a.status != 200 || a.header.Get("Content-Type") != want.typ || !strings.Contains(string(a.body), want.text) {
			t.Errorf("%s: %d %s", path, a.status, a.header.Get("Content-Type"))
		}
		if strings.HasPrefix(want.typ, "text/html") && !strings.HasPrefix(a.header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: Content-Security-Policy %q", path, a.header.Get("Content-Security-Policy"))
		}
	}
	elsewhere := regexp.MustCompile(`(?i)(src|href|url|import|fetch)\s*[=(]?\s*["'(]+\s*(https?:)?//`)
	err := fs.WalkDir(web.Docs, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := web.Docs.ReadFile(path)
		if found := elsewhere.Find(b); found != nil {
			t.Errorf("%s loads from elsewhere: %s", path, found)
		}
		if strings.HasSuffix(path, ".html") && strings.Contains(string(b), "style=") {
			t.Errorf("%s has a style that the policy forbids", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestPages_explainEveryProblem(t *testing.T) {
	c := newCloud(t)
	body := string(c.do("", "GET", "/docs/problems", nil).body)
	for _, p := range rest.Problems {
		if !strings.Contains(body, `id="`+p.Code+`"`) {
			t.Errorf("%s is not on the page", p.Code)
		}
	}
}

func TestHealthz_failsWithTheStore(t *testing.T) {
	c := newCloud(t)
	c.m.mu.Lock()
	c.m.failing = api.NewProblem(503, "unavailable", "", "try again", "etcd has no leader")
	c.m.mu.Unlock()
	c.refused(c.do("", "GET", "/healthz", nil), 503, "unavailable", "")
	a := c.do("cloud", "GET", "/v1/networks", nil)
	c.refused(a, 503, "unavailable", "")
	if a.header.Get("Retry-After") == "" {
		t.Error("a 503 without Retry-After")
	}
}
