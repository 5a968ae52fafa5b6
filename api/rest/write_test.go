package rest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

const instanceBody = `{"name":"web","spec":{"type":"small","image":"debian"}}`

func TestIdempotencyKey_makesOneResourceOfThree(t *testing.T) {
	c := newCloud(t)
	before := c.m.writes
	var ids []string
	for n := range 3 {
		a := c.do("p-member", "POST", "/v1/projects/p/instances", instanceBody, "Idempotency-Key: k1")
		var i api.Instance
		a.object(t, &i)
		ids = append(ids, i.ID)
		if got := a.header.Get("Idempotency-Replayed"); (got == "true") != (n > 0) {
			t.Errorf("answer %d: Idempotency-Replayed %q", n, got)
		}
	}
	if ids[0] != ids[1] || ids[1] != ids[2] || c.m.writes != before+1 {
		t.Errorf("%v in %d writes", ids, c.m.writes-before)
	}
	other := `{"name":"web2","spec":{"type":"small","image":"debian"}}`
	c.refused(c.do("p-member", "POST", "/v1/projects/p/instances", other, "Idempotency-Key: k1"), 409, "idempotency_key_reused", "")
	c.refused(c.do("p-member", "POST", "/v1/projects/p/instances?dry_run=true", instanceBody, "Idempotency-Key: k1"), 409, "idempotency_key_reused", "")
	// Another caller's key of the same name is another key.
	if a := c.do("q-member", "POST", "/v1/projects/q/instances", instanceBody, "Idempotency-Key: k1"); a.status != 202 || a.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// The answer to a change was lost, and before it is sent again another client has
// removed what it was about.
func TestIdempotencyKey_knowsAChangeOfWhatIsGone(t *testing.T) {
	c := newCloud(t)
	var i api.Instance
	c.do("p-member", "POST", "/v1/projects/p/instances", instanceBody).object(t, &i)
	at := "/v1/projects/p/instances/web"
	const body = `{"labels":{"a":"b"}}`
	c.do("p-member", "PATCH", at, body, "Idempotency-Key: k1").object(t, &api.Instance{})
	delete(c.m.objects[api.KindInstance], i.ID)
	if a := c.do("p-member", "PATCH", at, body, "Idempotency-Key: k1"); a.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%d %s", a.status, a.body)
	}
	c.refused(c.do("p-member", "PATCH", at, body, "Idempotency-Key: k2"), 404, "not_found", "")
	c.refused(c.do("p-member", "PATCH", at, body), 404, "not_found", "")
}

func TestIdempotencyKey_mustBeAWord(t *testing.T) {
	c := newCloud(t)
	for _, key := range []string{"two words", longWord(129)} {
		c.refused(c.do("cloud", "POST", "/v1/projects", `{"name":"x"}`, "Idempotency-Key: "+key), 400, "invalid_header", "Idempotency-Key")
	}
}

func longWord(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'k'
	}
	return string(b)
}

func TestDryRun_previewsAndWritesNothing(t *testing.T) {
	c := newCloud(t)
	before := c.m.rev
	a := c.do("p-member", "POST", "/v1/projects/p/instances?dry_run=true", instanceBody)
	var got struct {
		Object  api.Instance
		Preview api.Preview
	}
	a.object(t, &got)
	if got.Object.Name != "web" || got.Preview.Host != "h1" || c.m.rev != before {
		t.Errorf("%+v at %d, was %d", got.Preview, c.m.rev, before)
	}
	c.refused(c.do("p-member", "POST", "/v1/projects/p/instances?dry_run=maybe", instanceBody), 400, "invalid_parameter", "dry_run")
}

func TestPatch_mergesAsRFC7396(t *testing.T) {
	c := newCloud(t)
	c.do("p-member", "POST", "/v1/projects/p/instances", `{"name":"web","labels":{"a":"1","b":"2"},"spec":{"type":"t","image":"i","user_data":"x","ssh_keys":["k"],"nics":[{"network":"n"}]}}`)
	a := c.do("p-member", "PATCH", "/v1/projects/p/instances/web", `{"labels":{"a":null,"c":"3"},"spec":{"user_data":null,"ssh_keys":["l","m"]}}`)
	var i api.Instance
	a.object(t, &i)
	labels, _ := json.Marshal(i.Labels)
	if string(labels) != `{"b":"2","c":"3"}` || i.Spec.UserData != "" || len(i.Spec.SSHKeys) != 2 || len(i.Spec.NICs) != 1 || i.Spec.Type != "t" {
		t.Errorf("%s %+v", labels, i.Spec)
	}
	if a.status != 202 || a.header.Get("Operation") != api.OperationID(i.ID, 2) {
		t.Errorf("%d, operation %q", a.status, a.header.Get("Operation"))
	}
	c.refused(c.do("p-member", "PATCH", "/v1/projects/p/instances/web", `{"spec":{"image":null}}`), 422, "invalid_value", "spec.image")
	c.refused(c.do("p-member", "PATCH", "/v1/projects/p/instances/web", `{"spec":{"nics":[{"network":null}]}}`), 422, "invalid_value", "spec.nics[0]")
	c.refused(c.do("p-member", "PATCH", "/v1/projects/p/instances/web", `{"spec":null}`), 422, "wrong_type", "spec")
	for _, body := range []string{`null`, `[]`, `"x"`} {
		if p := c.refused(c.do("p-member", "PATCH", "/v1/projects/p/instances/web", body), 422, "wrong_type", ""); !strings.HasPrefix(p.Detail, "the body: ") {
			t.Errorf("%s: %q", body, p.Detail)
		}
	}
}

func TestPatch_ofAnEditSurvivesTheStatusButNotAnotherEdit(t *testing.T) {
	c := newCloud(t)
	const at = "/v1/projects/p/instances/web"
	c.do("p-member", "POST", "/v1/projects/p/instances", instanceBody)
	var edited map[string]any
	c.do("p-member", "GET", at, nil).object(t, &edited)
	c.m.status(api.KindInstance, edited["id"].(string), func(s *api.Status) { s.State = api.StateRunning })
	edited["labels"] = map[string]any{"a": "b"}
	var i api.Instance
	c.do("p-member", "PATCH", at, edited).object(t, &i)
	if i.Labels["a"] != "b" || i.Status.State != api.StateRunning {
		t.Errorf("labels %v, state %s", i.Labels, i.Status.State)
	}
	// The second edit of the first version would undo the first edit.
	p := c.do("p-member", "PATCH", at, edited).problem(t)
	if p.Code != "read_only" || p.Status != 422 {
		t.Errorf("%+v", p)
	}
}

func TestIfMatch_takesETagsOnly(t *testing.T) {
	c := newCloud(t)
	c.do("p-member", "POST", "/v1/projects/p/instances", instanceBody)
	const at = "/v1/projects/p/instances/web"
	for _, bad := range []string{"12", `W/"12"`, `"a"`, `"1", "2"`, `"-4"`} {
		c.refused(c.do("p-member", "PATCH", at, `{}`, "If-Match: "+bad), 400, "invalid_header", "If-Match")
	}
	c.refused(c.do("p-member", "DELETE", at, nil, `If-Match: "1"`), 412, "precondition_failed", "")
	if a := c.do("p-member", "PATCH", at, `{}`, "If-Match: *"); a.status != 202 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestActions_changeTheSpec(t *testing.T) {
	c := newCloud(t)
	const at = "/v1/projects/p/instances/web"
	c.do("p-member", "POST", "/v1/projects/p/instances", instanceBody)
	var i api.Instance
	a := c.do("p-member", "POST", at+"/stop", `{"grace_seconds":0}`)
	a.object(t, &i)
	if a.status != 202 || i.Spec.Power != api.PowerOff || *i.Spec.StopGraceSeconds != 0 {
		t.Errorf("%d %+v", a.status, i.Spec)
	}
	c.refused(c.do("p-member", "POST", at+"/reboot", nil), 409, "instance_is_off", "spec.power")
	c.do("p-member", "POST", at+"/start", nil).object(t, &i)
	c.do("p-member", "POST", at+"/reboot", `{"hard":true}`).object(t, &i)
	if i.Spec.Power != api.PowerOn || i.Spec.Reboots != 1 || !i.Spec.HardReboot {
		t.Errorf("%+v", i.Spec)
	}
	c.refused(c.do("p-member", "POST", at+"/stop", `{"grace":1}`), 422, "unknown_field", "grace")
	c.refused(c.do("p-member", "POST", at+"/stop", `{"grace_seconds":-1}`), 422, "invalid_value", "grace_seconds")
	c.refused(c.do("p-member", "POST", at+"/start", `{"x":1}`), 422, "unknown_field", "x")
	c.refused(c.do("p-member", "POST", at+"/explode", nil), 404, "no_such_route", "")
	c.refused(c.do("p-viewer", "POST", at+"/stop", nil), 403, "forbidden", "")
}

func TestNameTaken_namesTheField(t *testing.T) {
	c := newCloud(t)
	c.do("p-member", "POST", "/v1/projects/p/instances", instanceBody)
	c.refused(c.do("p-member", "POST", "/v1/projects/p/instances", instanceBody), 409, "name_taken", "name")
	if a := c.do("q-member", "POST", "/v1/projects/q/instances", instanceBody); a.status != 202 {
		t.Errorf("in another project: %d %s", a.status, a.body)
	}
}
