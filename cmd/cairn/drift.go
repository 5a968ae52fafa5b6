package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// driftReport is what `cairn drift` prints in JSON and YAML.
type driftReport struct {
	Drift   []driftLine  `json:"drift"`
	Orphans []orphanLine `json:"orphans,omitempty"`
}

type driftLine struct {
	Kind     string `json:"kind"`
	Resource string `json:"resource"`
	Project  string `json:"project,omitempty"`
	Host     string `json:"host"`
	api.Drift
}

type orphanLine struct {
	Host string `json:"host"`
	api.Orphan
}

func (a *app) driftCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "drift [KIND NAME]", Short: "Show what is on hosts and is not as it is wanted",
		Long: "Shows what of instances and hosts differs from what is wanted, while it does: it is put right by itself, and an event of the resource then says what was.\n" +
			"Cloud administrators also see the orphans: what carries Cairn's mark on a host and no record owns. Each is kept in quarantine until the time shown, or until\n" +
			"cairn host remove-orphan HOST --orphan ID.",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 1 || len(args) > 2 {
				return usage(c, fmt.Errorf("give a kind and a name, or nothing for all"))
			}
			return nil
		},
	}
	n := a.connectionFlags(c)
	c.Flags().StringVarP(&n.project, "project", "p", "", "project, by name or ID (CAIRN_PROJECT; default: the token's; cloud administrators: all)")
	format := outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := checkFormat(*format); err != nil {
			return usage(c, err)
		}
		defer n.close()
		var r driftReport
		var err error
		if len(args) == 2 {
			r, err = n.driftOf(c.Context(), args[0], args[1])
		} else {
			r, err = n.driftOfAll(c.Context())
		}
		if err != nil {
			return err
		}
		return n.printDrift(*format, r)
	}
	return c
}

// driftOf is that of one resource.
func (n *connection) driftOf(ctx context.Context, kind, name string) (r driftReport, err error) {
	k, ok := api.KindByName(kind)
	if !ok || k.Name != api.KindInstance && k.Name != api.KindHost {
		return r, fmt.Errorf("%q has no drift\nhint: give instance or host", kind)
	}
	cl, project, err := n.open(ctx, k)
	if err != nil {
		return r, err
	}
	x, err := cl.Get(ctx, k, project, name)
	if err == nil {
		r.add(x.Object)
	}
	return r, err
}

// driftOfAll is that of all hosts and instances, as far as one may see them.
func (n *connection) driftOfAll(ctx context.Context) (r driftReport, err error) {
	cl, err := n.dial()
	if err != nil {
		return r, err
	}
	hosts, _ := api.KindByName(api.KindHost)
	instances, _ := api.KindByName(api.KindInstance)
	list, _, err := cl.ListAll(ctx, hosts, client.ListOptions{})
	var o client.ListOptions
	switch {
	case client.IsCode(err, "forbidden") || err == nil && n.project != "":
		if o.Project, err = n.in(ctx, instances); err != nil {
			return r, err
		}
	case err != nil:
		return r, err
	}
	more, _, err := cl.ListAll(ctx, instances, o)
	for _, x := range append(list, more...) {
		r.add(x)
	}
	return r, err
}

func (r *driftReport) add(o api.Object) {
	switch o := o.(type) {
	case *api.Host:
		for _, d := range o.Status.Drift {
			r.Drift = append(r.Drift, driftLine{Kind: api.KindHost, Resource: o.Name, Host: o.Name, Drift: d})
		}
		for _, x := range o.Status.Orphans {
			r.Orphans = append(r.Orphans, orphanLine{o.Name, x})
		}
	case *api.Instance:
		for _, d := range o.Status.Drift {
			r.Drift = append(r.Drift, driftLine{Kind: api.KindInstance, Resource: o.Name, Project: o.Project, Host: o.Placement.HostName, Drift: d})
		}
	}
}

func (n *connection) printDrift(format string, r driftReport) error {
	if format != "table" && format != "wide" {
		if r.Drift == nil {
			r.Drift = []driftLine{}
		}
		return n.app.printValue(format, r)
	}
	now := n.app.now()
	rows := [][]string{{"KIND", "RESOURCE", "FIELD", "DESIRED", "ACTUAL", "FOR", "HOST", "REPAIR"}}
	for _, d := range r.Drift {
		rows = append(rows, []string{d.Kind, d.Resource, printable(d.Field), printable(d.Desired), printable(d.Actual), span(now.Sub(d.Since)), d.Host, first(printable(d.Repair), "at once")})
	}
	out := layout(rows, false)
	if len(r.Orphans) > 0 {
		rows = [][]string{{"HOST", "ORPHAN", "WAS", "DOMAIN", "MEMORY MIB", "DISK MIB", "FOUND", "REMOVED IN"}}
		for _, x := range r.Orphans {
			rows = append(rows, []string{x.Host, x.ID, printable(first(x.Name, x.Project)), x.Domain, number(x.MemoryMiB), number(x.DiskMiB), span(now.Sub(x.FirstSeen)) + " ago", span(x.RemoveAt.Sub(now))})
		}
		out += "\n" + layout(rows, false)
	}
	return n.app.write(out)
}

func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}
