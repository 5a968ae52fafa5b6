package rest

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cairn-cloud/cairn/api"
)

// document is the head of the OpenAPI document.
func document(version string) huma.Config {
	if version == "" {
		version = "dev"
	}
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "Cairn", Version: version,
			Description: "An infrastructure cloud that a small team can own. " +
				"Errors are RFC 9457 problems with a stable code: see /docs/problems. " +
				"Every change takes an Idempotency-Key, and can be tried with dry_run. Every list can be watched from its revision.",
		},
		Components: &huma.Components{
			Schemas:   huma.NewMapRegistry(schemaPrefix, huma.DefaultSchemaNamer),
			Responses: map[string]*huma.Response{},
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"token": {Type: "http", Scheme: "bearer", Description: "A token of a project: Authorization: Bearer cairn_…"},
				"host":  {Type: "mutualTLS", Description: "The certificate that a host got when it joined."},
			},
		},
		Security: []map[string][]string{{"token": {}}},
	}
	for _, k := range api.Kinds {
		doc.Tags = append(doc.Tags, &huma.Tag{Name: k.Plural, Description: k.Doc})
	}
	doc.Tags = append(doc.Tags, &huma.Tag{Name: hostTag, Description: "What the agents of hosts use."}, &huma.Tag{Name: controllerTag, Description: "The processes of the control plane."})
	return huma.Config{OpenAPI: doc, Formats: huma.DefaultFormats}
}

// describer makes the operations of one kind.
type describer struct {
	*schemas
	kind api.Kind
}

func (d describer) schema() *kindSchemas { return d.kinds[d.kind.Name] }
func (d describer) one() string          { return withArticle(title(d.kind.Name)) }

func (d describer) list(base, id string) huma.Operation {
	op := d.operation(http.MethodGet, base, id, d.kind.Plural, "List or watch "+title(d.kind.Plural), 400, 403, 410)
	op.Description = "In order of ID, all pages at one revision of the store. With watch=true: server-sent events put, delete and bookmark, " +
		"each with an id from which to resume; 410 history_compacted asks to list again."
	op.Parameters = append(op.Parameters,
		query("limit", huma.TypeInteger, "Items in a page, 1 to 1000; default 100."),
		query("cursor", huma.TypeString, "next_cursor of the page before."),
		query("labels", huma.TypeString, "Conditions that must all hold: a=b, c!=d, e (has the label)."),
		query("id", huma.TypeString, "Only this one."),
		query("watch", huma.TypeBoolean, "Stream changes instead of listing."),
		query("from", huma.TypeString, "With watch: the revision of a list or the id of an event; what came after it is sent. Default: from now."),
		&huma.Param{Name: "Last-Event-ID", In: "header", Description: "As from; it wins.", Schema: &huma.Schema{Type: huma.TypeString}})
	op.Responses["200"] = &huma.Response{
		Description: "A page, or with watch=true the stream.",
		Headers:     map[string]*huma.Param{headerRevision: revisionHeader()},
		Content:     map[string]*huma.MediaType{typeJSON: {Schema: d.schema().list}, "text/event-stream": {Schema: d.schema().event}},
	}
	return op
}

func (d describer) get(base, id string) huma.Operation {
	op := d.operation(http.MethodGet, base+"/{id}", id, d.kind.Plural, "Get "+d.one(), 403)
	op.Parameters = append(op.Parameters, &huma.Param{
		Name: "If-None-Match", In: "header", Schema: &huma.Schema{Type: huma.TypeString},
		Description: "ETags; 304 when no user changed it since. The status moves without a new ETag: watch for that.",
	})
	op.Responses["200"] = d.resource("The "+title(d.kind.Name)+".", false)
	op.Responses["304"] = &huma.Response{Description: "No user changed it since."}
	return op
}

func (d describer) create(base string) huma.Operation {
	op := d.change(http.MethodPost, base, "create-"+d.kind.Name, "Create "+d.one(), false)
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{typeJSON: {Schema: d.schema().ref}}}
	r := d.resource("It is made.", true)
	r.Headers["Location"] = header(huma.TypeString, "Where it is.")
	op.Responses[d.status(http.StatusCreated)] = r
	return op
}

func (d describer) patch(base string) huma.Operation {
	op := d.change(http.MethodPatch, base+"/{id}", "update-"+d.kind.Name, "Change "+d.one(), true)
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		typeMergePatch: {Schema: d.schema().patch}, typeJSON: {Schema: d.schema().patch},
	}}
	op.Responses[d.status(http.StatusOK)] = d.resource("It is changed.", true)
	return op
}

func (d describer) action(base string, a api.Action) huma.Operation {
	op := d.change(http.MethodPost, base+"/{id}/"+a.Name, a.Name+"-"+d.kind.Name, a.Doc, true)
	schema := d.schema().inputs[a.Name]
	if schema == nil {
		schema = object(nil)
	}
	op.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{typeJSON: {Schema: schema}}}
	op.Responses[d.status(http.StatusOK)] = d.resource("It is asked for.", true)
	return op
}

func (d describer) remove(base string) huma.Operation {
	op := d.change(http.MethodDelete, base+"/{id}", "delete-"+d.kind.Name, "Delete "+d.one(), true)
	op.Parameters = append(op.Parameters, query("force", huma.TypeBoolean, "Do not wait for what cannot be reached; what is left there is lost sight of."))
	op.Responses["204"] = &huma.Response{Description: "It is gone."}
	op.Responses[d.status(http.StatusOK)] = d.resource("It is being deleted, and gone when the operation ends.", true)
	return op
}

// change is what all operations that change something have.
func (d describer) change(method, path, id, summary string, exists bool) huma.Operation {
	op := d.operation(method, path, id, d.kind.Plural, summary, 400, 403, 409, 413, 415, 422)
	op.Parameters = append(op.Parameters,
		query("dry_run", huma.TypeBoolean, "Say what would happen, and change nothing."),
		&huma.Param{
			Name: headerIdempotencyKey, In: "header", Schema: &huma.Schema{Type: huma.TypeString, MaxLength: new(128)},
			Description: "A random word. The same request sent again with it within a day has the first one's result; another request is refused.",
		})
	if exists {
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: "If-Match", In: "header", Schema: &huma.Schema{Type: huma.TypeString},
			Description: "The ETag that it must have.",
		})
		d.problems(&op, 412)
	}
	op.Responses["200"] = &huma.Response{Description: "With dry_run: what would happen.", Content: map[string]*huma.MediaType{typeJSON: {Schema: d.schema().dryRun}}}
	return op
}

// status is 202 where work remains after the change.
func (d describer) status(done int) string {
	if !d.kind.Immediate {
		done = http.StatusAccepted
	}
	return strconv.Itoa(done)
}

func (d describer) resource(description string, changed bool) *huma.Response {
	r := &huma.Response{
		Description: description,
		Headers:     map[string]*huma.Param{"ETag": header(huma.TypeString, "Its revision; for If-Match."), headerRevision: revisionHeader()},
		Content:     map[string]*huma.MediaType{typeJSON: {Schema: d.schema().ref}},
	}
	if changed {
		r.Headers[headerReplayed] = header(huma.TypeString, "true: the request was seen before, and this is its result.")
		if !d.kind.Immediate {
			r.Headers[headerOperation] = header(huma.TypeString, "ID of the operation to follow.")
		} else if description == "It is changed." {
			// 200 has two meanings here: the resource, or what a dry run says.
			r.Content[typeJSON] = &huma.MediaType{Schema: &huma.Schema{OneOf: []*huma.Schema{d.schema().ref, d.schema().dryRun}}}
		}
	}
	return r
}

// operation is what all operations have.
func (s *schemas) operation(method, path, id, tag, summary string, problems ...int) huma.Operation {
	op := huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary, Tags: []string{tag},
		Security: []map[string][]string{{"token": {}}}, Responses: map[string]*huma.Response{},
	}
	for part := range strings.SplitSeq(path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			op.Parameters = append(op.Parameters, &huma.Param{
				Name: strings.TrimSuffix(name, "}"), In: "path", Required: true,
				Description: "Name or ID.", Schema: &huma.Schema{Type: huma.TypeString},
			})
		}
	}
	s.problems(&op, append([]int{401, 500, 503}, problems...)...)
	if strings.Contains(path, "{") {
		s.problems(&op, 404)
	}
	return op
}

func (s *schemas) problems(op *huma.Operation, statuses ...int) {
	for _, status := range statuses {
		name := "Problem" + strconv.Itoa(status)
		s.responses[name] = &huma.Response{
			Description: http.StatusText(status),
			Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: s.problem}},
		}
		op.Responses[strconv.Itoa(status)] = &huma.Response{Ref: "#/components/responses/" + name}
	}
}

func (s *schemas) body(component string, mime string) *huma.RequestBody {
	return &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{mime: {Schema: &huma.Schema{Ref: schemaPrefix + component}}}}
}

func (s *schemas) arrayBody(component string) *huma.RequestBody {
	return &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		typeJSON: {Schema: &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{Ref: schemaPrefix + component}}},
	}}
}

func (s *schemas) response(description, component string) *huma.Response {
	return &huma.Response{Description: description, Content: map[string]*huma.MediaType{typeJSON: {Schema: &huma.Schema{Ref: schemaPrefix + component}}}}
}

func query(name, typ, doc string) *huma.Param {
	return &huma.Param{Name: name, In: "query", Description: doc, Schema: &huma.Schema{Type: typ}}
}

func header(typ, doc string) *huma.Param {
	return &huma.Param{Description: doc, Schema: &huma.Schema{Type: typ}}
}

func revisionHeader() *huma.Param {
	return header(huma.TypeInteger, "The revision of the store; watch from it.")
}

func withArticle(s string) string {
	if strings.ContainsRune("aeio", rune(s[0])) {
		return "an " + s
	}
	return "a " + s
}
