package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/labstack/echo/v4"

	"github.com/cairn-cloud/cairn/api"
)

// call is one request on its way through the handlers.
type call struct {
	*Server
	echo echo.Context
	op   *huma.Operation
	view api.View
	who  api.Principal
}

func (c *call) request() *http.Request   { return c.echo.Request() }
func (c *call) context() context.Context { return c.echo.Request().Context() }
func (c *call) header() http.Header      { return c.echo.Response().Header() }
func (c *call) param(name string) string { return c.echo.Param(name) }
func (c *call) query(name string) string { return c.echo.QueryParam(name) }
func (c *call) flag(name string) (bool, error) {
	v := c.query(name)
	if v == "" && !c.echo.QueryParams().Has(name) {
		return false, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil && v != "" {
		return false, api.NewProblem(400, "invalid_parameter", name, "give true or false", "%s=%q is neither true nor false", name, v)
	}
	return b || v == "", nil
}

// handle registers an operation: in the OpenAPI document and in the router.
func (s *Server) handle(op huma.Operation, fn func(*call) error) {
	s.huma.OpenAPI().AddOperation(&op)
	s.huma.Adapter().Handle(&op, func(hc huma.Context) {
		ec := humaecho.Unwrap(hc)
		c := &call{Server: s, echo: ec, op: &op}
		if err := c.serve(fn); err != nil {
			c.fail(err)
		}
	})
}

func (c *call) serve(fn func(*call) error) error {
	if err := c.checkQuery(); err != nil {
		return err
	}
	v, err := c.backend.View(c.context(), api.Latest)
	if err != nil {
		return err
	}
	c.view = v
	if c.op.Metadata[metaOpen] == nil {
		if err := c.authenticate(); err != nil {
			return err
		}
	}
	return fn(c)
}

// checkQuery refuses query parameters that the operation does not have, so that
// a misspelled one is not silently without effect.
func (c *call) checkQuery() error {
	var known []string
	for _, p := range c.op.Parameters {
		if p.In == "query" {
			known = append(known, p.Name)
		}
	}
	for name := range c.echo.QueryParams() {
		if !slices.Contains(known, name) {
			hint := "this operation takes no query parameters"
			if len(known) > 0 {
				hint = didYouMean(name, known)
			}
			return api.NewProblem(400, "unknown_parameter", name, hint, "there is no query parameter %q here", name)
		}
	}
	return nil
}

// json answers with a value.
func (c *call) json(status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.header().Set("Content-Type", "application/json")
	c.header().Set("Content-Length", strconv.Itoa(len(b)+1))
	c.echo.Response().WriteHeader(status)
	_, _ = c.echo.Response().Write(append(b, '\n')) // an error here: the client went away
	return nil
}

// object answers with one resource, its ETag and the revision from which to watch.
func (c *call) object(status int, o api.Object, revision int64) error {
	c.header().Set("ETag", etag(o))
	c.header().Set(headerRevision, strconv.FormatInt(revision, 10))
	return c.json(status, o)
}

func etag(o api.Object) string {
	return `"` + strconv.FormatInt(o.GetMeta().Revision, 10) + `"`
}

// Headers of ours.
const (
	headerRevision       = "Cairn-Revision"
	headerOperation      = "Operation"
	headerIdempotencyKey = "Idempotency-Key"
	headerReplayed       = "Idempotency-Replayed"
	headerUploadOffset   = "Upload-Offset"
	headerUploadComplete = "Upload-Complete"
)
