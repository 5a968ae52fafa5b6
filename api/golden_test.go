package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

var update = flag.Bool("update", false, "write the golden files and the reference pages anew")

// example loads a kind's golden example, as strictly as REST does.
func example(t *testing.T, k api.Kind) (api.Object, []byte) {
	t.Helper()
	path := filepath.Join("testdata", fmt.Sprintf("%s.v%d.json", k.Name, k.Schema))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("every kind has a filled example: %v", err)
	}
	o := k.New()
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(o); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return o, b
}

func indent(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// golden compares with a file, or writes it with -update.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; make it with: go test ./api -update", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is stale; look at the difference, then: go test ./api -update\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

// The example fills every field, so a field that is renamed, dropped or stops
// being stored shows up here, and old records are known to stay readable.
func TestExample_fillsEveryFieldAndIsKept(t *testing.T) {
	for _, k := range api.Kinds {
		t.Run(k.Name, func(t *testing.T) {
			o, b := example(t, k)
			for _, path := range unset(reflect.ValueOf(o).Elem(), "") {
				if path == ".Resource.Meta.Project" && k.Scope == api.ScopeCloud {
					continue
				}
				t.Errorf("the example leaves %s empty", path)
			}
			if got := indent(t, o); !bytes.Equal(got, b) {
				t.Errorf("the example does not survive Go and back:\ngot:\n%s\nwant:\n%s", got, b)
			}
			if !reflect.DeepEqual(api.Clone(o), o) {
				t.Error("its clone is another")
			}
		})
	}
}

func TestExample_isCompleteAndRight(t *testing.T) {
	for _, k := range api.Kinds {
		t.Run(k.Name, func(t *testing.T) {
			o, _ := example(t, k)
			before := indent(t, o)
			o.Default()
			if after := indent(t, o); !bytes.Equal(before, after) {
				t.Errorf("Default changes a complete object:\n%s", after)
			}
			if err := o.Validate(); err != nil {
				t.Error(err)
			}
			if of, ok := api.KindByID(o.GetMeta().ID); !ok || of.Name != k.Name {
				t.Errorf("its ID %s is not of its kind", o.GetMeta().ID)
			}
		})
	}
}

func TestExample_claims(t *testing.T) {
	for _, k := range api.Kinds {
		t.Run(k.Name, func(t *testing.T) {
			o, _ := example(t, k)
			golden(t, filepath.Join("testdata", k.Name+".claims.json"), indent(t, o.Claims()))
			if !reflect.DeepEqual(o.Claims(), o.Claims()) {
				t.Error("Claims is no function: it gives two answers")
			}
		})
	}
}

// unset lists the fields of JSON that are zero.
func unset(v reflect.Value, at string) (out []string) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return []string{at}
		}
		return unset(v.Elem(), at)
	case reflect.Slice, reflect.Map:
		if v.Len() == 0 {
			return []string{at}
		}
		if v.Kind() == reflect.Map {
			return nil
		}
		// Some fields exclude each other: one element has the one, and one the other.
		for i := range v.Len() {
			empty := unset(v.Index(i), at+"[]")
			if i == 0 {
				out = empty
			}
			out = slices.DeleteFunc(out, func(s string) bool { return !slices.Contains(empty, s) })
		}
		return out
	case reflect.Struct:
		if v.Type().Implements(textMarshaler) {
			break
		}
		for i := range v.NumField() {
			out = append(out, unset(v.Field(i), at+"."+v.Type().Field(i).Name)...)
		}
		return out
	default:
	}
	if v.IsZero() {
		return []string{at}
	}
	return nil
}
