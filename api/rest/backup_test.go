package rest_test

import (
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

func TestBackup_isTheCloudsAdministratorsToTake(t *testing.T) {
	c := newCloud(t)
	if a := c.do("cloud", "GET", "/v1/backup", nil); a.status != 200 || string(a.body) != "a backup" || a.header.Get("Content-Type") != "application/zip" {
		t.Errorf("%d %s %q", a.status, a.header.Get("Content-Type"), a.body)
	}
	var check api.Check
	if c.do("cloud", "GET", "/v1/check", nil).object(t, &check); !check.Held {
		t.Error("it is held")
	}
	if p := c.do("cloud", "POST", "/v1/check/accept", nil).problem(t); p.Code != "hosts_silent" {
		t.Errorf("accepted without force: %+v", p)
	}
	if a := c.do("cloud", "POST", "/v1/check/accept?force=true", nil); a.status != 200 {
		t.Errorf("accepted by force: %d", a.status)
	}
	for _, x := range [][2]string{{"GET", "/v1/backup"}, {"GET", "/v1/check"}, {"POST", "/v1/check/accept"}} {
		if a := c.do("p-admin", x[0], x[1], nil); a.status != 403 {
			t.Errorf("a project's admin may %s %s: %d", x[0], x[1], a.status)
		}
	}
}
