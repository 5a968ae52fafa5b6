package main

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/spf13/cobra"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// change is what all changing verbs have in common: they connect, ask, wait and print.
type change struct {
	n      *connection
	kind   api.Kind
	wait   waitFlags
	write  client.WriteOptions
	format *string
}

func newChange(n *connection, k api.Kind, c *cobra.Command) *change {
	ch := &change{n: n, kind: k, format: outputFlag(c)}
	if !k.Immediate {
		ch.wait.add(c)
	}
	c.Flags().BoolVar(&ch.write.DryRun, "dry-run", false, "only say what would happen")
	c.Flags().StringVar(&ch.write.IdempotencyKey, "idempotency-key", "", "make a repeated command the same change (default: a random key)")
	return ch
}

func (ch *change) ifMatch(c *cobra.Command) {
	c.Flags().Int64Var(&ch.write.IfMatch, "if-match", 0, "revision that the resource must have (default: any)")
}

// do connects, makes the request and deals with its result.
func (ch *change) do(c *cobra.Command, ask func(ctx context.Context, cl *client.Client, project string) (client.Result, error)) error {
	if err := checkFormat(*ch.format); err != nil {
		return usage(c, err)
	}
	n, ctx := ch.n, c.Context()
	defer n.close()
	cl, project, err := n.open(ctx, ch.kind)
	if err != nil {
		return err
	}
	r, err := ask(ctx, cl, project)
	if err != nil {
		return err
	}
	if r.Preview != nil {
		n.app.preview(r.Preview)
	}
	secret := at(tree(r.Object), "secret")
	o, err := n.settle(ctx, ch.wait, project, r)
	if err != nil {
		return err
	}
	switch {
	case o == nil && r.Preview != nil:
		n.app.progress("%s: would be gone\n", ch.kind.Name)
		return nil
	case o == nil:
		n.app.progress("%s: gone\n", ch.kind.Name)
		return nil
	case r.Replayed && hasSecret(ch.kind):
		n.app.progress("it was made before under this key, and its secret was in that answer only: if that did not arrive, delete the %s and make another\n", words(ch.kind.Name))
	}
	if err := n.printOne(ctx, ch.kind, *ch.format, o); err != nil {
		return err
	}
	if s, ok := secret.(string); ok && *ch.format == "table" {
		n.app.progress("The secret is shown once, here:\n")
		return n.app.printf("%s\n", s)
	}
	return nil
}

// hasSecret tells whether resources of the kind come with a secret that is shown once.
func hasSecret(k api.Kind) bool {
	return reflect.ValueOf(k.New()).Elem().FieldByName("Secret").IsValid()
}

// preview says what a dry run found.
func (a *app) preview(p *api.Preview) {
	a.progress("dry run: nothing was changed\n")
	if p.Host != "" || p.Reason != "" {
		a.progress("host: %s (%s)\n", first(p.Host, "none"), p.Reason)
	}
	for _, r := range p.Rejected {
		a.progress("  %s rejects %d hosts: %s\n", r.Filter, r.Hosts, r.Detail)
	}
	for _, address := range p.Addresses {
		a.progress("address: %s\n", address)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Quota)) {
		q := p.Quota[name]
		a.progress("quota %s: %d of %d, then %d\n", name, q.Used, q.Limit, q.After)
	}
}

func createCommand(n *connection, k api.Kind) *cobra.Command {
	c := &cobra.Command{Use: "create NAME", Short: "Create " + article(k.Name), Args: oneArg}
	ch := newChange(n, k, c)
	b := n.app.bodyFlags(c, k)
	var bytes string
	if k.Name == api.KindImage {
		c.Flags().StringVar(&bytes, "file", "", "file with the bytes of the image, sent at once")
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		body, err := b.build(c, args[0])
		if err != nil {
			return err
		}
		return ch.do(c, func(ctx context.Context, cl *client.Client, project string) (client.Result, error) {
			r, err := cl.CreateFrom(ctx, k, project, body, ch.write)
			if err != nil || k.Name != api.KindImage || ch.write.DryRun {
				return r, err
			}
			return n.fill(ctx, project, bytes, r)
		})
	}
	return c
}

func updateCommand(n *connection, k api.Kind) *cobra.Command {
	c := &cobra.Command{Use: "update NAME", Short: "Change " + article(k.Name) + "; what is not given stays", Args: oneArg}
	ch := newChange(n, k, c)
	ch.ifMatch(c)
	b := n.app.bodyFlags(c, k)
	rename := c.Flags().String("rename", "", "new name")
	c.RunE = func(c *cobra.Command, args []string) error {
		patch, err := b.build(c, *rename)
		if err != nil {
			return err
		}
		if len(patch) == 0 {
			return usage(c, fmt.Errorf("nothing to change is given"))
		}
		return ch.do(c, func(ctx context.Context, cl *client.Client, project string) (client.Result, error) {
			return cl.Patch(ctx, k, project, args[0], patch, ch.write)
		})
	}
	return c
}

func deleteCommand(n *connection, k api.Kind) *cobra.Command {
	c := &cobra.Command{Use: "delete NAME", Aliases: []string{"rm"}, Short: "Delete " + article(k.Name), Args: oneArg}
	ch := newChange(n, k, c)
	ch.ifMatch(c)
	if !k.Immediate {
		c.Flags().BoolVar(&ch.write.Force, "force", false, "give up what is on a host that is gone for good (cloud administrators)")
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		return ch.do(c, func(ctx context.Context, cl *client.Client, project string) (client.Result, error) {
			return cl.Delete(ctx, k, project, args[0], ch.write)
		})
	}
	return c
}

func actionCommand(n *connection, k api.Kind, action api.Action) *cobra.Command {
	c := &cobra.Command{Use: action.Name + " NAME", Short: action.Doc, Args: oneArg}
	ch := newChange(n, k, c)
	ch.ifMatch(c)
	b := &bodyFlags{app: n.app, kind: k, texts: map[string]*string{}, lists: map[string]*[]string{}}
	if action.Input != nil {
		b.fields = specFields(reflect.TypeOf(action.Input).Elem())
	}
	for _, f := range b.fields {
		b.add(c, f.flag, f.doc, f.list || f.isMap, f.isBool)
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		body := map[string]any{}
		for _, f := range b.fields {
			if c.Flags().Changed(f.flag) {
				if err := f.set(body, b.values(f.flag)); err != nil {
					return usage(c, err)
				}
			}
		}
		var input any
		if len(body) > 0 {
			input = body
		}
		return ch.do(c, func(ctx context.Context, cl *client.Client, project string) (client.Result, error) {
			return cl.Action(ctx, k, project, args[0], action.Name, input, ch.write)
		})
	}
	return c
}
