package main

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cairn-cloud/cairn/api"
)

// printTable prints resources as a table with aligned columns. References are
// shown by name, as people gave them; with -o wide, by ID.
func (n *connection) printTable(ctx context.Context, k api.Kind, format string, list []api.Object) error {
	cols := columns(k, format)
	rows := make([][]string, 0, len(list)+1)
	var titles []string
	for _, c := range cols {
		titles = append(titles, c.Title)
	}
	for _, o := range list {
		rows = append(rows, n.row(cols, format, o))
	}
	if format != "wide" {
		n.nameReferences(ctx, rows)
	}
	return n.app.write(layout(append([][]string{titles}, rows...), n.app.colour(n.app.out)))
}

func (n *connection) row(cols []api.Column, format string, o api.Object) []string {
	t, out := tree(o), make([]string, 0, len(cols))
	for _, c := range cols {
		s := printable(cell(at(t, c.Path)))
		if c.Path == "created_at" {
			s = age(n.app.now(), s)
		} else if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
			s = t.UTC().Format(time.RFC3339) // to the second
		}
		if format != "wide" {
			s = shorten(s, 60)
		}
		out = append(out, s)
	}
	return out
}

// layout pads the columns. The second column of words is a state, which gets a
// colour where colours are wanted.
func layout(rows [][]string, colour bool) string {
	width := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, s := range r {
			width[i] = max(width[i], utf8.RuneCountInString(s))
		}
	}
	var b strings.Builder
	for _, r := range rows {
		var line strings.Builder
		for i, s := range r {
			if s == "" {
				s = "-"
			}
			pad := strings.Repeat(" ", max(width[i]-utf8.RuneCountInString(s), 0)+2)
			if colour {
				s = paint(api.State(s))
			}
			line.WriteString(s + pad)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// paint gives a state its colour, and leaves any other word as it is.
func paint(s api.State) string {
	code := ""
	switch s {
	case api.StateReady, api.StateRunning, api.StateActive:
		code = "32"
	case api.StateFailed, api.StateNotReady, api.StateDown:
		code = "31"
	case api.StatePending, api.StateUploading, api.StateImporting, api.StateStarting, api.StateStopping, api.StateDeleting:
		code = "33"
	default:
		return string(s)
	}
	return "\x1b[" + code + "m" + string(s) + "\x1b[0m"
}

func (a *app) write(s string) error { return a.printf("%s", s) }

// nameReferences puts names in the place of IDs, one request an ID. What
// cannot be read stays an ID. A table of very many different ones stays as it
// is, so that a list does not become a thousand requests.
func (n *connection) nameReferences(ctx context.Context, rows [][]string) {
	const most = 40
	names := map[string]string{}
	for _, r := range rows {
		for _, s := range r {
			if k, ok := api.KindByID(s); ok && k.Name != api.KindOperation {
				names[s] = ""
			}
		}
	}
	if n.client == nil || len(names) > most {
		return
	}
	for id := range names {
		k, _ := api.KindByID(id)
		if r, err := n.client.Get(ctx, k, "", id); err == nil && r.Object != nil {
			names[id] = r.Object.GetMeta().Name
		}
	}
	for _, r := range rows {
		for i, s := range r {
			if names[s] != "" {
				r[i] = names[s]
			}
		}
	}
}
