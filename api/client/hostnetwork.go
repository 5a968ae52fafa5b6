package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/cairn-cloud/cairn/api"
)

// HostNetwork asks a host's agent what its network is to be, and what it is.
func (c *Client) HostNetwork(ctx context.Context, host string) (r api.NetworkReport, err error) {
	k, _ := api.KindByName(api.KindHost)
	resp, err := c.Do(ctx, Request{Method: http.MethodGet, Path: member(k, "", host) + "/network"})
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(resp.Body, &r); err != nil {
		return r, fmt.Errorf("network of %s: the answer cannot be read: %w", host, err)
	}
	return r, nil
}
