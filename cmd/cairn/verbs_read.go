package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// helpFor answers a command that is only a group of others.
func helpFor(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(c, fmt.Errorf("%s has no verb %q", c.CommandPath(), args[0]))
	}
	return c.Help()
}

func listCommand(n *connection, k api.Kind) *cobra.Command {
	var o client.ListOptions
	var watch, all bool
	c := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List " + words(k.Plural), Args: noArgs}
	c.Flags().StringVarP(&o.Labels, "labels", "l", "", "only those with these labels: a=b,c!=d,e")
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on with every change, until interrupted")
	if k.Scope == api.ScopeProject {
		c.Flags().BoolVarP(&all, "all-projects", "A", false, "of all projects (cloud administrators)")
	}
	format := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := checkFormat(*format); err != nil {
			return usage(c, err)
		}
		defer n.close()
		cl, err := n.dial()
		if err != nil {
			return err
		}
		if !all {
			if o.Project, err = n.in(c.Context(), k); err != nil {
				return err
			}
		}
		list, revision, err := cl.ListAll(c.Context(), k, o)
		if err != nil {
			return err
		}
		if !watch {
			return n.printList(c.Context(), k, *format, list)
		}
		return n.watch(c.Context(), k, *format, list, client.WatchOptions{Project: o.Project, Labels: o.Labels, From: client.Revision(revision)})
	}
	return c
}

// watch prints the list and then a line for each change, as soon as it happens.
func (n *connection) watch(ctx context.Context, k api.Kind, format string, list []api.Object, o client.WatchOptions) error {
	for _, item := range list {
		if err := n.printChange(ctx, k, format, api.EventPut, item); err != nil {
			return err
		}
	}
	for e, err := range n.client.Watch(ctx, k, o) {
		if ctx.Err() != nil {
			return nil // interrupted, which is how a watch ends
		}
		if err != nil {
			return err
		}
		if e.Type == api.EventBookmark {
			continue
		}
		if err := n.printChange(ctx, k, format, e.Type, e.Object); err != nil {
			return err
		}
	}
	return nil
}

func (n *connection) printChange(ctx context.Context, k api.Kind, format, what string, o api.Object) error {
	switch {
	case format == "json":
		b, err := json.Marshal(api.WatchEvent{Type: what, Kind: k.Name, Object: o})
		if err != nil {
			return err
		}
		return n.app.printf("%s\n", b)
	case format == "yaml":
		if err := n.app.printf("---\n"); err != nil {
			return err
		}
		return n.app.printValue("yaml", api.WatchEvent{Type: what, Kind: k.Name, Object: o})
	case strings.HasPrefix(format, "field="):
		return n.printOne(ctx, k, format, o)
	}
	row := append([]string{what}, n.row(columns(k, format), format, o)...)
	return n.app.printf("%s\n", strings.Join(row, "\t"))
}

func getCommand(n *connection, k api.Kind) *cobra.Command {
	c := &cobra.Command{Use: "get NAME", Short: "Show " + article(k.Name), Args: oneArg}
	format := outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := checkFormat(*format); err != nil {
			return usage(c, err)
		}
		defer n.close()
		cl, project, err := n.open(c.Context(), k)
		if err != nil {
			return err
		}
		r, err := cl.Get(c.Context(), k, project, args[0])
		if err != nil {
			return err
		}
		return n.printOne(c.Context(), k, *format, r.Object)
	}
	return c
}

func consoleLogCommand(n *connection, k api.Kind) *cobra.Command {
	var limit int64
	c := &cobra.Command{Use: "console-log NAME", Short: "Print what an instance wrote to its serial console", Args: oneArg}
	c.Flags().Int64Var(&limit, "limit", 0, "only the last so many bytes (default: the server's)")
	c.RunE = func(c *cobra.Command, args []string) error {
		defer n.close()
		cl, project, err := n.open(c.Context(), k)
		if err != nil {
			return err
		}
		b, err := cl.ConsoleLog(c.Context(), project, args[0], limit)
		if err != nil {
			return err
		}
		_, err = n.app.out.Write(b)
		return err
	}
	return c
}

// words is a kind's name in a sentence.
func words(name string) string { return strings.ReplaceAll(name, "-", " ") }

func article(name string) string {
	if strings.ContainsRune("aeiou", rune(name[0])) || strings.HasPrefix(name, "ssh") {
		return "an " + words(name)
	}
	return "a " + words(name)
}
