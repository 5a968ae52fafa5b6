package rest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// socket is a body, and a writer that notes its deadlines and which one was in
// force when it was written to.
type socket struct {
	*httptest.ResponseRecorder
	read, write, wroteWith time.Time
}

func (s *socket) SetReadDeadline(t time.Time) error  { s.read = t; return nil }
func (s *socket) SetWriteDeadline(t time.Time) error { s.write = t; return nil }

func (s *socket) Read([]byte) (int, error) { return 0, io.EOF }

func (s *socket) Write(b []byte) (int, error) {
	s.wroteWith = s.write
	return s.ResponseRecorder.Write(b)
}

// TestDeadlines_nobodyHoldsAConnectionForLong: also not whoever sends a body byte
// by byte to where nobody reads it, or does not take the answer.
func TestDeadlines_nobodyHoldsAConnectionForLong(t *testing.T) {
	c := newCloud(t)
	c.image("debian")
	c.do("p-member", "PATCH", "/v1/projects/p/images/debian/data", "hello", "Content-Type: application/octet-stream", "Upload-Offset: 0", "Upload-Complete: ?1")
	c.image("other")
	const data = "/v1/projects/p/images/debian/data"
	for _, x := range []struct{ name, token, method, path, contentType string }{
		{"no such route", "", "POST", "/v2/x", ""},
		{"a page", "", "GET", "/docs", ""},
		{"health", "", "GET", "/healthz", ""},
		{"no method", "", "PUT", "/v1/instances", ""},
		{"nobody's change", "", "POST", "/v1/projects/p/networks", "application/json"},
		{"a change", "p-member", "POST", "/v1/projects/p/networks", "application/json"},
		{"a change that says that it watches", "p-member", "POST", "/v1/projects/p/networks?watch=true", "application/json"},
		{"nobody's watch", "", "GET", "/v1/networks?watch=true", ""},
		{"nobody's upload", "", "PATCH", data, "application/octet-stream"},
		{"an upload", "p-member", "PATCH", "/v1/projects/p/images/other/data", "application/octet-stream"},
		{"a download", "p-member", "GET", data, ""},
	} {
		s := &socket{ResponseRecorder: httptest.NewRecorder()}
		var body io.Reader = http.NoBody
		if x.method == "POST" || x.method == "PATCH" {
			body = s
		}
		r := httptest.NewRequest(x.method, x.path, body)
		r.Header.Set("Content-Type", x.contentType)
		r.Header.Set("Upload-Offset", "0")
		if x.token != "" {
			r.Header.Set("Authorization", "Bearer cairn_"+x.token)
		}
		c.rest.Handler().ServeHTTP(s, r)
		if s.wroteWith.IsZero() && s.write.IsZero() && s.Body.Len() > 0 {
			t.Errorf("%s: the answer (%d) may take for ever", x.name, s.Code)
		}
		if s.read.IsZero() && !strings.HasPrefix(x.name, "a download") {
			t.Errorf("%s: the rest of the body (after %d) may take for ever", x.name, s.Code)
		}
	}
}
