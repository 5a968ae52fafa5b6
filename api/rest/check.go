package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sort"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cairn-cloud/cairn/api"
)

// checker compares a JSON value with a schema and collects every fault. The
// walk is ours, because huma takes keys in any case and loses the path behind
// a key with a dot in it; each scalar is judged by huma.Validate.
type checker struct {
	schemas *schemas
	faults  api.Faults
	patch   bool // nothing is required, null removes
	// given are the read-only fields that the value had. They are taken out of
	// it, and may be given only as they are: see readOnlyFaults.
	given []givenField
}

type givenField struct {
	path  string
	value any
}

func (c *checker) add(field, code, hint, format string, args ...any) {
	c.faults = append(c.faults, api.Fault{Field: field, Code: code, Detail: fmt.Sprintf(format, args...), Hint: hint})
}

func (c *checker) check(path string, x *huma.Schema, v any) {
	x = c.schemas.resolve(x)
	// Null removes what a user gave; the body and the spec are not to be removed.
	if v == nil && (c.patch && path != "" && path != "spec" || x.Nullable) {
		return
	}
	if got := typeOf(v); x.Type != "" && !fits(got, x.Type) {
		c.add(path, "wrong_type", typeHint(path, x, v), "%s is given where %s is wanted", article(got), article(x.Type))
		return
	}
	switch v := v.(type) {
	case map[string]any:
		c.checkObject(path, x, v)
	case []any:
		c.checkArray(path, x, v)
	default:
		c.checkScalar(path, x, v)
	}
}

func (c *checker) checkObject(path string, x *huma.Schema, m map[string]any) {
	for _, key := range sortedKeys(m) {
		at := join(path, key)
		if p, ok := x.Properties[key]; ok {
			switch {
			case p.ReadOnly:
				if m[key] != nil {
					c.given = append(c.given, givenField{at, m[key]})
				}
				delete(m, key)
			case m[key] == nil && !slices.Contains(x.Required, key): // as if it were absent
			default:
				c.check(at, p, m[key])
			}
			continue
		}
		if each, ok := x.AdditionalProperties.(*huma.Schema); ok {
			c.check(at, each, m[key])
			continue
		}
		known := sortedKeys(x.Properties)
		c.add(at, "unknown_field", didYouMean(key, known), "there is no field %q here", key)
	}
	if c.patch {
		return
	}
	for _, key := range x.Required {
		if _, ok := m[key]; !ok && !x.Properties[key].ReadOnly {
			c.add(join(path, key), "missing_field", "", "%s is required", join(path, key))
		}
	}
}

func (c *checker) checkArray(path string, x *huma.Schema, list []any) {
	if x.MaxItems != nil && len(list) > *x.MaxItems {
		c.add(path, "invalid_value", "", "%d items are more than %d", len(list), *x.MaxItems)
		return
	}
	if x.MinItems != nil && len(list) < *x.MinItems {
		c.add(path, "invalid_value", "", "%d items are fewer than %d", len(list), *x.MinItems)
	}
	inside := *c
	inside.patch = false // a merge patch replaces arrays whole
	for i, item := range list {
		inside.check(fmt.Sprintf("%s[%d]", path, i), x.Items, item)
	}
	c.faults, c.given = inside.faults, inside.given
}

func (c *checker) checkScalar(path string, x *huma.Schema, v any) {
	if n, ok := v.(json.Number); ok {
		if _, err := n.Int64(); x.Type == huma.TypeInteger && err != nil {
			c.add(path, "invalid_value", "give digits, without a fraction or an exponent", "%s is not a whole number that fits in 64 bits", n)
			return
		}
		f, err := n.Float64()
		if err != nil {
			c.add(path, "invalid_value", "", "%s is not a number that fits", n)
			return
		}
		v = f
	}
	if s, ok := v.(string); ok && x.Format == "cidr" {
		if _, err := netip.ParsePrefix(s); err != nil {
			c.add(path, "invalid_value", "give a prefix such as 10.0.0.0/24", "%q is not an address prefix", s)
			return
		}
	}
	if s, ok := v.(string); ok && s == "" && strings.HasPrefix(x.Format, "ip") {
		return // an absent address, as Go writes it
	}
	var res huma.ValidateResult
	huma.Validate(c.schemas.registry, x, huma.NewPathBuffer(nil, 0), huma.ModeWriteToServer, v, &res)
	if len(res.Errors) > 0 {
		c.add(path, "invalid_value", valueHint(x, v), "%s: %v is given", detail(res.Errors[0]), quoted(v))
	}
}

func detail(err error) string {
	var d *huma.ErrorDetail
	if errors.As(err, &d) {
		return d.Message
	}
	return err.Error()
}

func quoted(v any) string {
	s, ok := v.(string)
	if !ok {
		return fmt.Sprint(v)
	}
	if len(s) > 80 {
		return fmt.Sprintf("a string of %d bytes", len(s))
	}
	return fmt.Sprintf("%q", s)
}

func valueHint(x *huma.Schema, v any) string {
	s, ok := v.(string)
	if !ok || len(x.Enum) == 0 {
		return x.Description
	}
	var names []string
	for _, e := range x.Enum {
		names = append(names, fmt.Sprint(e))
	}
	return didYouMean(s, names)
}

func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return huma.TypeBoolean
	case json.Number:
		if _, err := v.Int64(); err == nil {
			return huma.TypeInteger
		}
		return huma.TypeNumber
	case string:
		return huma.TypeString
	case []any:
		return huma.TypeArray
	case map[string]any:
		return huma.TypeObject
	}
	return reflect.TypeOf(v).String()
}

// fits leaves a number where an integer is wanted to checkScalar.
func fits(got, want string) bool {
	number := func(t string) bool { return t == huma.TypeInteger || t == huma.TypeNumber }
	return got == want || number(got) && number(want)
}

func article(t string) string {
	switch t {
	case "null":
		return "null"
	case huma.TypeInteger:
		return "a whole number"
	case huma.TypeArray, huma.TypeObject:
		return "an " + t
	}
	return "a " + t
}

// units are what the endings of names say about their numbers.
var units = []struct{ suffix, unit string }{{"_mib", "MiB"}, {"_gib", "GiB"}, {"_bytes", "bytes"}, {"_seconds", "seconds"}}

func typeHint(path string, x *huma.Schema, v any) string {
	if _, text := v.(string); text && (x.Type == huma.TypeInteger || x.Type == huma.TypeNumber) {
		for _, u := range units {
			if strings.HasSuffix(path, u.suffix) {
				return "give a number of " + u.unit + ", without a unit and without quotes"
			}
		}
		return "give a number, without quotes"
	}
	return x.Description
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
