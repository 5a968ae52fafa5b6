package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// controllers makes a failover over servers that behave as given.
func controllers(t *testing.T, handlers ...http.HandlerFunc) *failover {
	t.Helper()
	f := &failover{}
	for _, h := range handlers {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		c, err := client.New(client.Options{Server: s.URL, Attempts: 1, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		f.clients = append(f.clients, c)
	}
	return f
}

// dead breaks the connection, as a server does that is killed.
func dead(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func answer(status int, n *int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		*n++
		if status < 300 {
			w.WriteHeader(status)
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"status":%d,"code":"x","detail":"no"}`, status)
	}
}

func TestFailover_goesToTheNextThatAnswersAndStays(t *testing.T) {
	n := 0
	f := controllers(t, dead, answer(204, &n))
	for range 3 {
		if err := f.Heartbeat(t.Context(), "h"); err != nil {
			t.Fatal(err)
		}
	}
	if n != 3 || f.current.Load() != 1 {
		t.Errorf("%d heartbeats reached the second controller, and number %d is in use", n, f.current.Load())
	}
}

func TestFailover_aRefusalIsAnAnswer(t *testing.T) {
	first, second := 0, 0
	f := controllers(t, answer(403, &first), answer(204, &second))
	var p *api.Problem
	if err := f.Heartbeat(t.Context(), "h"); !errors.As(err, &p) || p.Status != 403 || second != 0 {
		t.Errorf("got %v; the second controller was asked %d times", err, second)
	}
}

func TestFailover_endsWhereNoneAnswers(t *testing.T) {
	busy := 0
	f := controllers(t, dead, answer(503, &busy))
	if err := f.Heartbeat(t.Context(), "h"); err == nil || busy != 1 {
		t.Errorf("no controller serves, and the error is %v; the busy one was asked %d times", err, busy)
	}
}

func TestFailover_aStreamMovesOn(t *testing.T) {
	f := controllers(t, dead, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, "event: items\ndata: [{\"op\":\"synced\",\"revision\":7}]\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for items, err := range f.Desired(ctx, "h") {
		if err == nil {
			if len(items) != 1 || items[0].Revision != 7 {
				t.Errorf("got %+v", items)
			}
			return
		}
	}
	t.Error("the stream ended")
}
