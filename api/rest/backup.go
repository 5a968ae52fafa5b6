package rest

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

const typeZip = "application/zip"

// registerBackup makes the routes about the whole cloud: its backup, and what it is
// after a restore.
func (s *Server) registerBackup() {
	op := s.schemas.operation(http.MethodGet, "/v1/backup", "backup", controllerTag, "Download a backup of the whole cloud", 403, 409)
	op.Description = "All that was acknowledged before, at one revision, and the CA with its key; not the bytes of images. It is whole when it is a zip that can be read."
	op.Responses["200"] = &huma.Response{Description: "The backup.", Content: map[string]*huma.MediaType{typeZip: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}
	s.handle(op, (*call).backup)

	op = s.schemas.operation(http.MethodGet, "/v1/check", "check", controllerTag, "Compare a restored cloud with what its hosts report", 403)
	op.Responses["200"] = s.schemas.response("Where they differ.", "Check")
	s.handle(op, (*call).check)

	op = s.schemas.operation(http.MethodPost, "/v1/check/accept", "accept", controllerTag, "Accept a restored cloud as it is", 403, 409)
	op.Description = "Instances that hosts have under a newer placement stay where they are; then the cloud goes on."
	op.Parameters = append(op.Parameters, query("force", huma.TypeBoolean, "Also where hosts have not reported: they must be off, and stay so."))
	op.Responses["200"] = s.schemas.response("What was accepted.", "Check")
	s.handle(op, (*call).accept)
}

func (c *call) backup() error {
	if err := c.cloudOnly("back up the cloud"); err != nil {
		return err
	}
	c.header().Set("Content-Type", typeZip)
	err := c.backend.Backup(c.context(), c.echo.Response())
	if err != nil && c.echo.Response().Committed {
		// What was sent must not look whole.
		c.log.Error("a backup broke off", "err", err)
		panic(http.ErrAbortHandler)
	}
	return err
}

func (c *call) check() error {
	if err := c.cloudOnly("check the cloud"); err != nil {
		return err
	}
	a, err := c.backend.Check(c.context())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, a)
}

func (c *call) accept() error {
	if err := c.cloudOnly("accept the cloud"); err != nil {
		return err
	}
	force, err := c.flag("force")
	if err != nil {
		return err
	}
	a, err := c.backend.Accept(c.context(), force)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, a)
}
