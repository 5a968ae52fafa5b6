package rest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/cairn-cloud/cairn/api"
)

// write reads what every change has: who, dry run, idempotency, precondition.
func (c *call) write(body []byte) (api.Write, error) {
	w := api.Write{Principal: c.who}
	var err error
	if w.DryRun, err = c.flag("dry_run"); err != nil {
		return w, err
	}
	if w.IfMatch, err = ifMatch(c.request().Header.Values("If-Match")); err != nil {
		return w, err
	}
	if w.IdempotencyKey, err = idempotencyKey(c.request().Header.Values(headerIdempotencyKey)); err != nil {
		return w, err
	}
	if w.IdempotencyKey != "" {
		w.Fingerprint = fingerprint(c.request().Method, c.request().URL, body)
	}
	return w, nil
}

// fingerprint tells one request from another under the same idempotency key.
func fingerprint(method string, u *url.URL, body []byte) string {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(method), []byte(u.Path), []byte(u.Query().Encode()), bytes.TrimSpace(body)} {
		h.Write([]byte(strconv.Itoa(len(part)) + ":"))
		h.Write(part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func idempotencyKey(values []string) (string, error) {
	if len(values) == 0 {
		return "", nil
	}
	k := strings.Trim(values[0], `"`)
	bad := len(values) > 1 || len(k) == 0 || len(k) > 128
	for _, ch := range []byte(k) {
		bad = bad || ch <= ' ' || ch > '~'
	}
	if bad {
		return "", api.NewProblem(400, "invalid_header", headerIdempotencyKey, "send one random word, such as a UUID", "an idempotency key is 1 to 128 printable characters without spaces")
	}
	return k, nil
}

// ifMatch reads the revision of an ETag; 0 means any.
func ifMatch(values []string) (int64, error) {
	if len(values) == 0 || len(values) == 1 && strings.TrimSpace(values[0]) == "*" {
		return 0, nil
	}
	v := strings.TrimSpace(values[0])
	if len(values) == 1 && len(v) > 2 && v[0] == '"' && v[len(v)-1] == '"' {
		if r, err := strconv.ParseInt(v[1:len(v)-1], 10, 64); err == nil && r > 0 {
			return r, nil
		}
	}
	return 0, api.NewProblem(400, "invalid_header", "If-Match", `send the ETag as it was given, such as "123" with its quotes`, "%q is not an ETag of Cairn", strings.Join(values, ", "))
}

// fields reads a JSON object, judges it by the schema and takes out what is
// read-only. Without a body it is empty.
func (c *call) fields(body []byte, chk *checker, check func(v any)) (map[string]any, error) {
	if body == nil {
		body = []byte("{}")
	}
	v, err := parseJSON(body)
	if err != nil {
		return nil, err
	}
	check(v)
	if err := chk.faults.Err(); err != nil {
		return nil, err
	}
	m, _ := v.(map[string]any)
	return m, nil
}

func (c *call) create(k api.Kind) error {
	p, err := c.project(k, api.VerbCreate)
	if err != nil {
		return err
	}
	if err := c.authorize(k, api.VerbCreate); err != nil {
		return err
	}
	body, err := c.readBody(maxBody, typeJSON)
	if err != nil {
		return err
	}
	w, err := c.write(body)
	if err != nil {
		return err
	}
	o, projectName := k.New(), ""
	if p != nil {
		o.GetMeta().Project, projectName = p.ID, p.Name
	}
	chk := &checker{schemas: c.schemas}
	m, err := c.fields(body, chk, func(v any) {
		chk.check("", c.schemas.kinds[k.Name].resource, v)
		if f, err := readOnlyFaults(unset(chk.given, o.GetMeta().Project, projectName), o); err == nil {
			chk.faults = append(chk.faults, f...)
		}
	})
	if err != nil {
		return err
	}
	if err := decode(m, o); err != nil {
		return err
	}
	if err := complete(o); err != nil {
		return err
	}
	done, err := c.backend.Create(c.context(), w, o)
	if err != nil {
		return err
	}
	return c.written(k, w, done, http.StatusCreated)
}

// complete is what a resource goes through before it is admitted.
func complete(o api.Object) error {
	o.Default()
	return o.Validate()
}

func (c *call) patch(k api.Kind) error {
	id, body, w, err := c.changeOf(k, typeMergePatch, typeJSON)
	if err != nil {
		return err
	}
	chk := &checker{schemas: c.schemas, patch: true}
	m, err := c.fields(body, chk, func(v any) { chk.check("", c.schemas.kinds[k.Name].resource, v) })
	if err != nil {
		return err
	}
	return c.update(k, id, w, func(o api.Object) error {
		f, err := readOnlyFaults(chk.given, o)
		if err != nil {
			return err
		}
		if err := f.Err(); err != nil {
			return err
		}
		return patchObject(k, o, m)
	})
}

// changeOf reads which object a change with a body is about, and what it says.
func (c *call) changeOf(k api.Kind, types ...string) (id string, body []byte, w api.Write, err error) {
	o, missing := c.target(k, api.VerbUpdate)
	if missing != nil && c.request().Header.Get(headerIdempotencyKey) == "" {
		return "", nil, w, missing
	}
	if body, err = c.readBody(maxBody, types...); err != nil {
		return "", nil, w, err
	}
	if w, err = c.write(body); err != nil {
		return "", nil, w, err
	}
	id, err = c.idOf(k, w, o, missing)
	return id, body, w, err
}

// idOf is the ID of the target. Where it is not there, it may be that this very request
// was carried out before, and the object was removed since: the backend remembers
// by the key, which belongs to this caller.
func (c *call) idOf(k api.Kind, w api.Write, target api.Object, missing error) (string, error) {
	id := c.param("id")
	switch {
	case missing == nil:
		return target.GetMeta().ID, nil
	case w.IdempotencyKey == "" || mayChange(c.who, k) != "" || present(c.view.Get(k.Name, id)) != nil:
		return "", missing
	}
	return id, nil
}

func (c *call) act(k api.Kind, a api.Action) error {
	id, body, w, err := c.changeOf(k, typeJSON)
	if err != nil {
		return err
	}
	var input any
	chk := &checker{schemas: c.schemas}
	schema := object(nil)
	if a.Input != nil {
		schema = c.schemas.kinds[k.Name].inputs[a.Name]
		input = reflect.New(reflect.TypeOf(a.Input).Elem()).Interface()
	}
	m, err := c.fields(body, chk, func(v any) { chk.check("", schema, v) })
	if err != nil {
		return err
	}
	if input != nil {
		if err := decode(m, input); err != nil {
			return err
		}
	}
	return c.update(k, id, w, func(o api.Object) error { return a.Apply(o, input) })
}

// update runs a change of one object through the backend.
func (c *call) update(k api.Kind, id string, w api.Write, change func(api.Object) error) error {
	done, err := c.backend.Update(c.context(), w, k.Name, id, func(o api.Object) error {
		m := o.GetMeta()
		if w.IfMatch != 0 && m.Revision != w.IfMatch {
			return api.NewProblem(412, "precondition_failed", "", "get it again and repeat the change", "%s %s is at revision %d, not at %d", k.Name, m.Name, m.Revision, w.IfMatch)
		}
		if m.Deleting() {
			return api.NewProblem(409, "being_deleted", "", "wait until it is gone, then make a new one", "%s %s is being deleted", k.Name, m.Name)
		}
		if err := change(o); err != nil {
			return err
		}
		return complete(o)
	})
	if err != nil {
		return err
	}
	return c.written(k, w, done, http.StatusOK)
}

func (c *call) remove(k api.Kind) error {
	w, err := c.write(nil)
	if err != nil {
		return err
	}
	force, err := c.flag("force")
	if err != nil {
		return err
	}
	o, missing := c.target(k, api.VerbDelete)
	id, err := c.idOf(k, w, o, missing)
	if err != nil {
		return err
	}
	done, err := c.backend.Delete(c.context(), w, k.Name, id, force)
	if err != nil {
		return err
	}
	return c.written(k, w, done, http.StatusOK)
}

// target finds the object that a change is about.
func (c *call) target(k api.Kind, verb api.Verb) (api.Object, error) {
	p, err := c.project(k, verb)
	if err != nil {
		return nil, err
	}
	if err := c.authorize(k, verb); err != nil {
		return nil, err
	}
	id := ""
	if p != nil {
		id = p.ID
	}
	return c.find(k, id, verb)
}

// written answers a change: with the object and, where there is still work to
// do, the operation to follow.
func (c *call) written(k api.Kind, w api.Write, done api.Written, status int) error {
	h := c.header()
	if done.Replayed {
		h.Set(headerReplayed, "true")
	}
	if w.DryRun {
		preview := done.Preview
		if preview == nil {
			preview = &api.Preview{}
		}
		return c.json(http.StatusOK, struct {
			Object  api.Object   `json:"object"`
			Preview *api.Preview `json:"preview"`
		}{done.Object, preview})
	}
	h.Set(headerRevision, strconv.FormatInt(done.Revision, 10))
	o := present(done.Object)
	if o == nil {
		c.echo.Response().WriteHeader(http.StatusNoContent)
		return nil
	}
	m := o.GetMeta()
	if status == http.StatusCreated {
		h.Set("Location", location(k, m))
	}
	if !k.Immediate {
		status = http.StatusAccepted
		h.Set(headerOperation, api.OperationOf(o).ID)
	}
	return c.object(status, o, done.Revision)
}

func location(k api.Kind, m *api.Meta) string {
	if k.Scope == api.ScopeProject {
		return "/v1/projects/" + m.Project + "/" + k.Plural + "/" + m.ID
	}
	return "/v1/" + k.Plural + "/" + m.ID
}
