package rest

import (
	"context"
	"iter"

	"github.com/cairn-cloud/cairn/api"
)

// watch streams every change of what the filter shows, after the cursor that
// the client gives, or from now on.
func (c *call) watch(f filter) error {
	after, err := c.watchFrom()
	if err != nil {
		return err
	}
	if err := c.reached(after.Revision); err != nil {
		return err
	}
	s := c.stream()
	r := c.reader(f.kind)
	last := after // all up to here was sent or is not for this client
	caughtUp := false
	each := func(e api.WatchEvent) error {
		if e.Type == api.EventBookmark {
			last = later(last, e.Cursor)
			if caughtUp {
				return nil // the next heartbeat says so
			}
			caughtUp = true
			return s.bookmark(last)
		}
		last = e.Cursor
		e, ok := c.choose(f, r, e)
		if !ok {
			return nil
		}
		return s.send(e.Type, formatWatchCursor(last), e)
	}
	tick := func() error {
		if err := s.stillAllowed(); err != nil {
			return err
		}
		return s.bookmark(last)
	}
	return s.end(pump(s, func(ctx context.Context) iter.Seq2[api.WatchEvent, error] {
		return c.backend.Watch(ctx, r.watched(), after)
	}, each, tick))
}

// choose judges one change: it is passed on, dropped or, when it took the
// object out of the filter, made a delete.
func (c *call) choose(f filter, r reader, e api.WatchEvent) (api.WatchEvent, bool) {
	changed := e.Object
	e, ok := r.event(e)
	if !ok || e.Object == nil || !c.shows(f, e.Object) {
		return e, false
	}
	if f.labels.matches(e.Object.GetMeta().Labels) {
		return e, true
	}
	if e.Type == api.EventDelete {
		return e, false // it was deleted for this client when it stopped matching
	}
	m := changed.GetMeta()
	// Labels change with the spec record only, and a new object was in no list:
	// in all other cases the client cannot have it.
	if e.Cursor.Revision != m.Revision || m.CreatedAt.Equal(m.UpdatedAt) {
		return e, false
	}
	e.Type = api.EventDelete
	return e, true
}

func (s *stream) bookmark(at api.Cursor) error {
	return s.send(api.EventBookmark, formatWatchCursor(at), struct {
		Type string `json:"type"`
		Kind string `json:"kind"`
	}{Type: api.EventBookmark})
}

// watchFrom is where the client was, by the header that browsers send when they
// connect again or by ?from=; otherwise now.
func (c *call) watchFrom() (api.Cursor, error) {
	name, text := "Last-Event-ID", c.request().Header.Get("Last-Event-ID")
	if text == "" {
		name, text = "from", c.query("from")
	}
	if text == "" {
		return api.Cursor{Revision: c.view.Revision(), Index: wholeRevision}, nil
	}
	at, ok := parseWatchCursor(text)
	if !ok {
		return at, api.NewProblem(400, "invalid_parameter", name, "give the revision of a list, or the id of the last event", "%q is not a place in the history", text)
	}
	return at, nil
}

// reached refuses a place that the store never had, such as one from before a
// restore or of another cloud: the client would be told of nothing, without knowing it.
func (c *call) reached(revision int64) error {
	if revision <= c.view.Revision() {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.context(), c.catchUp)
	defer cancel()
	if _, err := c.backend.View(ctx, revision); err != nil {
		if c.context().Err() == nil && ctx.Err() != nil {
			return api.NewProblem(410, "history_compacted", "", "list again, and watch from the revision of the list",
				"the store is at revision %d and has no %d: that is of another cloud, or from before a restore", c.view.Revision(), revision)
		}
		return err
	}
	return nil
}

func later(a, b api.Cursor) api.Cursor {
	if b.Revision > a.Revision || b.Revision == a.Revision && b.Index > a.Index {
		return b
	}
	return a
}
