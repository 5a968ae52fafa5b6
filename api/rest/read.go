package rest

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/cairn-cloud/cairn/api"
)

// projectID resolves the project in the path where the operation has one.
func (c *call) projectID(k api.Kind, verb api.Verb) (string, error) {
	if c.param("project") == "" {
		return "", nil
	}
	p, err := c.project(k, verb)
	if err != nil || p == nil {
		return "", err
	}
	return p.ID, nil
}

func (c *call) get(k api.Kind) error {
	o, err := c.read(k)
	if err != nil {
		return err
	}
	tag := etag(o)
	for v := range strings.SplitSeq(c.request().Header.Get("If-None-Match"), ",") {
		if strings.TrimSpace(v) == tag {
			c.header().Set("ETag", tag)
			c.header().Set(headerRevision, strconv.FormatInt(c.view.Revision(), 10))
			c.echo.Response().WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	return c.object(http.StatusOK, o, c.view.Revision())
}

// read finds the object in the path for a reader.
func (c *call) read(k api.Kind) (api.Object, error) {
	p, err := c.projectID(k, api.VerbGet)
	if err != nil {
		return nil, err
	}
	if err := c.authorize(k, api.VerbGet); err != nil {
		return nil, err
	}
	return c.find(k, p, api.VerbGet)
}
