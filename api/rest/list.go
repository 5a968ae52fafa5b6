package rest

import (
	"iter"
	"net/http"
	"slices"
	"strconv"

	"github.com/cairn-cloud/cairn/api"
)

// Limits of a page.
const (
	pageDefault = 100
	pageMax     = 1000
)

// filter is what a list or watch shows.
type filter struct {
	kind    api.Kind
	project string // ID; "" for all that the caller may see
	id      string // this object alone
	labels  selector
}

func (c *call) filter(k api.Kind) (f filter, err error) {
	f.kind, f.id = k, c.query("id")
	if f.project, err = c.projectID(k, api.VerbList); err != nil {
		return f, err
	}
	if err := c.authorize(k, api.VerbList); err != nil {
		return f, err
	}
	f.labels, err = parseSelector(c.query("labels"))
	return f, err
}

// shows tells whether the object is in the filter, labels aside.
func (c *call) shows(f filter, o api.Object) bool {
	m := o.GetMeta()
	return (f.id == "" || m.ID == f.id) && (f.project == "" || m.Project == f.project) && c.visible(f.kind, o)
}

func (c *call) list(k api.Kind) error {
	f, err := c.filter(k)
	if err != nil {
		return err
	}
	watch, err := c.flag("watch")
	if err != nil {
		return err
	}
	if watch {
		return c.watch(f)
	}
	limit, err := c.number("limit", pageDefault, 1, pageMax)
	if err != nil {
		return err
	}
	after, err := c.resume(f)
	if err != nil {
		return err
	}
	page := struct {
		Items    []api.Object `json:"items"`
		Revision int64        `json:"revision"`
		Next     string       `json:"next_cursor,omitempty"`
	}{Items: []api.Object{}, Revision: c.view.Revision()}
	for o := range c.candidates(f, after) {
		if !c.shows(f, o) || !f.labels.matches(o.GetMeta().Labels) {
			continue
		}
		if len(page.Items) == int(limit) {
			last := page.Items[limit-1].GetMeta().ID
			page.Next = pageCursor{page.Revision, last, c.digest(f)}.String()
			c.views.keep(c.view)
			break
		}
		page.Items = append(page.Items, o)
	}
	c.header().Set(headerRevision, strconv.FormatInt(page.Revision, 10))
	return c.json(http.StatusOK, page)
}

// candidates yields, in order of ID, at least what the filter shows, reading
// no more of the view than it must.
func (c *call) candidates(f filter, after string) iter.Seq[api.Object] {
	r := c.reader(f.kind)
	project := f.project
	if f.id != "" {
		return func(yield func(api.Object) bool) {
			if o := r.lookup(c.view, project, f.id); o != nil && o.GetMeta().ID > after {
				yield(o)
			}
		}
	}
	if project == "" && f.kind.Scope == api.ScopeProject && !c.who.Cloud {
		project = c.who.Project
		if f.kind.Shared && project != c.systemProject() {
			// Two lists by ID, merged: pages are in order of ID.
			own := slices.Collect(r.list(c.view, project, after))
			shared := slices.Collect(r.list(c.view, c.systemProject(), after))
			return merge(own, shared)
		}
	}
	return r.list(c.view, project, after)
}

func merge(a, b []api.Object) iter.Seq[api.Object] {
	return func(yield func(api.Object) bool) {
		for len(a) > 0 || len(b) > 0 {
			from := &a
			if len(a) == 0 || len(b) > 0 && b[0].GetMeta().ID < a[0].GetMeta().ID {
				from = &b
			}
			if !yield((*from)[0]) {
				return
			}
			*from = (*from)[1:]
		}
	}
}

// digest of what is listed, for whom: a cursor is good for that alone.
func (c *call) digest(f filter) string {
	return filterDigest(f.kind.Name, f.project, f.id, c.query("labels"), c.who.Project, strconv.FormatBool(c.who.Cloud))
}

// resume puts the view of the cursor's revision in place.
func (c *call) resume(f filter) (after string, err error) {
	text := c.query("cursor")
	if text == "" {
		return "", nil
	}
	p, ok := parsePageCursor(text)
	if !ok || p.Filter != c.digest(f) {
		return "", api.NewProblem(400, "invalid_cursor", "cursor", "use next_cursor as it was given, with the same filter", "the cursor does not belong to this list")
	}
	if p.Revision == c.view.Revision() {
		return p.After, nil
	}
	v := c.views.get(p.Revision)
	if v == nil {
		return "", api.NewProblem(410, "cursor_expired", "cursor", "list again from the start", "the list at revision %d is no longer at hand", p.Revision)
	}
	c.view = v
	return p.After, nil
}

func (c *call) number(name string, absent, least, most int64) (int64, error) {
	v := c.query(name)
	if v == "" {
		return absent, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < least || n > most {
		return 0, api.NewProblem(400, "invalid_parameter", name, "", "%s=%q is not a number from %d to %d", name, v, least, most)
	}
	return n, nil
}
