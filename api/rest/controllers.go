package rest

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cairn-cloud/cairn/api"
)

const controllerTag = "controllers"

// registerControllers makes the routes about the control plane itself.
func (s *Server) registerControllers() {
	op := s.schemas.operation(http.MethodGet, "/v1/controllers", "list-controllers", controllerTag, "List the controllers", 403)
	op.Responses["200"] = s.schemas.response("All that live or have a copy of the store.", "Controllers")
	s.handle(op, (*call).controllers)

	op = s.schemas.operation(http.MethodPost, "/v1/controllers", "join-controller", controllerTag, "Join as a controller with a join token", 400, 403, 409, 422)
	op.Security = []map[string][]string{{}} // nothing is asked for: the token is in the body
	op.Metadata = map[string]any{metaOpen: true}
	op.RequestBody = s.schemas.body("JoinControllerRequest", typeJSON)
	op.Responses["201"] = s.schemas.response("What a controller has to have.", "JoinControllerResponse")
	s.handle(op, (*call).joinController)

	op = s.schemas.operation(http.MethodDelete, "/v1/controllers/{id}", "remove-controller", controllerTag, "Remove a controller that is gone for good", 403, 409)
	op.Description = "Its copy of the store counts no more. It never comes back with its old data; another may join in its place."
	op.Responses["204"] = &huma.Response{Description: "It is removed."}
	s.handle(op, (*call).removeController)
}

// cloudOnly demands an administrator of the cloud.
func (c *call) cloudOnly(to string) error {
	if !c.who.Cloud {
		const needs = "an admin token of the project " + api.SystemProject
		return api.NewProblem(403, "forbidden", "", "ask for "+needs, "to %s takes %s", to, needs)
	}
	return nil
}

func (c *call) controllers() error {
	if err := c.cloudOnly("list controllers"); err != nil {
		return err
	}
	all, err := c.backend.Controllers(c.context())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, api.Controllers{Items: all})
}

func (c *call) joinController() error {
	var r api.JoinControllerRequest
	if err := c.agentBody(maxBody, &r); err != nil {
		return err
	}
	if err := given(named{"secret", r.Secret}, named{"name", r.Name}, named{"proof", r.Proof}); err != nil {
		return err
	}
	a, err := c.backend.JoinController(c.context(), r)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, a)
}

func (c *call) removeController() error {
	if err := c.cloudOnly("remove controllers"); err != nil {
		return err
	}
	if err := c.backend.RemoveController(c.context(), c.param("id")); err != nil {
		return err
	}
	c.echo.Response().WriteHeader(http.StatusNoContent)
	return nil
}
