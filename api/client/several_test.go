package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// several makes a client of servers that behave as given.
func several(t *testing.T, handlers ...http.HandlerFunc) *client.Client {
	t.Helper()
	var urls []string
	for _, h := range handlers {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		urls = append(urls, s.URL)
	}
	c, err := client.New(client.Options{Server: strings.Join(urls, ","), Attempts: 1, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// dead breaks the connection, as a server does that is killed.
func dead(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func answers(status int, n *atomic.Int32) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		n.Add(1)
		if status < 300 {
			w.WriteHeader(status)
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"status":%d,"code":"x","detail":"no"}`, status)
	}
}

func TestSeveral_goesToTheNextThatAnswersAndStays(t *testing.T) {
	for name, first := range map[string]http.HandlerFunc{"dead": dead, "cut off": answers(503, new(atomic.Int32))} {
		var n, before atomic.Int32
		c := several(t, func(w http.ResponseWriter, r *http.Request) { before.Add(1); first(w, r) }, answers(204, &n))
		for range 3 {
			if _, err := c.Heartbeat(t.Context(), "h"); err != nil {
				t.Fatal(err)
			}
		}
		if n.Load() != 3 || before.Load() != 1 {
			t.Errorf("%s: %d heartbeats reached the second server, and %d the first", name, n.Load(), before.Load())
		}
	}
}

func TestSeveral_aChangeGoesOnElsewhereUnderTheSameKey(t *testing.T) {
	var mu sync.Mutex
	var keys []string
	keep := func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		keys = append(keys, r.Header.Get("Idempotency-Key"))
	}
	c := several(t, func(w http.ResponseWriter, r *http.Request) {
		keep(r)
		dead(w, r)
	}, func(_ http.ResponseWriter, r *http.Request) { keep(r) })
	if _, err := c.Do(t.Context(), client.Request{Method: http.MethodPost, Path: "/v1/projects"}); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(keys) != 2 || keys[0] == "" || keys[0] != keys[1] {
		t.Errorf("the keys are %q", keys)
	}
}

func TestSeveral_aRefusalIsAnAnswer(t *testing.T) {
	var first, second atomic.Int32
	c := several(t, answers(403, &first), answers(204, &second))
	var p *api.Problem
	if _, err := c.Heartbeat(t.Context(), "h"); !errors.As(err, &p) || p.Status != 403 || second.Load() != 0 {
		t.Errorf("got %v; the second server was asked %d times", err, second.Load())
	}
}

func TestSeveral_endsWhereNoneAnswers(t *testing.T) {
	var busy atomic.Int32
	c := several(t, dead, answers(503, &busy))
	if _, err := c.Heartbeat(t.Context(), "h"); err == nil || busy.Load() != 1 {
		t.Errorf("no server serves, and the error is %v; the busy one was asked %d times", err, busy.Load())
	}
}

func TestSeveral_aStreamMovesOn(t *testing.T) {
	c := several(t, dead, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, "event: items\ndata: [{\"op\":\"synced\",\"revision\":7}]\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for items, err := range c.Desired(ctx, "h", nil) {
		if err == nil {
			if len(items) != 1 || items[0].Revision != 7 {
				t.Errorf("got %+v", items)
			}
			return
		}
	}
	t.Error("the stream ended")
}

// TestDo_aProblemThatBreaksOffIsNoAnswer: what a server that is killed was saying is
// asked for again, and not taken for another's word.
func TestDo_aProblemThatBreaksOffIsNoAnswer(t *testing.T) {
	var calls atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := calls.Add(1)
		w.Header().Set("Content-Type", "application/problem+json")
		body := `{"code":"name_taken","status":409}`
		if n == 1 {
			w.Header().Set("Content-Length", "1000")
			body = body[:10]
		}
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, body)
	}))
	defer s.Close()
	c, err := client.New(client.Options{Server: s.URL, Sleep: func(context.Context, time.Duration) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Do(t.Context(), client.Request{Method: http.MethodGet, Path: "/v1/hosts"}); !client.IsCode(err, "name_taken") || calls.Load() != 2 {
		t.Errorf("%v, after %d calls", err, calls.Load())
	}
}
