package rest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

func TestAccess_isAsTheKindSays(t *testing.T) {
	c := newCloud(t)
	c.network(c.p, "n", nil)
	h := &api.Host{}
	h.Name = "h1"
	c.put(h)
	i := &api.Image{}
	i.Name, i.Project = "debian", c.system.ID
	c.put(i)
	const typ = `{"name":"x","spec":{"vcpus":1,"memory_mib":512,"disk_gib":5}}`
	const tok = `{"name":"x","spec":{"role":"admin"}}`
	for _, x := range []struct {
		token, method, path, body string
		status                    int
		says                      string
	}{
		{"", "GET", "/v1/networks", "", 401, "bearer"},
		{"wrong", "GET", "/v1/networks", "", 401, "not known"},
		// A tenant's kinds.
		{"p-viewer", "GET", "/v1/projects/p/networks/n", "", 200, ""},
		{"p-viewer", "GET", "/v1/networks/n", "", 200, ""},
		{"p-viewer", "POST", "/v1/projects/p/networks", `{"name":"x"}`, 403, "the role member or admin"},
		{"p-viewer", "PATCH", "/v1/projects/p/networks/n", `{}`, 403, "the role member or admin"},
		{"p-viewer", "DELETE", "/v1/projects/p/networks/n", "", 403, "the role member or admin"},
		{"p-member", "PATCH", "/v1/projects/p/networks/n", `{"protected":false}`, 200, ""},
		// Another project is not there.
		{"q-member", "GET", "/v1/projects/p/networks", "", 404, "p"},
		{"q-member", "GET", "/v1/projects/p/networks/n", "", 404, "p"},
		{"q-member", "GET", "/v1/networks/n", "", 404, ""},
		{"q-member", "POST", "/v1/projects/p/networks", `{"name":"x"}`, 404, "p"},
		{"q-member", "DELETE", "/v1/projects/p/networks/n", "", 404, "p"},
		{"q-member", "GET", "/v1/projects/nowhere/networks", "", 404, "nowhere"},
		{"q-member", "GET", "/v1/projects/p", "", 404, "p"},
		{"q-member", "GET", "/v1/projects/q", "", 200, ""},
		{"q-member", "PATCH", "/v1/projects/q", `{}`, 403, "admin token of the project system"},
		{"p-admin", "POST", "/v1/projects", `{"name":"x"}`, 403, "admin token of the project system"},
		// Tokens are for a project's admins.
		{"p-viewer", "GET", "/v1/projects/p/tokens", "", 403, "the role admin"},
		{"p-member", "GET", "/v1/projects/p/tokens/p-admin", "", 404, ""},
		{"p-member", "POST", "/v1/projects/p/tokens", tok, 403, "the role admin"},
		{"p-member", "DELETE", "/v1/projects/p/tokens/p-admin", "", 404, ""},
		{"p-admin", "GET", "/v1/projects/p/tokens/p-admin", "", 200, ""},
		{"p-admin", "POST", "/v1/projects/p/tokens", tok, 201, ""},
		{"p-admin", "POST", "/v1/projects/q/tokens", tok, 404, "q"},
		{"p-admin", "POST", "/v1/projects/system/tokens", tok, 404, "system"},
		{"cloud", "POST", "/v1/projects/q/tokens", tok, 201, ""},
		// The catalogue is for all to read.
		{"p-viewer", "GET", "/v1/instance-types", "", 200, ""},
		{"p-admin", "POST", "/v1/instance-types", typ, 403, "admin token of the project system"},
		{"cloud", "POST", "/v1/instance-types", typ, 201, ""},
		// The cloud's own are for its administrators.
		{"p-admin", "GET", "/v1/hosts", "", 403, "admin token of the project system"},
		{"p-admin", "GET", "/v1/hosts/h1", "", 404, ""},
		{"p-admin", "PATCH", "/v1/hosts/h1", `{}`, 404, ""},
		{"p-admin", "POST", "/v1/join-tokens", `{"name":"x"}`, 403, "admin token of the project system"},
		{"cloud", "GET", "/v1/hosts/h1", "", 200, ""},
		{"p-admin", "GET", "/v1/hosts/h1/network", "", 404, ""},
		{"cloud", "GET", "/v1/hosts/h1/network", "", 200, ""},
		// Images of the project system are for all to read, and for nobody else to change.
		{"p-viewer", "GET", "/v1/projects/p/images/debian", "", 200, ""},
		{"p-viewer", "GET", "/v1/images/debian", "", 200, ""},
		{"p-viewer", "GET", "/v1/projects/system/images/debian", "", 200, ""},
		{"p-admin", "PATCH", "/v1/projects/p/images/debian", `{}`, 404, ""},
		{"p-admin", "DELETE", "/v1/projects/p/images/debian", "", 404, ""},
		{"p-admin", "PATCH", "/v1/projects/system/images/debian", `{}`, 404, ""},
		{"p-viewer", "GET", "/v1/projects/system/networks", "", 404, "system"},
		// A host's routes are for hosts.
		{"cloud", "PUT", "/v1/hosts/h1/heartbeat", "", 403, "itself"},
		{"cloud", "GET", "/v1/hosts/h1/desired", "", 403, "itself"},
	} {
		var body any
		if x.body != "" {
			body = x.body
		}
		a := c.do(x.token, x.method, x.path, body)
		if a.status != x.status || !strings.Contains(string(a.body), x.says) {
			t.Errorf("%s %s %s: %d %s, want %d saying %q", x.token, x.method, x.path, a.status, a.body, x.status, x.says)
		}
	}
}

func TestToken_isRefusedAfterItsTimeAndItsEnd(t *testing.T) {
	c := newCloud(t)
	tok := &api.Token{}
	c.do("cloud", "POST", "/v1/projects/p/tokens", `{"name":"x","spec":{"role":"viewer"}}`).object(t, tok)
	expiring := c.token("brief", c.p, api.RoleViewer)
	end := c.clock().Add(time.Hour)
	expiring.Spec.ExpiresAt = &end
	if a := c.do("brief", "GET", "/v1/networks", nil); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	c.advance(time.Hour)
	a := c.do("brief", "GET", "/v1/networks", nil)
	c.refused(a, 401, "unauthenticated", "")
	if a.header.Get("WWW-Authenticate") == "" {
		t.Error("a 401 without WWW-Authenticate")
	}
	if d := c.do("cloud", "DELETE", "/v1/projects/p/tokens/p-viewer", nil); d.status != 204 {
		t.Fatalf("%d %s", d.status, d.body)
	}
	c.refused(c.do("p-viewer", "GET", "/v1/networks", nil), 401, "unauthenticated", "")
}

func TestErrors_sayNothingOfTheInside(t *testing.T) {
	c := newCloud(t)
	for _, name := range []string{"panics", "breaks"} {
		i := &api.Instance{}
		i.Name, i.Project = name, c.p.ID
		c.put(i)
		a := c.do("cloud", "GET", "/v1/projects/p/instances/"+name+"/console-log", nil)
		p := c.refused(a, 500, "internal", "")
		if strings.Contains(string(a.body), "secret") {
			t.Errorf("%s: %s", name, a.body)
		}
		words := strings.Fields(p.Detail)
		if incident := words[len(words)-1]; len(incident) != 16 || !strings.Contains(c.log.String(), incident) || !strings.Contains(c.log.String(), "secret") {
			t.Errorf("the log does not explain incident %q: %s", incident, c.log)
		}
	}
}

func TestOperations_areViewsOfTheirResources(t *testing.T) {
	c := newCloud(t)
	a := c.do("p-member", "POST", "/v1/projects/p/instances", instanceBody)
	var i api.Instance
	a.object(t, &i)
	state := func(id string) api.State {
		t.Helper()
		var op api.Operation
		c.do("p-viewer", "GET", "/v1/projects/p/operations/"+id, nil).object(t, &op)
		if op.ID != id || op.Spec.Object != i.ID || op.Spec.Kind != api.KindInstance {
			t.Errorf("%+v", op)
		}
		return op.Status.State
	}
	id := a.header.Get("Operation")
	if s := state(id); s != api.StatePending {
		t.Errorf("at first %s", s)
	}
	var list page
	c.do("p-viewer", "GET", "/v1/projects/p/operations", nil).object(t, &list)
	if len(list.Items) != 1 || list.Items[0].ID != id {
		t.Errorf("in progress: %+v", list.Items)
	}
	c.m.status(api.KindInstance, i.ID, func(s *api.Status) { s.State, s.ObservedGeneration = api.StateRunning, 1 })
	if s := state(id); s != api.StateReady {
		t.Errorf("when it runs: %s", s)
	}
	c.do("p-member", "PATCH", "/v1/projects/p/instances/web", `{"spec":{"user_data":"x"}}`)
	if s := state(id); s != api.StateReady {
		t.Errorf("overtaken: %s", s)
	}
	for _, none := range []string{api.OperationID(i.ID, 9), api.OperationID(i.ID, 0), "op_nothing", "x", api.OperationID("ins_nothing", 1)} {
		c.refused(c.do("p-viewer", "GET", "/v1/projects/p/operations/"+none, nil), 404, "not_found", "")
	}
	c.refused(c.do("q-member", "GET", "/v1/operations/"+id, nil), 404, "not_found", "")
	gone := c.do("p-member", "DELETE", "/v1/projects/p/instances/web", nil).header.Get("Operation")
	if s := state(gone); s != api.StateRunning {
		t.Errorf("being deleted: %s", s)
	}
	e := &api.Event{}
	e.Name, e.Project, e.Spec = "e", c.p.ID, api.EventSpec{Kind: api.KindInstance, Object: i.ID, Name: "web", Reason: "Deleted", Time: c.clock()}
	c.put(e)
	c.m.mu.Lock()
	c.m.commit(api.EventDelete, c.m.objects[api.KindInstance][i.ID])
	c.m.mu.Unlock()
	if s := state(gone); s != api.StateReady {
		t.Errorf("when it is gone: %s", s)
	}
}
