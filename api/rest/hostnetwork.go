package rest

import (
	"net/http"

	"github.com/cairn-cloud/cairn/api"
)

func (s *Server) registerHostNetwork() {
	op := s.schemas.operation(http.MethodGet, "/v1/hosts/{id}/network", "get-host-network", "hosts", "A host's network: what it is to be, what it is, and what differs", 404, 503)
	op.Description = "The host's agent looks at the kernel for it. Nothing is changed."
	op.Responses["200"] = s.schemas.response("The host's network in words.", "NetworkReport")
	s.handle(op, (*call).hostNetwork)
}

func (c *call) hostNetwork() error {
	k, _ := api.KindByName(api.KindHost)
	o, err := c.read(k)
	if err != nil {
		return err
	}
	r, err := c.backend.HostNetwork(c.context(), o.(*api.Host))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, r)
}
