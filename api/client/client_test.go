package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cairn-cloud/cairn/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server and a client that does not wait between attempts.
func serve(t *testing.T, h http.HandlerFunc) (*Client, *[]time.Duration) {
	t.Helper()
	s := httptest.NewServer(h)
	var waits []time.Duration
	c, err := New(Options{Server: s.URL, Token: "t", Jitter: func() float64 { return 1 }, Sleep: func(ctx context.Context, d time.Duration) error {
		waits = append(waits, d)
		return ctx.Err()
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		s.CloseClientConnections()
		s.Close()
	})
	return c, &waits
}

func problem(w http.ResponseWriter, p *api.Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // a broken connection fails the test elsewhere
}

func TestNew_refusesWhatCannotBeMeant(t *testing.T) {
	pin := strings.Repeat("ab", 32)
	for name, o := range map[string]Options{
		"no server":          {},
		"no scheme":          {Server: "cairn.example:7443"},
		"another scheme":     {Server: "ftp://cairn.example"},
		"token in the clear": {Server: "http://cairn.example", Token: "t"},
		"half a pin":         {Server: "https://cairn.example", CAPin: "abcd"},
		"a CA that is none":  {Server: "https://cairn.example", CA: []byte("x")},
		"a CA and a pin":     {Server: "https://cairn.example", CA: []byte("x"), CAPin: pin},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for _, ok := range []Options{{Server: "http://127.0.0.1:1", Token: "t"}, {Server: "http://localhost", Token: "t"}, {Server: "https://cairn.example/", CAPin: pin}} {
		if _, err := New(ok); err != nil {
			t.Errorf("%+v: %v", ok, err)
		}
	}
}

func TestDo_repeatsAChangeWithOneKey(t *testing.T) {
	var keys []string
	c, waits := serve(t, func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		b, err := io.ReadAll(r.Body)
		if err != nil || string(b) != `{"name":"x"}` {
			t.Errorf("attempt %d: %q %v", len(keys), b, err)
		}
		switch len(keys) {
		case 1:
			problem(w, api.NewProblem(503, "unavailable", "", "", "no leader"))
		case 2:
			w.Header().Set("Retry-After", "7")
			problem(w, api.NewProblem(503, "unavailable", "", "", "no leader"))
		case 3:
			panic(http.ErrAbortHandler)
		default:
			w.Header().Set("Cairn-Revision", "12")
			_, _ = io.WriteString(w, `{"id":"prj_1","name":"x"}`)
		}
	})
	k, _ := api.KindByName(api.KindProject)
	r, err := c.CreateFrom(context.Background(), k, "", json.RawMessage(`{"name":"x"}`), WriteOptions{})
	if err != nil || r.Object.GetMeta().ID != "prj_1" || r.Revision != 12 {
		t.Fatalf("%+v %v", r, err)
	}
	if len(keys) != 4 || keys[0] == "" || keys[0] != keys[3] {
		t.Errorf("keys %q", keys)
	}
	// The transport repeats by itself, at once, what broke on a connection that
	// had served before: it knows the header.
	if got := fmt.Sprint(*waits); got != "[100ms 7s]" {
		t.Errorf("waited %s", got)
	}
}

func TestDo_givesUpAndSaysWhy(t *testing.T) {
	var n atomic.Int32
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		switch r.URL.Path {
		case "/proxy":
			http.Error(w, "upstream is gone", http.StatusBadGateway)
		case "/moved":
			http.Redirect(w, r, "http://127.0.0.2/", http.StatusFound)
		default:
			problem(w, api.NewProblem(409, "name_taken", "name", "choose another", "x is taken"))
		}
	})
	ctx := context.Background()
	_, err := c.Do(ctx, Request{Method: "GET", Path: "/proxy"})
	if !IsCode(err, "http_502") || n.Load() != 5 || !strings.Contains(err.Error(), "upstream is gone") {
		t.Errorf("after %d attempts: %v", n.Load(), err)
	}
	n.Store(0)
	_, err = c.Do(ctx, Request{Method: "POST", Path: "/x", Body: []byte("{}")})
	if !IsCode(err, "name_taken") || n.Load() != 1 {
		t.Errorf("after %d attempts: %v", n.Load(), err)
	}
	if _, err = c.Do(ctx, Request{Method: "GET", Path: "/moved"}); err == nil || !strings.Contains(err.Error(), "redirects") {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err = c.Do(ended, Request{Method: "GET", Path: "/x"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestDo_escapesNamesInPaths(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.EscapedPath()) })
	k, _ := api.KindByName(api.KindInstance)
	r, err := c.Do(context.Background(), Request{Method: "GET", Path: member(k, "a/b", "c?d e")})
	if err != nil || string(r.Body) != "/v1/projects/a%2Fb/instances/c%3Fd%20e" {
		t.Errorf("%s %v", r.Body, err)
	}
}

func TestChange_ofAProjectsKindWantsTheProject(t *testing.T) {
	c, _ := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("asked") })
	i := &api.Instance{}
	i.Name = "x"
	if _, err := c.Create(context.Background(), i, WriteOptions{}); !IsCode(err, "missing_field") {
		t.Error(err)
	}
}

// TestWatch_resumesByTheLastEvent serves a stream that breaks after each event.
func TestWatch_resumesByTheLastEvent(t *testing.T) {
	var from []string
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		from = append(from, r.URL.Query().Get("from"))
		switch len(from) {
		case 1, 2, 3:
			n := len(from)
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprintf(w, "id: %d.1\nevent: put\ndata: {\"type\":\"put\",\"kind\":\"network\",\"object\":{\"name\":\"n%d\"}}\n\nid: 99\nevent: put\nda", n, n)
		case 4:
			problem(w, api.NewProblem(503, "unavailable", "", "", "no leader"))
		default:
			problem(w, api.NewProblem(410, "history_compacted", "", "", "it is gone"))
		}
	})
	k, _ := api.KindByName(api.KindNetwork)
	var got []string
	var last error
	for e, err := range c.Watch(context.Background(), k, WatchOptions{From: Revision(0)}) {
		if err != nil {
			last = err
			continue
		}
		got = append(got, e.Object.GetMeta().Name+"@"+CursorText(e.Cursor))
	}
	if strings.Join(got, " ") != "n1@1.1 n2@2.1 n3@3.1" || strings.Join(from, " ") != "0 1.1 2.1 3.1 3.1" || !IsRelist(last) {
		t.Errorf("%v from %v, ended by %v", got, from, last)
	}
}

func TestWatch_endsByAnErrorInTheStream(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "event: error\ndata: {\"code\":\"history_compacted\",\"status\":410}\n\n")
	})
	k, _ := api.KindByName(api.KindNetwork)
	for _, err := range c.Watch(context.Background(), k, WatchOptions{From: "5"}) {
		if !IsRelist(err) {
			t.Error(err)
		}
	}
}

func TestWaitFor_readsAgainWhereHistoryIsGone(t *testing.T) {
	reads := 0
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") != "" {
			problem(w, api.NewProblem(410, "history_compacted", "", "", "it is gone"))
			return
		}
		reads++
		w.Header().Set("Cairn-Revision", "5")
		fmt.Fprintf(w, `{"id":"net_1","name":"n","generation":%d}`, reads)
	})
	n, err := WaitFor(context.Background(), c, "p", "n", func(n *api.Network) (bool, error) { return n.Generation == 3, nil })
	if err != nil || n.Generation != 3 {
		t.Errorf("%+v %v", n, err)
	}
}

func TestListAll_beginsAnewWhereItsRevisionIsLost(t *testing.T) {
	lists := 0
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Get("cursor") == "":
			lists++
			fmt.Fprintf(w, `{"items":[{"name":"a"}],"revision":%d,"next_cursor":"c"}`, lists)
		case lists == 1:
			problem(w, api.NewProblem(410, "cursor_expired", "cursor", "", "it is gone"))
		default:
			fmt.Fprintf(w, `{"items":[{"name":"b"}],"revision":%d}`, lists)
		}
	})
	k, _ := api.KindByName(api.KindNetwork)
	items, revision, err := c.ListAll(context.Background(), k, ListOptions{})
	if err != nil || len(items) != 2 || revision != 2 {
		t.Errorf("%d items at %d: %v", len(items), revision, err)
	}
}

func TestDesired_connectsAgainAndTellsOfTheLoss(t *testing.T) {
	n := 0
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n++
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "event: bookmark\ndata: []\n\nevent: items\ndata: [{\"op\":\"synced\",\"revision\":%d}]\n\n", n)
	})
	var got []string
	for items, err := range c.Desired(context.Background(), "hst_1", nil) {
		if err != nil {
			got = append(got, "lost")
			continue
		}
		got = append(got, fmt.Sprintf("%s %d", items[0].Op, items[0].Revision))
		if n == 3 {
			break
		}
	}
	if strings.Join(got, ", ") != "synced 1, lost, synced 2, lost, synced 3" {
		t.Error(got)
	}
}

func TestUpload_doesNotRepeatWhatTheServerRefuses(t *testing.T) {
	patches := 0
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.Header().Set("Upload-Offset", "0")
			return
		}
		patches++
		problem(w, api.NewProblem(422, "invalid_value", "", "", "it has a backing file"))
	})
	err := c.Upload(context.Background(), "p", "i", strings.NewReader("x"), nil)
	if !IsCode(err, "invalid_value") || patches != 1 {
		t.Errorf("%d times: %v", patches, err)
	}
}

func TestUpload_givesUpWhenNothingArrives(t *testing.T) {
	var patches atomic.Int64
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.Header().Set("Upload-Offset", "0")
			return
		}
		patches.Add(1)
		panic(http.ErrAbortHandler)
	})
	err := c.Upload(context.Background(), "p", "i", strings.NewReader("x"), nil)
	if err == nil || patches.Load() != 5 {
		t.Errorf("%d times: %v", patches.Load(), err)
	}
}

func TestParseJoinSecret(t *testing.T) {
	pin := strings.Repeat("ab", 32)
	s, err := ParseJoinSecret(" cjt_jtk_1.abc." + pin + "\n")
	if err != nil || s.TokenID != "jtk_1" || s.CAPin != pin {
		t.Errorf("%+v %v", s, err)
	}
	for _, bad := range []string{"", "cjt_", "cairn_x", "cjt_a.b", "cjt_a.b.c", "cjt_.b." + pin, "cjt_a.b." + pin + ".d"} {
		if _, err := ParseJoinSecret(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
