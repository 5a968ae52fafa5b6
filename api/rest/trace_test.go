package rest_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

func TestTrace_judgesWhatIsAsked(t *testing.T) {
	c := newCloud(t)
	c.do("p-member", "POST", "/v1/projects/p/ports", map[string]any{"name": "nic", "spec": map[string]any{"network": "front"}})
	got, err := c.client("p-viewer").Trace(context.Background(), "p", "nic", api.TraceQuery{To: netip.MustParseAddr("10.0.0.9"), Protocol: "tcp", Port: 443})
	if err != nil || !got.Passes || got.End != "10.0.0.9 tcp 443" || got.Hops[0].What != "nic" {
		t.Errorf("%+v %v", got, err)
	}
	if got, err = c.client("p-viewer").Trace(context.Background(), "p", "nic", api.TraceQuery{To: netip.MustParseAddr("10.0.0.9"), Protocol: "ping"}); err != nil || got.Passes || got.End != "10.0.0.9 ping 0" {
		t.Errorf("%+v %v", got, err)
	}
	for query, field := range map[string]string{
		"to=there": "to", "": "to", "to=10.0.0.9&protocol=gre": "protocol", "to=10.0.0.9&protocol=tcp": "port",
		"to=10.0.0.9&port=80": "port", "to=10.0.0.9&protocol=udp&port=65536": "port",
	} {
		c.refused(c.do("p-viewer", "GET", "/v1/projects/p/ports/nic/trace?"+query, nil), 400, "invalid_parameter", field)
	}
	c.refused(c.do("p-viewer", "GET", "/v1/projects/p/ports/none/trace?to=10.0.0.9", nil), 404, "not_found", "")
}
