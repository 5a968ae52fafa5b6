package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sigs.k8s.io/yaml"

	"github.com/cairn-cloud/cairn/api"
)

func (a *app) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(a.out, format, args...)
	return err
}

// progress says something to a person; nobody waits for it.
func (a *app) progress(format string, args ...any) { _, _ = fmt.Fprintf(a.err, format, args...) }

// formats of -o, beside field=PATH.
var formats = []string{"table", "wide", "json", "yaml"}

func checkFormat(format string) error {
	if slices.Contains(formats, format) || strings.HasPrefix(format, "field=") {
		return nil
	}
	return fmt.Errorf("-o %s: give one of %s, or field=PATH such as field=status.state", format, strings.Join(formats, ", "))
}

// printOne prints a resource.
func (n *connection) printOne(ctx context.Context, k api.Kind, format string, o api.Object) error {
	if format == "table" || format == "wide" {
		return n.printTable(ctx, k, format, []api.Object{o})
	}
	return n.app.printValue(format, o)
}

// printList prints resources; in JSON and YAML, as a list.
func (n *connection) printList(ctx context.Context, k api.Kind, format string, list []api.Object) error {
	if path, ok := strings.CutPrefix(format, "field="); ok {
		for _, o := range list {
			if err := n.app.printf("%s\n", cell(at(tree(o), path))); err != nil {
				return err
			}
		}
		return nil
	}
	if isLog(k) {
		slices.SortStableFunc(list, func(a, b api.Object) int { return a.GetMeta().CreatedAt.Compare(b.GetMeta().CreatedAt) })
	}
	if format == "table" || format == "wide" {
		return n.printTable(ctx, k, format, list)
	}
	if list == nil {
		list = []api.Object{}
	}
	return n.app.printValue(format, list)
}

func (a *app) printValue(format string, v any) error {
	if path, ok := strings.CutPrefix(format, "field="); ok {
		return a.printf("%s\n", cell(at(tree(v), path)))
	}
	if format == "yaml" {
		b, err := yaml.Marshal(v)
		if err != nil {
			return err
		}
		return a.printf("%s", b)
	}
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// columns of a table: the kind's own between what all have. What is in effect
// as soon as it is written has no state worth a column; what nobody makes by
// hand, such as an event, has no name worth one.
func columns(k api.Kind, format string) []api.Column {
	var c []api.Column
	if format == "wide" {
		c = append(c, api.Column{Title: "ID", Path: "id"})
	}
	if !isLog(k) {
		c = append(c, api.Column{Title: "NAME", Path: "name"})
	}
	if !k.Immediate {
		c = append(c, api.Column{Title: "STATE", Path: "status.state"})
	}
	c = append(c, k.Columns...)
	if format == "wide" {
		c = append(c, api.Column{Title: "LABELS", Path: "labels"})
		if k.Scope == api.ScopeProject {
			c = append(c, api.Column{Title: "PROJECT", Path: "project"})
		}
	}
	if isLog(k) {
		return c
	}
	return append(c, api.Column{Title: "AGE", Path: "created_at"})
}

// isLog tells kinds that are records of what happened.
func isLog(k api.Kind) bool { return k.Immediate && !k.Can(api.VerbCreate) }

// tree is an object as JSON sees it.
func tree(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	var t any
	if json.Unmarshal(b, &t) != nil {
		return nil
	}
	return t
}

// at follows a path such as "status.usage.vcpus", through lists in each of their
// items.
func at(t any, path string) any {
	if path == "" {
		return t
	}
	switch x := t.(type) {
	case map[string]any:
		part, rest, _ := strings.Cut(path, ".")
		return at(x[part], rest)
	case []any:
		var out []any
		for _, item := range x {
			out = append(out, at(item, path))
		}
		return out
	default:
		return nil
	}
}

// cell is a value in a table.
func cell(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		return x
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	case []any:
		var s []string
		for _, e := range x {
			s = append(s, cell(e))
		}
		return strings.Join(s, ",")
	case map[string]any:
		var s []string
		for k, e := range x {
			s = append(s, k+"="+cell(e))
		}
		slices.Sort(s)
		return strings.Join(s, ",")
	default:
		return fmt.Sprint(x)
	}
}

// printable keeps what others wrote (the message of an agent, the name of a file)
// from speaking to the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// age is how long ago a time was, in one unit.
func age(now time.Time, s string) string {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.IsZero() {
		return ""
	}
	return span(now.Sub(t))
}

// span is a duration in its largest unit that says enough.
func span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// shorten cuts what would make a table unreadable.
func shorten(s string, to int) string {
	if utf8.RuneCountInString(s) <= to {
		return s
	}
	return string([]rune(s)[:to-1]) + "…"
}
