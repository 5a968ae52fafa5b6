package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/cairn-cloud/cairn/api"
)

// Trace asks what becomes of a packet from a port.
func (c *Client) Trace(ctx context.Context, project, port string, q api.TraceQuery) (t api.Trace, err error) {
	k, _ := api.KindByName(api.KindPort)
	r := Request{Method: http.MethodGet, Path: member(k, project, port) + "/trace", Query: url.Values{"to": {q.To.String()}, "protocol": {q.Protocol}}}
	if q.Port != 0 {
		r.Query.Set("port", strconv.Itoa(int(q.Port)))
	}
	resp, err := c.Do(ctx, r)
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(resp.Body, &t); err != nil {
		return t, fmt.Errorf("trace from %s: the answer cannot be read: %w", port, err)
	}
	return t, nil
}
