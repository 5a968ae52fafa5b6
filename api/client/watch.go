package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/cairn-cloud/cairn/api"
)

// WatchOptions say what to watch.
type WatchOptions struct {
	Project string // name or ID; "" for all that the token may see
	Labels  string
	ID      string // only this one
	// From is a place in the history: Revision of a list, or the Cursor of an
	// event by CursorText. "" means from now.
	From string
}

// Revision is the From of a watch that goes on from a list or another answer.
func Revision(r int64) string { return strconv.FormatInt(r, 10) }

// CursorText is the From of a watch that goes on after an event.
func CursorText(c api.Cursor) string {
	return strconv.FormatInt(c.Revision, 10) + "." + strconv.Itoa(c.Index)
}

// IsRelist tells that a watch cannot go on because history was compacted: list
// again, and watch from the list's revision.
func IsRelist(err error) bool { return IsCode(err, "history_compacted") }

// Watch yields every change, in order, each once. It connects again by itself
// and resumes. Bookmarks are yielded too: all before their cursor was seen. It
// ends with an error that will not go away by itself; see IsRelist.
func (c *Client) Watch(ctx context.Context, k api.Kind, o WatchOptions) iter.Seq2[api.WatchEvent, error] {
	return func(yield func(api.WatchEvent, error) bool) {
		last, failures := o.From, 0
		for ctx.Err() == nil {
			for e, err := range c.watchOnce(ctx, k, o, last) {
				if err != nil {
					if ctx.Err() == nil && permanent(err) {
						yield(api.WatchEvent{}, err)
						return
					}
					break
				}
				failures = 0
				last = e.id
				if !yield(e.WatchEvent, nil) {
					return
				}
			}
			failures++
			if c.o.Sleep(ctx, c.backoff(failures)) != nil {
				break
			}
		}
		yield(api.WatchEvent{}, ctx.Err())
	}
}

// permanent tells that connecting again is of no use.
func permanent(err error) bool {
	var p *api.Problem
	if errors.As(err, &p) {
		return p.Status < 500 && p.Status != http.StatusTooManyRequests
	}
	return !broken(err)
}

type watched struct {
	api.WatchEvent
	id string
}

func (c *Client) watchOnce(ctx context.Context, k api.Kind, o WatchOptions, from string) iter.Seq2[watched, error] {
	return func(yield func(watched, error) bool) {
		q := ListOptions{Labels: o.Labels, ID: o.ID}.query()
		q.Set("watch", "true")
		if from != "" {
			q.Set("from", from)
		}
		for e, err := range c.events(ctx, Request{Method: http.MethodGet, Path: collection(k, o.Project), Query: q}) {
			if err != nil {
				yield(watched{}, err)
				return
			}
			w, err := parseWatchEvent(k, e)
			if !yield(w, err) || err != nil {
				return
			}
		}
	}
}

func parseWatchEvent(k api.Kind, e sseEvent) (w watched, err error) {
	data := struct {
		Type   string          `json:"type"`
		Kind   string          `json:"kind"`
		Object json.RawMessage `json:"object"`
	}{}
	if err := json.Unmarshal([]byte(e.Data), &data); err != nil {
		return w, fmt.Errorf("read an event of %s: %w", k.Plural, err)
	}
	w.id, w.Type, w.Kind = e.ID, e.Event, data.Kind
	rev, index, _ := strings.Cut(e.ID, ".")
	if w.Cursor.Revision, err = strconv.ParseInt(rev, 10, 64); err != nil {
		return w, fmt.Errorf("read an event of %s: its id %q is no cursor", k.Plural, e.ID)
	}
	if index != "" {
		if w.Cursor.Index, err = strconv.Atoi(index); err != nil {
			return w, fmt.Errorf("read an event of %s: its id %q is no cursor", k.Plural, e.ID)
		}
	}
	if e.Event == api.EventBookmark {
		return w, nil
	}
	w.Object = k.New()
	if err := json.Unmarshal(data.Object, w.Object); err != nil {
		return w, fmt.Errorf("read an event of %s: %w", k.Plural, err)
	}
	return w, nil
}

// events opens a stream once and yields its events until it ends, which is an
// error too: a stream of Cairn has no end of its own.
func (c *Client) events(ctx context.Context, r Request) iter.Seq2[sseEvent, error] {
	return func(yield func(sseEvent, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		r.Stream = true
		r.Header = r.Header.Clone()
		if r.Header == nil {
			r.Header = http.Header{}
		}
		r.Header.Set("Accept", "text/event-stream")
		resp, _, err := c.once(ctx, r)
		if err != nil {
			yield(sseEvent{}, err)
			return
		}
		defer func() { _ = resp.Stream.Close() }() // what is left of it is not wanted
		for e, err := range readSSE(resp.Stream) {
			if err != nil {
				yield(sseEvent{}, &connectionError{c.host(), err})
				return
			}
			if e.Event == "error" {
				p := &api.Problem{}
				if json.Unmarshal([]byte(e.Data), p) != nil || p.Code == "" {
					p = api.NewProblem(http.StatusBadGateway, "http_502", "", "", "the stream ended with %q", e.Data)
				}
				yield(sseEvent{}, p)
				return
			}
			if !yield(e, nil) {
				return
			}
		}
		yield(sseEvent{}, &connectionError{c.host(), errStreamEnded})
	}
}

var errStreamEnded = errors.New("the stream ended")
