package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-cloud/cairn/api"
)

// kindCommands makes a command for every kind, with a verb for everything that
// can be done to it.
func (a *app) kindCommands() (out []*cobra.Command) {
	for _, k := range api.Kinds {
		out = append(out, a.kindCommand(k))
	}
	return out
}

func (a *app) kindCommand(k api.Kind) *cobra.Command {
	c := &cobra.Command{Use: k.Name, Aliases: []string{k.Plural}, Short: k.Doc}
	n := a.connectionFlags(c)
	if k.Scope == api.ScopeProject {
		c.PersistentFlags().StringVarP(&n.project, "project", "p", "", "project, by name or ID (CAIRN_PROJECT; default: the token's)")
	}
	verbs := []struct {
		verb api.Verb
		make func(*connection, api.Kind) *cobra.Command
	}{{api.VerbList, listCommand}, {api.VerbGet, getCommand}, {api.VerbCreate, createCommand}, {api.VerbUpdate, updateCommand}, {api.VerbDelete, deleteCommand}}
	for _, v := range verbs {
		if k.Can(v.verb) {
			c.AddCommand(v.make(n, k))
		}
	}
	for _, action := range k.Actions {
		c.AddCommand(actionCommand(n, k, action))
	}
	for _, extra := range extraCommands {
		if extra.kind == k.Name {
			c.AddCommand(extra.make(n, k))
		}
	}
	c.RunE = func(c *cobra.Command, args []string) error { return helpFor(c, args) }
	return c
}

// extraCommands are verbs that are no change of a spec.
var extraCommands = []struct {
	kind string
	make func(*connection, api.Kind) *cobra.Command
}{
	{api.KindInstance, consoleLogCommand},
	{api.KindImage, uploadCommand},
	{api.KindNetwork, traceCommand},
	{api.KindHost, hostNetworkCommand},
}

// waitFlags say whether to wait for what was asked for.
type waitFlags struct {
	wait    bool
	timeout time.Duration
}

func (w *waitFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&w.wait, "wait", true, "wait until it is done; --wait=false returns at once")
	c.Flags().DurationVar(&w.timeout, "timeout", 10*time.Minute, "how long to wait at most")
}

func outputFlag(c *cobra.Command) *string {
	return c.Flags().StringP("output", "o", "table", "table, wide, json, yaml or field=PATH, such as field=status.state")
}
