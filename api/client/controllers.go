package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/cairn-cloud/cairn/api"
)

// JoinController makes a machine a controller. Like Join, it trusts a server only
// if that presents the CA whose digest is in the join token, which r.Secret holds.
func JoinController(ctx context.Context, server string, r api.JoinControllerRequest) (a api.JoinControllerResponse, err error) {
	r.Secret = strings.TrimSpace(r.Secret)
	secret, err := ParseJoinSecret(r.Secret)
	if err != nil {
		return a, err
	}
	c, err := New(Options{Server: server, CAPin: secret.CAPin})
	if err != nil {
		return a, err
	}
	defer c.Close()
	if err := c.post(ctx, "/v1/controllers", r, &a); err != nil {
		return a, fmt.Errorf("join %s as the controller %s: %w", server, r.Name, err)
	}
	return a, nil
}

// Controllers are those that live, and those that have a copy of the store, by name.
func (c *Client) Controllers(ctx context.Context) ([]api.Controller, error) {
	r, err := c.Do(ctx, Request{Method: http.MethodGet, Path: "/v1/controllers"})
	if err != nil {
		return nil, fmt.Errorf("list the controllers: %w", err)
	}
	var a api.Controllers
	if err := json.Unmarshal(r.Body, &a); err != nil {
		return nil, fmt.Errorf("list the controllers: %w", err)
	}
	return a.Items, nil
}

// RemoveController takes the copy of the store away from a controller that is
// gone for good, named by its name or the ID of its member.
func (c *Client) RemoveController(ctx context.Context, name string) error {
	if _, err := c.Do(ctx, Request{Method: http.MethodDelete, Path: "/v1/controllers/" + url.PathEscape(name)}); err != nil {
		return fmt.Errorf("remove the controller %s: %w", name, err)
	}
	return nil
}
