package rest

import (
	"net/http"
	"net/netip"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cairn-cloud/cairn/api"
)

func (s *Server) registerTrace() {
	for path, id := range map[string]string{
		"/v1/projects/{project}/ports/{id}/trace": "trace-port",
		"/v1/ports/{id}/trace":                    "find-trace-port",
	} {
		op := s.schemas.operation(http.MethodGet, path, id, "ports", "What becomes of a packet from a port", 400, 404, 409)
		op.Description = "The packet is followed, hop by hop and rule by rule, through what the hosts are made to be. Nothing is sent."
		protocol := query("protocol", huma.TypeString, "Default: ping.")
		protocol.Schema.Enum = []any{"tcp", "udp", "ping"}
		op.Parameters = append(op.Parameters, query("to", huma.TypeString, "The address that it is for."), protocol, query("port", huma.TypeInteger, "The destination port of TCP and UDP."))
		op.Responses["200"] = s.schemas.response("The way of the packet.", "Trace")
		s.handle(op, (*call).trace)
	}
}

// trace answers why a packet of a port passes, or does not.
func (c *call) trace() error {
	k, _ := api.KindByName(api.KindPort)
	o, err := c.read(k)
	if err != nil {
		return err
	}
	q := api.TraceQuery{Protocol: c.query("protocol")}
	if q.To, err = netip.ParseAddr(c.query("to")); err != nil {
		return api.NewProblem(400, "invalid_parameter", "to", "give an IP address", "to=%q is not an address", c.query("to"))
	}
	switch q.Protocol {
	case "":
		q.Protocol = "ping"
	case "tcp", "udp", "ping":
	default:
		return api.NewProblem(400, "invalid_parameter", "protocol", "give tcp, udp or ping", "protocol=%q cannot be followed", q.Protocol)
	}
	port, err := c.number("port", 0, 1, 65535)
	if err != nil {
		return err
	}
	if (port != 0) == (q.Protocol == "ping") {
		return api.NewProblem(400, "invalid_parameter", "port", "give a port with tcp or udp, and none with ping", "protocol=%s and port=%s do not go together", q.Protocol, c.query("port"))
	}
	q.Port = uint16(port)
	t, err := c.backend.Trace(c.context(), o.(*api.Port), q)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, t)
}
