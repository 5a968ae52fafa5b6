package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
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

// Backup writes a backup of the whole cloud. It is whole if there is no error and
// it can be read.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	r, err := c.Do(ctx, Request{Method: http.MethodGet, Path: "/v1/backup", Stream: true})
	if err != nil {
		return fmt.Errorf("back up the cloud: %w", err)
	}
	_, err = io.Copy(w, r.Stream)
	if err = errors.Join(err, r.Stream.Close()); err != nil {
		return fmt.Errorf("back up the cloud: %w", err)
	}
	return nil
}

// Check compares a cloud that was restored with what its hosts report.
func (c *Client) Check(ctx context.Context) (api.Check, error) {
	return c.check(ctx, Request{Method: http.MethodGet, Path: "/v1/check"})
}

// Accept accepts a restored cloud as it is; with force also where hosts have not
// reported, which must be off and stay so.
func (c *Client) Accept(ctx context.Context, force bool) (api.Check, error) {
	return c.check(ctx, Request{Method: http.MethodPost, Path: "/v1/check/accept", Query: url.Values{"force": {strconv.FormatBool(force)}}})
}

func (c *Client) check(ctx context.Context, r Request) (a api.Check, err error) {
	resp, err := c.Do(ctx, r)
	if err == nil {
		err = json.Unmarshal(resp.Body, &a)
	}
	if err != nil {
		return a, fmt.Errorf("check the cloud: %w", err)
	}
	return a, nil
}
