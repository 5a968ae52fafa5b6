package api_test

import (
	"encoding"
	"reflect"
	"strings"
	"time"
)

// field is one field of a resource as it is in JSON.
type field struct {
	Path, Name string // "spec.nics[].network", "network"
	Type       string // in words of JSON
	Doc        string
	ReadOnly   bool
	Optional   bool
	Leaf       bool
	Tag        reflect.StructTag
}

// Unit returns the unit that the name of a size must end in, "none" where the
// field is no size, and "" where it should have a unit and has none.
func (f field) Unit() string {
	for _, word := range []string{"memory", "disk", "size", "grace", "timeout"} {
		if !f.Leaf || f.Type != "integer" || !strings.Contains(f.Name, word) {
			continue
		}
		for _, unit := range []string{"_mib", "_gib", "_bytes", "_seconds"} {
			if strings.HasSuffix(f.Name, unit) {
				return unit
			}
		}
		return ""
	}
	return "none"
}

// fieldsOf lists the fields of a struct, in order, as encoding/json sees them.
func fieldsOf(t reflect.Type) []field { return appendFields(nil, t, "") }

func appendFields(out []field, t reflect.Type, prefix string) []field {
	for i := range t.NumField() {
		sf := t.Field(i)
		name, opts, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if sf.Anonymous && name == "" {
			out = appendFields(out, sf.Type, prefix)
			continue
		}
		if name == "-" || !sf.IsExported() {
			continue
		}
		f := field{
			Path: prefix + name, Name: name, Doc: sf.Tag.Get("doc"), Tag: sf.Tag,
			ReadOnly: sf.Tag.Get("readOnly") == "true",
			Optional: strings.Contains(opts, "omitempty") || strings.Contains(opts, "omitzero"),
		}
		elem, suffix := sf.Type, ""
		for {
			if elem.Kind() == reflect.Pointer {
				elem = elem.Elem()
			} else if elem.Kind() == reflect.Slice && elem.Elem().Kind() != reflect.Uint8 {
				elem, suffix = elem.Elem(), suffix+"[]"
			} else {
				break
			}
		}
		f.Type = jsonType(elem)
		f.Path += suffix
		if suffix != "" {
			f.Type = "list of " + f.Type
		}
		f.Leaf = f.Type != "object" && f.Type != "list of object"
		out = append(out, f)
		if !f.Leaf {
			out = appendFields(out, elem, f.Path+".")
		}
		if elem.Kind() == reflect.Map {
			entry := field{Path: f.Path + ".*", Name: "*", Doc: "One entry.", Type: jsonType(elem.Elem()), Leaf: true, ReadOnly: f.ReadOnly, Optional: true}
			out = append(out, entry)
		}
	}
	return out
}

var textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()

func jsonType(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "time"
	case t.Implements(textMarshaler):
		return "string"
	}
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Map:
		return "map"
	case reflect.Struct:
		return "object"
	default:
		return "integer"
	}
}
