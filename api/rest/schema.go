package rest

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cairn-cloud/cairn/api"
)

// schemas are derived from the Go types of api.Kinds, once, by huma's registry.
type schemas struct {
	registry huma.Registry
	kinds    map[string]*kindSchemas
	problem  *huma.Schema
	// responses are the components that answers with problems refer to.
	responses map[string]*huma.Response
}

// kindSchemas are the schemas of one kind. All but resource are references.
type kindSchemas struct {
	name     string // of the component: "Instance"
	resource *huma.Schema
	ref      *huma.Schema
	patch    *huma.Schema
	list     *huma.Schema
	dryRun   *huma.Schema
	event    *huma.Schema
	inputs   map[string]*huma.Schema // of actions
}

const schemaPrefix = "#/components/schemas/"

func deriveSchemas(doc *huma.Components) *schemas {
	r := doc.Schemas
	s := &schemas{registry: r, responses: doc.Responses, kinds: map[string]*kindSchemas{}, problem: r.Schema(reflect.TypeFor[api.Problem](), true, "")}
	preview := r.Schema(reflect.TypeFor[api.Preview](), true, "")
	for _, k := range api.Kinds {
		t := reflect.TypeOf(k.New()).Elem()
		ks := &kindSchemas{name: t.Name(), ref: r.Schema(t, true, ""), inputs: map[string]*huma.Schema{}}
		ks.resource = r.Map()[ks.name]
		ks.resource.Description = k.Doc
		s.kinds[k.Name] = ks
		for _, a := range k.Actions {
			if a.Input != nil {
				ks.inputs[a.Name] = r.Schema(reflect.TypeOf(a.Input).Elem(), true, "")
			}
		}
		limitStates(r, ks.resource, k)
		ks.list = s.add(ks.name+"List", object(map[string]*huma.Schema{
			"items":       {Type: huma.TypeArray, Items: ks.ref},
			"revision":    {Type: huma.TypeInteger, Format: "int64", Description: "The revision of the store that the list shows; watch from it."},
			"next_cursor": {Type: huma.TypeString, Description: "Where the next page begins; absent on the last one."},
		}, "items", "revision"))
		ks.dryRun = s.add(ks.name+"DryRun", object(map[string]*huma.Schema{"object": ks.ref, "preview": preview}, "object", "preview"))
		ks.event = s.add(ks.name+"WatchEvent", object(map[string]*huma.Schema{
			"type":   {Type: huma.TypeString, Enum: []any{api.EventPut, api.EventDelete, api.EventBookmark}},
			"kind":   {Type: huma.TypeString},
			"object": ks.ref,
		}, "type", "kind"))
	}
	for _, t := range []reflect.Type{reflect.TypeFor[api.JoinRequest](), reflect.TypeFor[api.JoinResponse](), reflect.TypeFor[renewRequest](), reflect.TypeFor[api.Controllers](), reflect.TypeFor[api.Check](), reflect.TypeFor[api.Trace](), reflect.TypeFor[api.NetworkReport](), reflect.TypeFor[api.JoinControllerRequest](), reflect.TypeFor[api.JoinControllerResponse](), reflect.TypeFor[[]api.Report](), reflect.TypeFor[[]api.DesiredItem]()} {
		r.Schema(t, true, "")
	}
	for _, x := range r.Map() {
		tidy(r, x)
	}
	for _, k := range api.Kinds {
		ks := s.kinds[k.Name]
		ks.patch = s.add(ks.name+"Patch", s.patchOf(ks.resource))
	}
	return s
}

func (s *schemas) add(name string, x *huma.Schema) *huma.Schema {
	s.registry.Map()[name] = x
	return &huma.Schema{Ref: schemaPrefix + name}
}

func (s *schemas) resolve(x *huma.Schema) *huma.Schema {
	for x.Ref != "" {
		x = s.registry.SchemaFromRef(x.Ref)
	}
	return x
}

func object(props map[string]*huma.Schema, required ...string) *huma.Schema {
	x := &huma.Schema{Type: huma.TypeObject, Properties: props, Required: required, AdditionalProperties: false}
	x.PrecomputeMessages()
	return x
}

// limitStates puts the kind's own states into the schema of its status.
func limitStates(r huma.Registry, resource *huma.Schema, k api.Kind) {
	status := resource.Properties["status"]
	for status.Ref != "" {
		status = r.SchemaFromRef(status.Ref)
	}
	state := status.Properties["state"]
	for _, s := range k.States {
		state.Enum = append(state.Enum, string(s))
	}
	state.PrecomputeMessages()
}

// tidy corrects what huma assumes and our types do not mean: arrays are never
// null in answers, and a spec of which nothing is required may be left out.
func tidy(r huma.Registry, x *huma.Schema) {
	for name, p := range x.Properties {
		if p.Type == huma.TypeArray {
			p.Nullable = false
		}
		if name == "spec" && p.Ref != "" && len(r.SchemaFromRef(p.Ref).Required) == 0 {
			x.Required = slices.DeleteFunc(slices.Clone(x.Required), func(s string) bool { return s == "spec" })
		}
	}
	if x.Items != nil && x.Type == huma.TypeArray {
		x.Nullable = false
	}
}

// patchOf is the schema of a merge patch (RFC 7396) of a resource: what a user
// may change, nothing required, null to remove.
func (s *schemas) patchOf(resource *huma.Schema) *huma.Schema {
	p := s.optional(resource)
	p.Description = "A merge patch (RFC 7396): what is absent stays, null removes. Fields that are read-only must be absent or as they are."
	return p
}

func (s *schemas) optional(x *huma.Schema) *huma.Schema {
	readOnly, description := x.ReadOnly, x.Description
	c := *s.resolve(x)
	c.ReadOnly = c.ReadOnly || readOnly
	if description != "" {
		c.Description = description
	}
	if c.Properties == nil {
		return &c
	}
	c.Required = nil
	c.Properties = maps.Clone(c.Properties)
	for name, p := range c.Properties {
		if p.ReadOnly {
			delete(c.Properties, name)
			continue
		}
		q := s.optional(p)
		// Null removes; huma (and many generators) know nullable scalars and arrays only.
		q.Nullable = q.Type != huma.TypeObject && q.Type != ""
		c.Properties[name] = q
	}
	return &c
}

// title makes "instance types" of "instance-types".
func title(s string) string { return strings.ReplaceAll(s, "-", " ") }
