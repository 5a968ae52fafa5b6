package controller

import (
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

// A controller that is cut off from etcd does not know what the host answers to,
// and must not take that for old news (found by cairn sim, seed 1745).
func TestReport_isRefusedByAControllerThatIsBehind(t *testing.T) {
	c := newCloud(t)
	h := c.host("h1", 4, 8192, 100)
	v, err := c.store.View(c.ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.b.Report(c.ctx, h, v.Revision()+1, []api.Report{{Kind: api.KindHost, ID: h, Host: &api.HostStatus{}}})
	refused(t, err, 503, "unavailable", "")
}
