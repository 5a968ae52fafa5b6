package api_test

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

var snakeCase = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

func TestKinds_nameEachThingOnce(t *testing.T) {
	word := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	seen := map[string]string{}
	once := func(what, s, kind string) {
		t.Helper()
		if other := seen[what+s]; other != "" {
			t.Errorf("%s: its %s %q is also that of %s", kind, what, s, other)
		}
		seen[what+s] = kind
	}
	for _, k := range api.Kinds {
		once("word ", k.Name, k.Name)
		once("word ", k.Plural, k.Name)
		once("prefix ", k.IDPrefix, k.Name)
		if !word.MatchString(k.Name) || !word.MatchString(k.Plural) || !regexp.MustCompile(`^[a-z]{2,4}$`).MatchString(k.IDPrefix) {
			t.Errorf("%s: name %q, plural %q or prefix %q is not of its form", k.Name, k.Name, k.Plural, k.IDPrefix)
		}
		if byName, ok := api.KindByName(k.Plural); !ok || byName.Name != k.Name {
			t.Errorf("%s is not found by its plural", k.Name)
		}
		if of, ok := api.KindOf(k.New()); !ok || of.Name != k.Name {
			t.Errorf("%s is not found by its Go type", k.Name)
		}
		if byID, ok := api.KindByID(k.IDPrefix + "_x"); !ok || byID.Name != k.Name {
			t.Errorf("%s is not found by an ID", k.Name)
		}
	}
}

func TestKinds_sayWhatTheyAre(t *testing.T) {
	for _, k := range api.Kinds {
		if !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s: Doc %q is not a sentence", k.Name, k.Doc)
		}
		if len(k.States) == 0 {
			t.Errorf("%s has no states", k.Name)
		}
		if k.Immediate && !reflect.DeepEqual(k.States, []api.State{api.StateReady}) {
			t.Errorf("%s is immediate, so that its only state is ready, not %v", k.Name, k.States)
		}
		if k.Schema != len(k.Upgrade)+1 {
			t.Errorf("%s: schema %d needs %d upgrades, there are %d", k.Name, k.Schema, k.Schema-1, len(k.Upgrade))
		}
		for _, a := range k.Actions {
			if a.Doc == "" || a.Apply == nil || !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(a.Name) {
				t.Errorf("%s: action %q lacks a doc, an Apply or a proper name", k.Name, a.Name)
			}
			if a.Input != nil && reflect.TypeOf(a.Input).Kind() != reflect.Pointer {
				t.Errorf("%s: the input of %s is no pointer", k.Name, a.Name)
			}
		}
	}
}

func TestKinds_columnsShowFieldsThatExist(t *testing.T) {
	for _, k := range api.Kinds {
		known := map[string]bool{}
		for _, f := range fieldsOf(reflect.TypeOf(k.New()).Elem()) {
			known[strings.ReplaceAll(f.Path, "[]", "")] = true
		}
		for _, c := range k.Columns {
			path := c.Path
			if !known[path] { // an entry of a map, such as status.usage.vcpus
				path = path[:strings.LastIndexByte(path, '.')] + ".*"
			}
			if !known[path] {
				t.Errorf("%s: column %s shows %s, which is no field", k.Name, c.Title, c.Path)
			}
		}
	}
}

func TestKinds_fieldsAreSnakeCaseAndDocumented(t *testing.T) {
	// What these say, their names say.
	selfExplanatory := map[string]bool{"name": true, "kind": true, "object": true}
	for _, k := range api.Kinds {
		types := map[string]reflect.Type{k.Name: reflect.TypeOf(k.New()).Elem()}
		for _, a := range k.Actions {
			if a.Input != nil {
				types[k.Name+" "+a.Name] = reflect.TypeOf(a.Input).Elem()
			}
		}
		for where, typ := range types {
			for _, f := range fieldsOf(typ) {
				if f.Name != "*" && !snakeCase.MatchString(f.Name) {
					t.Errorf("%s: the field %s is not snake_case", where, f.Path)
				}
				if f.Doc == "" && f.Leaf && !selfExplanatory[f.Name] {
					t.Errorf("%s: the field %s has no doc string", where, f.Path)
				}
				if f.Unit() == "" {
					t.Errorf("%s: the field %s measures something and does not name its unit", where, f.Path)
				}
			}
		}
	}
}
