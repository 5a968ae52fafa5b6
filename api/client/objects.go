package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"reflect"
	"strconv"

	"github.com/cairn-cloud/cairn/api"
)

// Result is the answer to a request about one resource.
type Result struct {
	Object    api.Object   // nil when it is gone
	Operation string       // ID of the operation to follow; "" when nothing is left to do
	Replayed  bool         // the idempotency key was seen before
	Preview   *api.Preview // of a dry run
	Revision  int64        // of the store: watch from here
}

// WriteOptions of a change.
type WriteOptions struct {
	IdempotencyKey string // default: a random one
	IfMatch        int64  // the revision that the resource must have
	DryRun         bool
	Force          bool // of a deletion
}

func (w WriteOptions) request(method, path string, body any) (Request, error) {
	r := Request{Method: method, Path: path, Header: http.Header{}, Query: url.Values{}}
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return r, fmt.Errorf("%s %s: %w", method, path, err)
		}
		r.Body = b
	}
	if w.IdempotencyKey != "" {
		r.Header.Set("Idempotency-Key", w.IdempotencyKey)
	}
	if w.IfMatch != 0 {
		r.Header.Set("If-Match", `"`+strconv.FormatInt(w.IfMatch, 10)+`"`)
	}
	if w.DryRun {
		r.Query.Set("dry_run", "true")
	}
	if w.Force {
		r.Query.Set("force", "true")
	}
	return r, nil
}

// collection is the path of a kind's resources. An empty project means, for
// reading, all projects that the token may see.
func collection(k api.Kind, project string) string {
	if k.Scope == api.ScopeProject && project != "" {
		return "/v1/projects/" + url.PathEscape(project) + "/" + k.Plural
	}
	return "/v1/" + k.Plural
}

func member(k api.Kind, project, ref string) string {
	return collection(k, project) + "/" + url.PathEscape(ref)
}

// Get reads a resource by name or ID.
func (c *Client) Get(ctx context.Context, k api.Kind, project, ref string) (Result, error) {
	r, err := c.Do(ctx, Request{Method: http.MethodGet, Path: member(k, project, ref)})
	if err != nil {
		return Result{}, err
	}
	return result(k, r)
}

// Create makes a resource. Its project is the one in its Meta, by name or ID.
func (c *Client) Create(ctx context.Context, o api.Object, w WriteOptions) (Result, error) {
	k, ok := api.KindOf(o)
	if !ok {
		return Result{}, fmt.Errorf("create: %T is no kind of resource", o)
	}
	m := o.GetMeta()
	return c.CreateFrom(ctx, k, m.Project, given{m.Name, m.Labels, m.Protected, o.SpecPtr()}, w)
}

// given is what of a new resource its maker says; all else is Cairn's to say.
type given struct {
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels,omitempty"`
	Protected bool              `json:"protected,omitempty"`
	Spec      any               `json:"spec"`
}

// CreateFrom makes a resource from anything that marshals to its JSON, such as
// a json.RawMessage out of a file.
func (c *Client) CreateFrom(ctx context.Context, k api.Kind, project string, body any, w WriteOptions) (Result, error) {
	return c.change(ctx, k, project, http.MethodPost, collection(k, project), "", body, w)
}

// Patch changes a resource by a merge patch (RFC 7396): what is absent stays,
// null removes.
func (c *Client) Patch(ctx context.Context, k api.Kind, project, ref string, patch any, w WriteOptions) (Result, error) {
	return c.change(ctx, k, project, http.MethodPatch, member(k, project, ref), "application/merge-patch+json", patch, w)
}

// Delete deletes a resource. The result has no object when it is gone at once.
func (c *Client) Delete(ctx context.Context, k api.Kind, project, ref string, w WriteOptions) (Result, error) {
	return c.change(ctx, k, project, http.MethodDelete, member(k, project, ref), "", nil, w)
}

// Action does one of the kind's actions; input may be nil.
func (c *Client) Action(ctx context.Context, k api.Kind, project, ref, action string, input any, w WriteOptions) (Result, error) {
	return c.change(ctx, k, project, http.MethodPost, member(k, project, ref)+"/"+url.PathEscape(action), "", input, w)
}

func (c *Client) change(ctx context.Context, k api.Kind, project, method, path, contentType string, body any, w WriteOptions) (Result, error) {
	if k.Scope == api.ScopeProject && project == "" {
		return Result{}, api.NewProblem(http.StatusBadRequest, "missing_field", "project", "name the project", "a change of %s happens in a project", k.Plural)
	}
	r, err := w.request(method, path, body)
	if err != nil {
		return Result{}, err
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	resp, err := c.Do(ctx, r)
	if err != nil {
		return Result{}, err
	}
	if w.DryRun {
		return dryRun(k, resp)
	}
	return result(k, resp)
}

func result(k api.Kind, r *Response) (Result, error) {
	res := Result{Operation: r.Header.Get("Operation"), Replayed: r.Header.Get("Idempotency-Replayed") == "true"}
	res.Revision, _ = strconv.ParseInt(r.Header.Get("Cairn-Revision"), 10, 64)
	if len(r.Body) == 0 {
		return res, nil
	}
	o := k.New()
	if err := json.Unmarshal(r.Body, o); err != nil {
		return res, fmt.Errorf("read the answer about %s: %w", k.Name, err)
	}
	res.Object = o
	return res, nil
}

func dryRun(k api.Kind, r *Response) (Result, error) {
	answer := struct {
		Object  json.RawMessage `json:"object"`
		Preview *api.Preview    `json:"preview"`
	}{}
	if err := json.Unmarshal(r.Body, &answer); err != nil {
		return Result{}, fmt.Errorf("read the preview of %s: %w", k.Name, err)
	}
	res := Result{Preview: answer.Preview}
	if len(answer.Object) > 0 && string(answer.Object) != "null" {
		res.Object = k.New()
		if err := json.Unmarshal(answer.Object, res.Object); err != nil {
			return Result{}, fmt.Errorf("read the preview of %s: %w", k.Name, err)
		}
	}
	return res, nil
}

// ListOptions say what to list.
type ListOptions struct {
	Project string // name or ID; "" for all that the token may see
	Labels  string // a=b,c!=d,e
	ID      string // only this one
	Limit   int    // of a page; 0: the server's default
}

func (o ListOptions) query() url.Values {
	q := url.Values{}
	if o.Labels != "" {
		q.Set("labels", o.Labels)
	}
	if o.ID != "" {
		q.Set("id", o.ID)
	}
	if o.Limit != 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	return q
}

// Page is a part of a list. All pages of a list show one revision.
type Page struct {
	Items    []api.Object
	Revision int64
	Next     string // "" on the last one
}

// ListPage reads one page; cursor is "" for the first.
func (c *Client) ListPage(ctx context.Context, k api.Kind, o ListOptions, cursor string) (Page, error) {
	q := o.query()
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	r, err := c.Do(ctx, Request{Method: http.MethodGet, Path: collection(k, o.Project), Query: q})
	if err != nil {
		return Page{}, err
	}
	items := reflect.New(reflect.SliceOf(reflect.TypeOf(k.New())))
	answer := struct {
		Items    any    `json:"items"`
		Revision int64  `json:"revision"`
		Next     string `json:"next_cursor"`
	}{Items: items.Interface()}
	if err := json.Unmarshal(r.Body, &answer); err != nil {
		return Page{}, fmt.Errorf("read the list of %s: %w", k.Plural, err)
	}
	p := Page{Revision: answer.Revision, Next: answer.Next, Items: make([]api.Object, items.Elem().Len())}
	for i := range p.Items {
		p.Items[i] = items.Elem().Index(i).Interface().(api.Object)
	}
	return p, nil
}

// List yields all resources, page by page. An error ends it; one of the code
// cursor_expired means that it took so long that the list has to begin anew.
func (c *Client) List(ctx context.Context, k api.Kind, o ListOptions) iter.Seq2[api.Object, error] {
	return func(yield func(api.Object, error) bool) {
		for cursor := ""; ; {
			p, err := c.ListPage(ctx, k, o, cursor)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, item := range p.Items {
				if !yield(item, nil) {
					return
				}
			}
			if cursor = p.Next; cursor == "" {
				return
			}
		}
	}
}

// ListAll reads a whole list and the revision that it shows, from which to
// watch. It begins anew when the revision was lost on the way.
func (c *Client) ListAll(ctx context.Context, k api.Kind, o ListOptions) (items []api.Object, revision int64, err error) {
	for attempt := 1; ; attempt++ {
		items, revision, err = c.listOnce(ctx, k, o)
		if !IsCode(err, "cursor_expired") || attempt >= c.o.Attempts {
			return items, revision, err
		}
	}
}

func (c *Client) listOnce(ctx context.Context, k api.Kind, o ListOptions) (items []api.Object, revision int64, err error) {
	for cursor := ""; ; {
		p, err := c.ListPage(ctx, k, o, cursor)
		if err != nil {
			return nil, 0, err
		}
		items, revision = append(items, p.Items...), p.Revision
		if cursor = p.Next; cursor == "" {
			return items, revision, nil
		}
	}
}

var errNoKind = errors.New("no kind of resource")

// kindFor finds the kind of a type such as *api.Instance.
func kindFor[T api.Object]() (api.Kind, error) {
	var zero T
	k, ok := api.KindOf(zero)
	if !ok {
		return k, fmt.Errorf("%T: %w", zero, errNoKind)
	}
	return k, nil
}
