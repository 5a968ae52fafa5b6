package rest

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cairn-cloud/cairn/api"
)

// Marks on operations, for the code that is around the handlers.
const (
	metaHostRoute = "host" // a host's certificate opens it
	metaOpen      = "open" // nobody need say who they are
)

// register makes all routes: those of every kind in the same way, and those
// few that are about bytes and hosts.
func (s *Server) register() {
	for _, k := range api.Kinds {
		s.registerKind(k)
	}
	s.registerImageData()
	s.registerConsole()
	s.registerTrace()
	s.registerHostNetwork()
	s.registerHostRoutes()
	s.registerControllers()
	s.registerBackup()
}

func (s *Server) registerKind(k api.Kind) {
	base, all := "/v1/"+k.Plural, ""
	if k.Scope == api.ScopeProject {
		base, all = "/v1/projects/{project}/"+k.Plural, base
	}
	d := describer{s.schemas, k}
	if k.Can(api.VerbList) {
		s.handle(d.list(base, "list-"+k.Plural), func(c *call) error { return c.list(k) })
		if all != "" {
			s.handle(across(d.list(all, "list-all-"+k.Plural)), func(c *call) error { return c.list(k) })
		}
	}
	if k.Can(api.VerbGet) {
		s.handle(d.get(base, "get-"+k.Name), func(c *call) error { return c.get(k) })
		if all != "" {
			s.handle(across(d.get(all, "find-"+k.Name)), func(c *call) error { return c.get(k) })
		}
	}
	if k.Can(api.VerbCreate) {
		s.handle(d.create(base), func(c *call) error { return c.create(k) })
	}
	if k.Can(api.VerbUpdate) {
		s.handle(d.patch(base), func(c *call) error { return c.patch(k) })
	}
	if k.Can(api.VerbDelete) {
		s.handle(d.remove(base), func(c *call) error { return c.remove(k) })
	}
	for _, a := range k.Actions {
		s.handle(d.action(base, a), func(c *call) error { return c.act(k, a) })
	}
}

// across marks an operation that names no project: it shows what the caller may
// see of all of them.
func across(op huma.Operation) huma.Operation {
	op.Summary += " in any project"
	return op
}

func (s *Server) registerImageData() {
	const inProject, anywhere = "/v1/projects/{project}/images/{id}/data", "/v1/images/{id}/data"
	bytesOf := map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	upload := map[string]*huma.Param{
		headerUploadOffset:   header("integer", "How many bytes have arrived."),
		headerUploadComplete: header("string", "?1 when that is all."),
	}
	for path, suffix := range map[string]string{inProject: "", anywhere: "-anywhere"} {
		op := s.schemas.operation(http.MethodGet, path, "download-image"+suffix, "images", "Download the bytes of an image", 400, 404, 409)
		op.Description = "Ranges are served. A host may download the images of the instances that are placed on it."
		op.Responses["200"] = &huma.Response{Description: "The bytes.", Content: bytesOf}
		op.Responses["206"] = &huma.Response{Description: "The bytes of the range asked for.", Content: bytesOf}
		if path == anywhere {
			op.Metadata = map[string]any{metaHostRoute: true}
			op.Security = append(op.Security, map[string][]string{"host": {}})
		}
		s.handle(op, (*call).download)
	}
	op := s.schemas.operation(http.MethodHead, inProject, "upload-state", "images", "How much of an upload has arrived", 404)
	op.Responses["200"] = &huma.Response{Description: "The state of the upload.", Headers: upload}
	s.handle(op, (*call).uploadState)

	op = s.schemas.operation(http.MethodPatch, inProject, "upload-image", "images", "Append bytes to an image", 400, 403, 404, 409, 415, 422)
	op.Description = "The bytes go behind those that have arrived. When a connection breaks, ask by HEAD how much has arrived and go on from there."
	op.Parameters = append(op.Parameters,
		&huma.Param{Name: headerUploadOffset, In: "header", Required: true, Description: "Where these bytes begin.", Schema: &huma.Schema{Type: huma.TypeInteger}},
		&huma.Param{Name: headerUploadComplete, In: "header", Description: "?1 with the last bytes.", Schema: &huma.Schema{Type: huma.TypeString, Enum: []any{"?0", "?1"}}})
	op.RequestBody = &huma.RequestBody{Required: true, Content: bytesOf}
	op.Responses["204"] = &huma.Response{Description: "The bytes are stored.", Headers: upload}
	s.handle(op, (*call).upload)
}

func (s *Server) registerConsole() {
	for path, id := range map[string]string{
		"/v1/projects/{project}/instances/{id}/console-log": "get-console-log",
		"/v1/instances/{id}/console-log":                    "find-console-log",
	} {
		op := s.schemas.operation(http.MethodGet, path, id, "instances", "The last of an instance's serial console", 400, 404, 409, 503)
		op.Parameters = append(op.Parameters, query("limit", huma.TypeInteger, "At most so many bytes; default 65536."))
		op.Responses["200"] = &huma.Response{Description: "What the guest wrote.", Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}}
		s.handle(op, (*call).consoleLog)
	}
}

func (s *Server) registerHostRoutes() {
	op := s.schemas.operation(http.MethodPost, "/v1/join", "join", hostTag, "Join as a host with a join token", 400, 401, 409, 422)
	op.Security = []map[string][]string{{}} // nothing is asked for: the token is in the body
	op.Metadata = map[string]any{metaOpen: true}
	op.RequestBody = s.schemas.body("JoinRequest", typeJSON)
	op.Responses["201"] = s.schemas.response("The host's certificate.", "JoinResponse")
	s.handle(op, (*call).join)

	op = s.hostOperation(http.MethodPost, "renew", "Renew the host's certificate", 400, 422)
	op.RequestBody = s.schemas.body("RenewRequest", typeJSON)
	op.Responses["200"] = s.schemas.response("The host's new certificate.", "JoinResponse")
	s.handle(op, (*call).renew)

	op = s.hostOperation(http.MethodPut, "heartbeat", "Say that the host lives")
	op.Responses["204"] = &huma.Response{Description: "Heard."}
	s.handle(op, (*call).heartbeat)

	op = s.hostOperation(http.MethodPost, "report", "Report what is on the host", 400, 413, 422)
	op.RequestBody = s.schemas.arrayBody("Report")
	op.Responses["204"] = &huma.Response{Description: "Written, where it changed anything."}
	s.handle(op, (*call).report)

	op = s.hostOperation(http.MethodGet, "desired", "Stream the host's desired state")
	op.Description = "First all of it, ended by an item with op \"synced\", then each difference."
	op.Responses["200"] = &huma.Response{Description: "Events of the name items, each an array of DesiredItem.", Content: map[string]*huma.MediaType{
		"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{Ref: schemaPrefix + "DesiredItem"}}},
	}}
	s.handle(op, (*call).desired)
}

const hostTag = "agents"

func (s *Server) hostOperation(method, verb, summary string, problems ...int) huma.Operation {
	op := s.schemas.operation(method, "/v1/hosts/{id}/"+verb, "host-"+verb, hostTag, summary, append([]int{403}, problems...)...)
	op.Security = []map[string][]string{{"host": {}}}
	op.Metadata = map[string]any{metaHostRoute: true}
	return op
}
