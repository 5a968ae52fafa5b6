package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

func (a *app) upCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "up", Short: "Run a whole cloud on this machine", Args: noArgs,
		Long: "Runs the control plane and the agent of this machine in one process: the least that is a cloud. Other machines may join it.\n" +
			"It needs libvirtd. Stopping it stops no guest.",
	}
	control, host := &controllerFlags{}, &agentFlags{listen: ":7444"}
	control.add(c, ":7443")
	host.addHost(c)
	logger := a.logFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		log, err := logger()
		if err != nil {
			return err
		}
		control.member.name = host.name
		g, ctx := errgroup.WithContext(c.Context())
		ready := make(chan string, 1)
		g.Go(func() error {
			return a.runController(ctx, log.With("part", "controller"), control, func(url string) { ready <- url })
		})
		g.Go(func() error {
			select {
			case url := <-ready:
				host.servers = []string{url}
			case <-ctx.Done():
				return nil
			}
			if a.ready != nil {
				a.ready(host.servers[0])
			}
			return a.runAgent(ctx, log.With("part", "agent"), host, func(ctx context.Context) (string, error) { return a.inviteSelf(ctx, control.data, host) })
		})
		return g.Wait()
	}
	return c
}

// inviteSelf makes a join token for this machine, with the admin token that the
// controller has left for its owner.
func (a *app) inviteSelf(ctx context.Context, data string, host *agentFlags) (string, error) {
	token, err := a.readFile(filepath.Join(data, "admin.token"))
	if err != nil {
		return "", fmt.Errorf("make a join token for this machine: %w", err)
	}
	ca, err := a.readFile(filepath.Join(data, "ca.crt"))
	if err != nil {
		return "", fmt.Errorf("make a join token for this machine: %w", err)
	}
	c, err := client.New(client.Options{Server: host.servers[0], Token: strings.TrimSpace(string(token)), CA: ca})
	if err != nil {
		return "", err
	}
	defer c.Close()
	k, _ := api.KindByName(api.KindJoinToken)
	t := &api.JoinToken{}
	t.Name = "up-" + host.name
	if _, err := c.Delete(ctx, k, "", t.Name, client.WriteOptions{}); err != nil && !client.IsCode(err, "not_found") {
		return "", fmt.Errorf("make a join token for this machine: %w", err)
	}
	r, err := c.Create(ctx, t, client.WriteOptions{})
	if err != nil {
		return "", fmt.Errorf("make a join token for this machine: %w", err)
	}
	return r.Object.(*api.JoinToken).Secret, nil
}
