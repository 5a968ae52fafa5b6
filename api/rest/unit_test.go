package rest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// TestMergePatch holds the examples of RFC 7396, appendix A.
func TestMergePatch_asTheRFCSays(t *testing.T) {
	for _, x := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		var v [3]any
		for i, s := range x {
			var err error
			if v[i], err = parseJSON([]byte(s)); err != nil {
				t.Fatal(err)
			}
		}
		if got := mergePatch(v[0], v[1]); !reflect.DeepEqual(got, v[2]) {
			b, _ := json.Marshal(got)
			t.Errorf("%s with %s is %s, want %s", x[0], x[1], b, x[2])
		}
	}
}

// onlyRevision is a view that has nothing but its revision.
type onlyRevision struct {
	api.View
	revision int64
}

func (v onlyRevision) Revision() int64                          { return v.revision }
func (v onlyRevision) Lookup(string, string, string) api.Object { return nil }
func (v onlyRevision) Owner(string) string                      { return "" }
func (v onlyRevision) Get(string, string) api.Object            { return nil }

func TestViewCache_keepsTheRecentOnes(t *testing.T) {
	now := time.Unix(0, 0)
	c := newViewCache(func() time.Time { return now })
	for r := range int64(viewsKept) {
		c.keep(onlyRevision{revision: r + 1})
		now = now.Add(time.Second)
	}
	if c.get(1) == nil { // and now it is the most recent one
		t.Fatal("the first was lost while there was room")
	}
	now = now.Add(time.Second)
	c.keep(onlyRevision{revision: 1000})
	if c.get(1) == nil || c.get(1000) == nil || c.get(2) != nil || len(c.views) != viewsKept {
		t.Errorf("%d are kept; the one unused for longest should have gone", len(c.views))
	}
	now = now.Add(viewKeptFor + time.Second)
	if c.get(1000) != nil || len(c.views) != 0 {
		t.Errorf("%d are kept beyond their time", len(c.views))
	}
}

// slow answers a view at once, and later ones after the gate opens.
type slow struct {
	Backend
	calls int
	gate  <-chan time.Time
}

func (s *slow) View(context.Context, int64) (api.View, error) {
	if s.calls++; s.calls > 1 {
		<-s.gate
	}
	return onlyRevision{revision: 1}, nil
}

// TestDeadline_endsWithItsRequest: under HTTP/1.1 a deadline belongs to the
// connection, and would cut the answer to a later request.
func TestDeadline_endsWithItsRequest(t *testing.T) {
	b := &slow{}
	s, err := New(Options{Backend: b})
	if err != nil {
		t.Fatal(err)
	}
	s.timeout = 50 * time.Millisecond
	h := httptest.NewServer(s.Handler())
	defer h.Close()
	defer h.Client().CloseIdleConnections()
	get := func(path string) string {
		t.Helper()
		r, err := h.Client().Get(h.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if r.ProtoMajor != 1 || r.StatusCode == http.StatusInternalServerError {
			t.Fatalf("%s %d %s", r.Proto, r.StatusCode, body)
		}
		return string(body)
	}
	get("/v1/networks") // 401, and a deadline
	gate := time.NewTimer(100 * time.Millisecond)
	defer gate.Stop()
	b.gate = gate.C
	if got := get("/healthz"); got != "ok\n" {
		t.Errorf("%q", got)
	}
}
