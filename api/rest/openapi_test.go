package rest_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/rest"
)

var update = flag.Bool("update", false, "write the golden files anew")

const golden = "../../docs/reference/openapi.json"

func TestOpenAPI_isAsPublished(t *testing.T) {
	s, err := rest.New(rest.Options{Backend: newMemory()})
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, s.OpenAPI(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, s.OpenAPI()) {
		t.Error("docs/reference/openapi.json is stale: go test ./api/rest -run OpenAPI -update")
	}
}

// document is the part of an OpenAPI document that the tests look at.
type document struct {
	OpenAPI string
	Paths   map[string]map[string]operation
	Tags    []struct{ Name string }
}

type operation struct {
	OperationID string
	Summary     string
	Tags        []string
	Security    []map[string][]string
	Parameters  []struct {
		Name, In, Description string
		Required              bool
	}
	RequestBody struct {
		Content map[string]any
	}
	Responses map[string]struct {
		Ref     string `json:"$ref"`
		Content map[string]any
	}
}

func readDocument(t *testing.T, c *cloud) (d document, whole any) {
	t.Helper()
	a := c.do("", "GET", "/openapi.json", nil)
	a.object(t, &d)
	a.object(t, &whole)
	if d.OpenAPI != "3.1.0" {
		t.Errorf("OpenAPI %q", d.OpenAPI)
	}
	return d, whole
}

func TestOpenAPI_isWhole(t *testing.T) {
	c := newCloud(t)
	d, whole := readDocument(t, c)
	ids := map[string]bool{}
	param := regexp.MustCompile(`\{(\w+)\}`)
	for path, methods := range d.Paths {
		for method, op := range methods {
			at := method + " " + path
			if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" || len(op.Tags) != 1 || len(op.Responses) < 2 {
				t.Errorf("%s: not whole, or not unique: %+v", at, op)
			}
			ids[op.OperationID] = true
			if !slices.ContainsFunc(d.Tags, func(x struct{ Name string }) bool { return len(op.Tags) > 0 && x.Name == op.Tags[0] }) {
				t.Errorf("%s: tag %v is not explained", at, op.Tags)
			}
			for _, m := range param.FindAllStringSubmatch(path, -1) {
				if !slices.ContainsFunc(op.Parameters, func(p struct {
					Name, In, Description string
					Required              bool
				},
				) bool {
					return p.Name == m[1] && p.In == "path" && p.Required
				}) {
					t.Errorf("%s: parameter %s is not described", at, m[1])
				}
			}
			for _, p := range op.Parameters {
				if p.Description == "" {
					t.Errorf("%s: parameter %s is not explained", at, p.Name)
				}
			}
			if open := len(op.Security) == 1 && len(op.Security[0]) == 0; len(op.Security) == 0 || open != strings.HasPrefix(op.OperationID, "join") {
				t.Errorf("%s: security %v", at, op.Security)
			}
		}
	}
	resolveAll(t, whole, whole)
}

// resolveAll follows every reference in the document.
func resolveAll(t *testing.T, root, v any) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			target := root
			for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
				m, _ := target.(map[string]any)
				target = m[part]
			}
			if target == nil {
				t.Errorf("%s leads nowhere", ref)
			}
		}
		for _, x := range v {
			resolveAll(t, root, x)
		}
	case []any:
		for _, x := range v {
			resolveAll(t, root, x)
		}
	}
}

func TestOpenAPI_everyKindHasItsOperations(t *testing.T) {
	c := newCloud(t)
	d, _ := readDocument(t, c)
	methods := map[api.Verb]string{api.VerbList: "get", api.VerbGet: "get", api.VerbCreate: "post", api.VerbUpdate: "patch", api.VerbDelete: "delete"}
	for _, k := range api.Kinds {
		base := "/v1/" + k.Plural
		if k.Scope == api.ScopeProject {
			base = "/v1/projects/{project}/" + k.Plural
		}
		for verb, method := range methods {
			at := base
			if verb != api.VerbList && verb != api.VerbCreate {
				at += "/{id}"
			}
			if _, has := d.Paths[at][method]; has != k.Can(verb) {
				t.Errorf("%s %s: described is %v, the kind can is %v", method, at, has, k.Can(verb))
			}
		}
		for _, a := range k.Actions {
			if _, has := d.Paths[base+"/{id}/"+a.Name]["post"]; !has {
				t.Errorf("%s/{id}/%s is not described", base, a.Name)
			}
		}
	}
}

func TestOpenAPI_everyOperationAnswersAsDescribed(t *testing.T) {
	c := newCloud(t)
	for _, name := range []string{"panics", "x"} {
		i := &api.Instance{}
		i.Name, i.Project = name, c.p.ID
		c.put(i)
	}
	d, _ := readDocument(t, c)
	for path, methods := range d.Paths {
		for method, op := range methods {
			for _, token := range []string{"", "cloud", "p-viewer"} {
				url := strings.NewReplacer("{project}", "p", "{id}", "x").Replace(path)
				var body any
				if len(op.RequestBody.Content) > 0 {
					body = `{"surely_unknown":1}`
				}
				a := c.do(token, strings.ToUpper(method), url, body, contentHeader(op)...)
				described(t, c, token+" "+method+" "+path, op, a)
			}
		}
	}
}

func contentHeader(op operation) []string {
	if _, ok := op.RequestBody.Content["application/octet-stream"]; ok {
		return []string{"Content-Type: application/octet-stream"}
	}
	return nil
}

func described(t *testing.T, c *cloud, what string, op operation, a answer) {
	t.Helper()
	status := http.StatusText(a.status)
	r, ok := op.Responses[jsonNumber(a.status)]
	if !ok {
		t.Errorf("%s: %d %s is not described: %s", what, a.status, status, a.body)
		return
	}
	if len(a.body) == 0 {
		return
	}
	typ, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	if _, ok := r.Content[typ]; !ok && r.Ref == "" {
		t.Errorf("%s: %d as %s is not described", what, a.status, typ)
	}
	if r.Ref != "" && typ != "application/problem+json" {
		t.Errorf("%s: %d is %s", what, a.status, typ)
	}
}

func jsonNumber(n int) string {
	b, err := json.Marshal(n)
	if err != nil {
		panic(err)
	}
	return string(b)
}
