package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/cairn-cloud/cairn/api"
)

// tree is a value of ours as parseJSON reads it.
func tree(value any) (any, error) {
	b, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return v, d.Decode(&v)
}

// readOnlyFaults compares the read-only fields that a request gave with the
// object as it is. Equal ones are accepted, so that what was got can be edited and
// sent back. What changes by itself (the status) may have moved on since: it is
// accepted as long as the request shows the present revision, that is, nobody else
// changed the object in between.
func readOnlyFaults(given []givenField, o api.Object) (api.Faults, error) {
	if len(given) == 0 {
		return nil, nil
	}
	now, err := tree(o)
	if err != nil {
		return nil, fmt.Errorf("read back %s: %w", o.GetMeta().ID, err)
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
		case edited && !strings.HasPrefix(g.path, "spec."):
		case g.path == "revision" && o.GetMeta().Revision != 0:
			f = append(f, api.Fault{Field: g.path, Code: "read_only", Detail: "it was changed since by somebody else", Hint: "get it again and repeat the edit"})
		default:
			f = append(f, api.Fault{Field: g.path, Code: "read_only", Detail: "this field is given by Cairn", Hint: "leave it out"})
		}
	}
	return f, nil
}

// unset drops what says no more than a new object does, whose read-only fields are
// all empty but for its project: that may be given by its ID or its name.
func unset(given []givenField, id, name string) []givenField {
	return slices.DeleteFunc(given, func(g givenField) bool {
		if g.path == "project" && name != "" {
			return g.value == id || g.value == name
		}
		return empty(g.value)
	})
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
