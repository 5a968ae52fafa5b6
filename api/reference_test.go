package api_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

// The reference page of a kind is made from its Kind, its struct tags and its
// example, so that it cannot say anything else than the code.
func TestReference_isFresh(t *testing.T) {
	dir := filepath.Join("..", "docs", "reference", "kinds")
	wanted := map[string]bool{"README.md": true}
	for _, k := range api.Kinds {
		_, ex := example(t, k)
		golden(t, filepath.Join(dir, k.Name+".md"), []byte(page(k, ex)))
		wanted[k.Name+".md"] = true
	}
	golden(t, filepath.Join(dir, "README.md"), []byte(index()))
	have, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range have {
		if !wanted[f.Name()] {
			t.Errorf("%s describes a kind that is not there; remove it", f.Name())
		}
	}
}

func index() string {
	var b strings.Builder
	b.WriteString("# The kinds of resources\n\n<!-- Made by: go test ./api -update -->\n\n| kind | what it is |\n|---|---|\n")
	for _, k := range api.Kinds {
		fmt.Fprintf(&b, "| [%s](%s.md) | %s |\n", k.Name, k.Name, cell(k.Doc))
	}
	return b.String()
}

func page(k api.Kind, ex []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n<!-- Made by: go test ./api -update -->\n\n%s\n\n", k.Name, k.Doc)
	b.WriteString(routes(k))
	fmt.Fprintf(&b, "IDs begin with `%s_`. States: %s.\n%s\n\n", k.IDPrefix, states(k), accessInWords[k.Access])
	b.WriteString(actions(k))
	all := fieldsOf(reflect.TypeOf(k.New()).Elem())
	b.WriteString(table("Fields to set", all, func(f field) bool { return !f.ReadOnly }))
	b.WriteString(table("Fields given by Cairn", all, func(f field) bool { return f.ReadOnly }))
	fmt.Fprintf(&b, "## Example\n\n```json\n%s```\n", ex)
	return b.String()
}

var accessInWords = map[api.Access]string{
	api.AccessTenant:       "A project's viewers read them; its members and admins change them.",
	api.AccessProjectAdmin: "A project's admins read and change them.",
	api.AccessCatalog:      "Everybody reads them; cloud administrators change them.",
	api.AccessCloud:        "Cloud administrators read and change them.",
	api.AccessOwnProject:   "Every token may read its own; cloud administrators change them.",
}

func states(k api.Kind) string {
	var s []string
	for _, x := range k.States {
		s = append(s, "`"+string(x)+"`")
	}
	return strings.Join(s, ", ")
}

func routes(k api.Kind) string {
	base := "/v1/" + k.Plural
	var b strings.Builder
	b.WriteString("## Requests\n\n| | |\n|---|---|\n")
	if k.Scope == api.ScopeProject {
		base = "/v1/projects/{project}/" + k.Plural
	}
	line := func(v api.Verb, method, path, what string) {
		if k.Can(v) {
			fmt.Fprintf(&b, "| `%s %s` | %s |\n", method, path, what)
		}
	}
	line(api.VerbList, "GET", base, "list; with `watch=true`, follow changes")
	if k.Scope == api.ScopeProject {
		line(api.VerbList, "GET", "/v1/"+k.Plural, "list those of all projects (cloud administrators)")
	}
	line(api.VerbCreate, "POST", base, "create")
	line(api.VerbGet, "GET", base+"/{id}", "get, by ID or name")
	line(api.VerbUpdate, "PATCH", base+"/{id}", "change, by a merge patch")
	line(api.VerbDelete, "DELETE", base+"/{id}", "delete")
	for _, a := range k.Actions {
		fmt.Fprintf(&b, "| `POST %s/{id}/%s` | %s |\n", base, a.Name, cell(a.Doc))
	}
	return b.String() + "\n"
}

func actions(k api.Kind) string {
	var b strings.Builder
	for _, a := range k.Actions {
		if a.Input != nil {
			b.WriteString(table("Body of "+a.Name, fieldsOf(reflect.TypeOf(a.Input).Elem()), func(field) bool { return true }))
		}
	}
	return b.String()
}

// table lists fields. What is inside a read-only object is read-only too.
func table(title string, all []field, choose func(field) bool) string {
	var b strings.Builder
	readOnly := ""
	for _, f := range all {
		if readOnly != "" && strings.HasPrefix(f.Path, readOnly) {
			f.ReadOnly = true
		} else if readOnly = ""; f.ReadOnly && !f.Leaf {
			readOnly = f.Path + "."
		}
		if choose(f) && f.Leaf && f.Name != "*" {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Path, f.Type, cell(strings.Join(append([]string{f.Doc}, limits(f)...), " ")))
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "## " + title + "\n\n| field | type | |\n|---|---|---|\n" + b.String() + "\n"
}

func limits(f field) (out []string) {
	if v := f.Tag.Get("enum"); v != "" {
		out = append(out, "One of `"+strings.ReplaceAll(v, ",", "`, `")+"`.")
	}
	lo, hi := f.Tag.Get("minimum"), f.Tag.Get("maximum")
	switch {
	case lo != "" && hi != "":
		out = append(out, fmt.Sprintf("From %s to %s.", lo, hi))
	case lo != "":
		out = append(out, fmt.Sprintf("At least %s.", lo))
	}
	if v := f.Tag.Get("maxItems"); v != "" {
		out = append(out, fmt.Sprintf("At most %s.", v))
	}
	if v := f.Tag.Get("maxLength"); v != "" {
		out = append(out, fmt.Sprintf("Up to %s bytes.", v))
	}
	if v := f.Tag.Get("example"); v != "" {
		out = append(out, "Such as `"+v+"`.")
	}
	return out
}

// cell makes a text fit into a cell of a Markdown table.
func cell(s string) string {
	return strings.TrimSpace(strings.ReplaceAll(strings.ReplaceAll(s, "|", `\|`), "\n", " "))
}
