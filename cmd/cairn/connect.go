package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// connection is the flags by which a client finds its server.
type connection struct {
	app                                *app
	server, tokenFile, caFile, project string
	client                             *client.Client
	resolved                           string // the project, once it is known
}

func (a *app) connectionFlags(c *cobra.Command) *connection {
	n := &connection{app: a}
	f := c.PersistentFlags()
	f.StringVar(&n.server, "server", "", "URL of the API, or several, separated by commas (CAIRN_SERVER; default: the one of this machine)")
	f.StringVar(&n.tokenFile, "token-file", "", "file that holds the bearer token (or CAIRN_TOKEN holds it; default: the one that this machine's controller wrote)")
	f.StringVar(&n.caFile, "ca-file", "", "file of the CA to trust, in PEM (CAIRN_CA; default: the one that this machine's controller wrote)")
	return n
}

// found is what a controller on this machine leaves for its owner.
type found struct{ server, tokenFile, caFile string }

// candidates are the places where one may have left it, first come first served.
func (a *app) candidates() []found {
	var out []found
	dirs := []string{defaultData, labDir(a.labName())}
	if a.getenv("CAIRN_LAB") != "" {
		dirs = dirs[1:] // it is that lab which is meant
	}
	for _, dir := range dirs {
		f := found{"https://127.0.0.1:7443", filepath.Join(dir, "admin.token"), filepath.Join(dir, "ca.crt")}
		if b, err := a.readFile(filepath.Join(dir, "server")); err == nil {
			f.server = strings.TrimSpace(string(b))
		}
		out = append(out, f)
	}
	return out
}

// local finds the first place whose token can be read.
func (a *app) local() found {
	for _, f := range a.candidates() {
		if _, err := a.readFile(f.tokenFile); err == nil {
			return f
		}
	}
	return found{}
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// dial makes the client on first use.
func (n *connection) dial() (*client.Client, error) {
	if n.client != nil {
		return n.client, nil
	}
	a, here := n.app, found{}
	server := first(n.server, a.getenv("CAIRN_SERVER"))
	if server == "" {
		if here = a.local(); here.server == "" {
			return nil, errors.New("no server is named and none runs on this machine\nhint: give --server or CAIRN_SERVER, or start one with `cairn up` or `cairn lab up`")
		}
		server = here.server
	}
	o := client.Options{Server: server, UserAgent: "cairn-cli/" + version}
	var err error
	if o.Token, err = n.token(here); err != nil {
		return nil, err
	}
	if file := first(n.caFile, a.getenv("CAIRN_CA"), here.caFile); file != "" {
		if o.CA, err = a.readFile(file); err != nil {
			return nil, fmt.Errorf("read the CA: %w", err)
		}
	}
	n.client, err = client.New(o)
	return n.client, err
}

func (n *connection) token(here found) (string, error) {
	file := n.tokenFile
	if t := n.app.getenv("CAIRN_TOKEN"); t != "" && file == "" {
		return t, nil
	}
	if file = first(file, here.tokenFile); file == "" {
		return "", errors.New("there is no token\nhint: set CAIRN_TOKEN, or give --token-file")
	}
	b, err := n.app.readFile(file)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// in returns the project to work in: the one named, or else the token's own.
// Only a cloud administrator sees several, and such a token is of "system".
func (n *connection) in(ctx context.Context, k api.Kind) (string, error) {
	if k.Scope == api.ScopeCloud {
		return "", nil
	}
	if n.resolved == "" {
		n.resolved = first(n.project, n.app.getenv("CAIRN_PROJECT"))
	}
	if n.resolved != "" {
		return n.resolved, nil
	}
	c, err := n.dial()
	if err != nil {
		return "", err
	}
	projects, _ := api.KindByName(api.KindProject)
	all, _, err := c.ListAll(ctx, projects, client.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("find the token's project: %w", err)
	}
	n.resolved = api.SystemProject
	if len(all) == 1 {
		n.resolved = all[0].GetMeta().Name
	}
	return n.resolved, nil
}

// open is what every command begins with: the client, and the project to work in.
func (n *connection) open(ctx context.Context, k api.Kind) (*client.Client, string, error) {
	c, err := n.dial()
	if err != nil {
		return nil, "", err
	}
	project, err := n.in(ctx, k)
	return c, project, err
}

func (n *connection) close() {
	if n.client != nil {
		n.client.Close()
	}
}
