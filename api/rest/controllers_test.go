package rest_test

import (
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

func TestControllers_areTheCloudsAdministratorsToSee(t *testing.T) {
	c := newCloud(t)
	var all api.Controllers
	c.do("cloud", "GET", "/v1/controllers", nil).object(t, &all)
	if len(all.Items) != 1 || !all.Items[0].Leads {
		t.Errorf("%+v", all)
	}
	for _, x := range [][2]string{{"GET", "/v1/controllers"}, {"DELETE", "/v1/controllers/a"}} {
		if a := c.do("p-admin", x[0], x[1], nil); a.status != 403 {
			t.Errorf("a project's admin may %s %s: %d", x[0], x[1], a.status)
		}
		if a := c.do("", x[0], x[1], nil); a.status != 401 {
			t.Errorf("anybody may %s %s: %d", x[0], x[1], a.status)
		}
	}
	if a := c.do("", "POST", "/v1/controllers", api.JoinControllerRequest{Name: "b"}); a.status != 422 {
		t.Errorf("a join without a token: %d %s", a.status, a.body)
	}
}
