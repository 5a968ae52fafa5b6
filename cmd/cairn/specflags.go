package main

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// specField is a field of a spec, or of an action's body, that a flag can set.
type specField struct {
	path   []string // in JSON, such as quota, vcpus
	flag   string   // such as quota-vcpus
	doc    string
	typ    reflect.Type // of one value
	list   bool         // the flag may be given many times
	isMap  bool         // the flag takes KEY=VALUE, many times
	isBool bool
}

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

// specFields lists what of a struct can be set by a flag: its scalars, lists of
// scalars and maps of words, also in nested structs, unless read-only.
func specFields(t reflect.Type, path ...string) (out []specField) {
	for i := range t.NumField() {
		sf := t.Field(i)
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if sf.Tag.Get("readOnly") == "true" || name == "-" || !sf.IsExported() {
			continue
		}
		if sf.Anonymous && name == "" {
			out = append(out, specFields(sf.Type, path...)...)
			continue
		}
		typ := sf.Type
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		f := specField{path: append(append([]string{}, path...), name), doc: sf.Tag.Get("doc"), typ: typ}
		f.flag = strings.ReplaceAll(strings.Join(f.path, "-"), "_", "-")
		if e := sf.Tag.Get("enum"); e != "" {
			f.doc = strings.TrimSpace(f.doc + " One of " + strings.ReplaceAll(e, ",", ", ") + ".")
		}
		switch {
		case scalar(typ):
			f.isBool = typ.Kind() == reflect.Bool
		case typ.Kind() == reflect.Slice && scalar(typ.Elem()):
			f.list, f.typ, f.flag = true, typ.Elem(), strings.TrimSuffix(f.flag, "s")
		case typ.Kind() == reflect.Map && typ.Elem().Kind() == reflect.String:
			f.isMap, f.typ, f.flag = true, typ.Elem(), strings.TrimSuffix(f.flag, "s")
		case typ.Kind() == reflect.Struct:
			out = append(out, specFields(typ, f.path...)...)
			continue
		default:
			continue // a list of structs: by --set, a file or a convenience
		}
		out = append(out, f)
	}
	return out
}

func scalar(t reflect.Type) bool {
	if reflect.PointerTo(t).Implements(textUnmarshaler) {
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint32, reflect.Uint64, reflect.Float64:
		return true
	default:
		return false
	}
}

// parse turns a flag's text into a value of JSON. What it cannot parse goes
// as it is: the server says best what is wrong with it.
func (f specField) parse(s string) any {
	switch {
	case f.typ == reflect.TypeFor[time.Time](), reflect.PointerTo(f.typ).Implements(textUnmarshaler):
		return s
	case f.typ.Kind() == reflect.Bool:
		if b, err := strconv.ParseBool(s); err == nil {
			return b
		}
	case f.typ.Kind() != reflect.String && json.Valid([]byte(s)):
		return json.RawMessage(s)
	}
	return s
}

// set puts a flag's values into a body.
func (f specField) set(body map[string]any, values []string) error {
	if !f.list && !f.isMap {
		return assign(body, f.path, f.parse(values[len(values)-1]))
	}
	if f.isMap {
		m := map[string]any{}
		for _, v := range values {
			k, word, ok := strings.Cut(v, "=")
			if !ok {
				return fmt.Errorf("--%s %s: give KEY=VALUE", f.flag, v)
			}
			m[k] = word
		}
		return assign(body, f.path, m)
	}
	list := make([]any, 0, len(values))
	for _, v := range values {
		list = append(list, f.parse(v))
	}
	return assign(body, f.path, list)
}

// assign sets a value deep in a body, making the objects on the way.
func assign(body map[string]any, path []string, v any) error {
	for _, p := range path[:len(path)-1] {
		next, ok := body[p].(map[string]any)
		if !ok {
			if body[p] != nil {
				return fmt.Errorf("%s: %s is no object", strings.Join(path, "."), p)
			}
			next = map[string]any{}
			body[p] = next
		}
		body = next
	}
	body[path[len(path)-1]] = v
	return nil
}
