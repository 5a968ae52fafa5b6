package rest_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

type page struct {
	Items []struct {
		ID   string
		Name string
	}
	Revision   int64
	NextCursor string `json:"next_cursor"`
}

func (p page) names() string {
	var n []string
	for _, i := range p.Items {
		n = append(n, i.Name)
	}
	return strings.Join(n, " ")
}

func (c *cloud) network(p *api.Project, name string, labels map[string]string) *api.Network {
	n := &api.Network{}
	n.Name, n.Project, n.Labels = name, p.ID, labels
	c.put(n)
	return n
}

func TestList_showsOneRevisionOverAllPages(t *testing.T) {
	c := newCloud(t)
	for i := range 7 {
		c.network(c.p, fmt.Sprintf("n%d", i), nil)
	}
	revision := c.m.rev
	var names []string
	cursor := ""
	for n := 0; ; n++ {
		var p page
		c.do("p-viewer", "GET", "/v1/projects/p/networks?limit=3&cursor="+cursor, nil).object(t, &p)
		if p.Revision != revision {
			t.Errorf("page %d shows revision %d, not %d", n, p.Revision, revision)
		}
		names = append(names, p.names())
		if cursor = p.NextCursor; cursor == "" {
			break
		}
		// What happens in between is in no page.
		c.network(c.p, fmt.Sprintf("later%d", n), nil)
		c.do("cloud", "DELETE", "/v1/projects/p/networks/n6", nil)
	}
	if got := strings.Join(names, " | "); got != "n0 n1 n2 | n3 n4 n5 | n6" {
		t.Error(got)
	}
}

func TestList_refusesACursorThatIsLostOrOfAnotherList(t *testing.T) {
	c := newCloud(t)
	for i := range 3 {
		c.network(c.p, fmt.Sprintf("n%d", i), nil)
	}
	var p page
	c.do("p-viewer", "GET", "/v1/projects/p/networks?limit=1", nil).object(t, &p)
	for _, other := range []string{"/v1/projects/p/instances?", "/v1/projects/p/networks?labels=a&", "/v1/networks?"} {
		c.refused(c.do("p-viewer", "GET", other+"cursor="+p.NextCursor, nil), 400, "invalid_cursor", "cursor")
	}
	c.refused(c.do("p-viewer", "GET", "/v1/projects/p/networks?cursor=nonsense", nil), 400, "invalid_cursor", "cursor")
	c.network(c.p, "new", nil)
	c.advance(3 * time.Minute)
	c.refused(c.do("p-viewer", "GET", "/v1/projects/p/networks?cursor="+p.NextCursor, nil), 410, "cursor_expired", "cursor")
}

func TestList_limits(t *testing.T) {
	c := newCloud(t)
	for _, bad := range []string{"0", "-1", "1001", "x"} {
		c.refused(c.do("cloud", "GET", "/v1/networks?limit="+bad, nil), 400, "invalid_parameter", "limit")
	}
	p := c.refused(c.do("cloud", "GET", "/v1/networks?lable=a", nil), 400, "unknown_parameter", "lable")
	if p.Hint != "did you mean labels?" {
		t.Error(p.Hint)
	}
}

func TestList_selectsByLabels(t *testing.T) {
	c := newCloud(t)
	c.network(c.p, "a", map[string]string{"app": "web", "tier": "front"})
	c.network(c.p, "b", map[string]string{"app": "web", "tier": "back"})
	c.network(c.p, "c", map[string]string{"app": "db"})
	c.network(c.p, "d", nil)
	for sel, want := range map[string]string{
		"":                    "a b c d",
		"app=web":             "a b",
		"app==web,tier!=back": "a",
		"tier!=back":          "a c d",
		"tier":                "a b",
		"app=web,tier,app=db": "",
		"app=":                "",
	} {
		var p page
		c.do("p-viewer", "GET", "/v1/projects/p/networks?labels="+url.QueryEscape(sel), nil).object(t, &p)
		if p.names() != want {
			t.Errorf("%q selects %q, want %q", sel, p.names(), want)
		}
	}
	for _, bad := range []string{",", "=a", "a b", "a=b,", "a>3"} {
		c.refused(c.do("p-viewer", "GET", "/v1/projects/p/networks?labels="+url.QueryEscape(bad), nil), 400, "invalid_parameter", "labels")
	}
}

func TestList_acrossProjectsShowsWhatOneMayKnow(t *testing.T) {
	c := newCloud(t)
	c.network(c.p, "of-p", nil)
	c.network(c.q, "of-q", nil)
	for _, x := range []struct {
		p    *api.Project
		name string
	}{{c.q, "img-q"}, {c.system, "img-system"}, {c.p, "img-p"}} {
		i := &api.Image{}
		i.Name, i.Project = x.name, x.p.ID
		c.put(i)
	}
	for _, x := range []struct{ token, path, want string }{
		{"cloud", "/v1/networks", "of-p of-q"},
		{"p-viewer", "/v1/networks", "of-p"},
		{"q-member", "/v1/networks", "of-q"},
		{"cloud", "/v1/images", "img-q img-system img-p"},
		{"p-viewer", "/v1/images", "img-system img-p"},
		{"p-viewer", "/v1/images?limit=1", "img-system"},
		{"p-viewer", "/v1/projects/p/images", "img-p"},
		{"p-viewer", "/v1/projects/system/images", "img-system"},
		{"p-viewer", "/v1/projects", "p"},
		{"cloud", "/v1/projects", "system p q"},
	} {
		var p page
		c.do(x.token, "GET", x.path, nil).object(t, &p)
		if p.names() != x.want {
			t.Errorf("%s GET %s: %q, want %q", x.token, x.path, p.names(), x.want)
		}
	}
}
