package rest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/cairn-cloud/cairn/api"
)

// tree is an object as parseJSON reads it.
func tree(o api.Object) (map[string]any, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	v, err := parseJSON(b)
	if err != nil {
		return nil, fmt.Errorf("read back %s: %w", o.GetMeta().ID, err)
	}
	m, _ := v.(map[string]any)
	return m, nil
}

// readOnlyFaults compares the read-only fields that a request gave with the
// object as it is. Equal ones are accepted, so that what was got can be edited and
// sent back. What changes by itself (the status) may have moved on since: it is
// accepted as long as the request shows the present revision, that is, nobody else
// changed the object in between.
func readOnlyFaults(given []givenField, o api.Object, projectName string) (api.Faults, error) {
	if len(given) == 0 {
		return nil, nil
	}
	now, err := tree(o)
	if err != nil {
		return nil, err
	}
	var f api.Faults
	edited := false
	for _, g := range given {
		if n, ok := g.value.(json.Number); ok && g.path == "revision" && o.GetMeta().Revision != 0 {
			edited = n.String() == fmt.Sprint(o.GetMeta().Revision)
		}
	}
	for _, g := range given {
		have := valueAt(now, g.path)
		switch {
		case same(g.value, have):
		case g.path == "project" && projectName != "" && g.value == projectName:
		case edited && !strings.HasPrefix(g.path, "spec."):
		case g.path == "revision" && o.GetMeta().Revision != 0:
			f = append(f, api.Fault{Field: g.path, Code: "read_only", Detail: "it was changed since by somebody else", Hint: "get it again and repeat the edit"})
		default:
			f = append(f, api.Fault{Field: g.path, Code: "read_only", Detail: "this field is given by Cairn", Hint: "leave it out"})
		}
	}
	return f, nil
}

// valueAt follows a path of names with dots between.
func valueAt(v any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

// same compares JSON values; absent, null and empty are one.
func same(a, b any) bool {
	return reflect.DeepEqual(a, b) || empty(a) && empty(b)
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == "" || v == "0001-01-01T00:00:00Z"
	case json.Number:
		return v == "0"
	case []any:
		return len(v) == 0
	case map[string]any:
		for _, x := range v {
			if !empty(x) {
				return false
			}
		}
		return true
	}
	return false
}
