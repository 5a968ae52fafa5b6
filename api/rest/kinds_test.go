package rest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

// samples are bodies that create one resource of each kind that can be created.
var samples = map[string]string{
	api.KindProject:         `{"name":"x"}`,
	api.KindToken:           `{"name":"x","spec":{"role":"viewer"}}`,
	api.KindInstanceType:    `{"name":"x","spec":{"vcpus":1,"memory_mib":512,"disk_gib":5}}`,
	api.KindImage:           `{"name":"x","spec":{"source_url":"https://example.org/x.qcow2"}}`,
	api.KindSSHKey:          `{"name":"x","spec":{"public_key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA me"}}`,
	api.KindNetwork:         `{"name":"x"}`,
	api.KindSubnet:          `{"name":"x","spec":{"network":"n","cidr":"10.0.0.0/24"}}`,
	api.KindPort:            `{"name":"x","spec":{"network":"n","addresses":[{"address":"10.0.0.7"}],"mac":"02:00:00:00:00:01"}}`,
	api.KindExternalNetwork: `{"name":"x","spec":{"pools":["203.0.113.0/24"]}}`,
	api.KindFloatingIP:      `{"name":"x","spec":{"external_network":"e","address":"203.0.113.7"}}`,
	api.KindInstance:        `{"name":"x","spec":{"type":"small","image":"debian","nics":[{"network":"n"}]}}`,
	api.KindJoinToken:       `{"name":"x"}`,
	api.KindSecurityGroup:   `{"name":"x","spec":{"rules":[{"direction":"ingress","protocol":"tcp","ports":{"first":22},"cidr":"203.0.113.0/24"}]}}`,
}

// path is where a kind's resources are for the project p.
func path(k api.Kind) string {
	if k.Scope == api.ScopeProject {
		return "/v1/projects/p/" + k.Plural
	}
	return "/v1/" + k.Plural
}

func TestEveryKind_goesThroughItsLife(t *testing.T) {
	for _, k := range api.Kinds {
		t.Run(k.Name, func(t *testing.T) {
			c := newCloud(t)
			body, ok := samples[k.Name]
			if ok != k.Can(api.VerbCreate) {
				t.Fatalf("samples: has one is %v, can be created is %v", ok, k.Can(api.VerbCreate))
			}
			if !ok {
				a := c.do("cloud", "POST", path(k), `{"name":"x"}`)
				c.refused(a, 405, "method_not_allowed", "")
				return
			}
			id := createSample(c, k, body)
			readSample(c, k, id)
			changeSample(c, k, id)
			deleteSample(c, k, id)
		})
	}
}

func createSample(c *cloud, k api.Kind, body string) (id string) {
	t := c.t
	t.Helper()
	a := c.do("cloud", "POST", path(k), body)
	o := k.New()
	a.object(t, o)
	m := o.GetMeta()
	want := 202
	if k.Immediate {
		want = 201
	}
	if a.status != want {
		t.Errorf("status %d, want %d", a.status, want)
	}
	if got := a.header.Get("Operation"); (got != "") == k.Immediate || got != "" && got != api.OperationID(m.ID, 1) {
		t.Errorf("Operation: %q", got)
	}
	if got := a.header.Get("Location"); !strings.HasSuffix(got, "/"+k.Plural+"/"+m.ID) || c.do("cloud", "GET", got, nil).status != 200 {
		t.Errorf("Location: %q", got)
	}
	return m.ID
}

func readSample(c *cloud, k api.Kind, id string) {
	t := c.t
	t.Helper()
	for _, ref := range []string{id, "x"} {
		a := c.do("cloud", "GET", path(k)+"/"+ref, nil)
		o := k.New()
		a.object(t, o)
		if o.GetMeta().ID != id {
			t.Errorf("GET %s is %s, want %s", ref, o.GetMeta().ID, id)
		}
		if b := c.do("cloud", "GET", path(k)+"/"+ref, nil, "If-None-Match: "+a.header.Get("ETag")); b.status != 304 || len(b.body) != 0 {
			t.Errorf("with If-None-Match: %d", b.status)
		}
	}
	for _, list := range []string{path(k), "/v1/" + k.Plural} {
		var page struct {
			Items    []json.RawMessage `json:"items"`
			Revision int64             `json:"revision"`
		}
		c.do("cloud", "GET", list+"?id="+id, nil).object(t, &page)
		if len(page.Items) != 1 || page.Revision != c.m.rev {
			t.Errorf("GET %s: %d items at %d", list, len(page.Items), page.Revision)
		}
	}
	c.refused(c.do("cloud", "GET", path(k)+"/nothing", nil), 404, "not_found", "")
}

func changeSample(c *cloud, k api.Kind, id string) {
	t := c.t
	t.Helper()
	if !k.Can(api.VerbUpdate) {
		c.refused(c.do("cloud", "PATCH", path(k)+"/"+id, `{}`), 405, "method_not_allowed", "")
		return
	}
	before := c.do("cloud", "GET", path(k)+"/"+id, nil)
	// What was got can be edited and sent back whole.
	var edited map[string]any
	before.object(t, &edited)
	edited["labels"] = map[string]string{"tier": "db"}
	after := c.do("cloud", "PATCH", path(k)+"/"+id, edited)
	o := k.New()
	after.object(t, o)
	if o.GetMeta().Labels["tier"] != "db" || after.header.Get("ETag") == before.header.Get("ETag") {
		t.Errorf("after the patch: labels %v, ETag %s", o.GetMeta().Labels, after.header.Get("ETag"))
	}
	stale := c.do("cloud", "PATCH", path(k)+"/"+id, `{"labels":{"tier":"web"}}`, "If-Match: "+before.header.Get("ETag"))
	c.refused(stale, 412, "precondition_failed", "")
	c.refused(c.do("cloud", "PATCH", path(k)+"/"+id, `{"generation":77}`), 422, "read_only", "generation")
	c.refused(c.do("cloud", "PATCH", path(k)+"/"+id, `{"spec":{"no_such":1}}`), 422, "unknown_field", "spec.no_such")
	c.do("cloud", "PATCH", path(k)+"/"+id, `{"labels":{"tier":null}}`, "If-Match: "+after.header.Get("ETag")).object(t, k.New())
}

func deleteSample(c *cloud, k api.Kind, id string) {
	t := c.t
	t.Helper()
	a := c.do("cloud", "DELETE", path(k)+"/"+id, nil, "Idempotency-Key: gone")
	if o := c.m.objects[k.Name][id]; o != nil { // it has finalizers
		if a.status != 202 || a.header.Get("Operation") != api.OperationID(id, 0) {
			t.Errorf("DELETE: %d, operation %q", a.status, a.header.Get("Operation"))
		}
		c.refused(c.do("cloud", "PATCH", path(k)+"/"+id, `{"labels":{"a":"b"}}`), 409, "being_deleted", "")
		return
	}
	if a.status != 204 {
		t.Errorf("DELETE: %d %s", a.status, a.body)
	}
	again := c.do("cloud", "DELETE", path(k)+"/"+id, nil, "Idempotency-Key: gone")
	if again.status != 204 || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("DELETE again with its key: %d %v", again.status, again.header)
	}
	c.refused(c.do("cloud", "DELETE", path(k)+"/"+id, nil, "Idempotency-Key: another"), 404, "not_found", "")
}
