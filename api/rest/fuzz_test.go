package rest

import (
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cairn-cloud/cairn/api"
)

func testSchemas(t testing.TB) *schemas {
	t.Helper()
	return deriveSchemas(&huma.Components{Schemas: huma.NewMapRegistry(schemaPrefix, huma.DefaultSchemaNamer), Responses: map[string]*huma.Response{}})
}

// FuzzBody holds that any bytes are either refused with a problem or faults, or
// make an object that marshals again.
func FuzzBody(f *testing.F) {
	for _, s := range []string{`{}`, `null`, `[]`, `{"name":"x","spec":{"type":"t","image":"i","nics":[{"network":"n","addresses":[{"address":"10.0.0.1"}]}]}}`, `{"a":{"a":[1e999,"\ud800"]}}`, `{"labels":{"a.b":null}}`} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	schemas := testSchemas(f)
	f.Fuzz(func(t *testing.T, b []byte, patch bool) {
		v, err := parseJSON(b)
		if err != nil {
			var p *api.Problem
			if !errors.As(err, &p) || p.Code == "" {
				t.Fatalf("not a problem: %v", err)
			}
			return
		}
		if !json.Valid(b) || !utf8.Valid(b) {
			t.Fatalf("taken, and not JSON: %q", b)
		}
		for _, k := range api.Kinds {
			chk := &checker{schemas: schemas, patch: patch}
			chk.check("", schemas.kinds[k.Name].resource, v)
			if len(chk.faults) > 0 {
				for _, x := range chk.faults {
					if x.Code == "" || x.Detail == "" {
						t.Fatalf("a fault without a cause: %+v", x)
					}
				}
				continue
			}
			m, ok := v.(map[string]any)
			if !ok { // null is a merge patch that changes nothing
				continue
			}
			o := k.New()
			if patch {
				err = patchObject(k, o, m)
			} else {
				err = decode(m, o)
			}
			if err != nil {
				var p *api.Problem
				var faults api.Faults
				if !errors.As(err, &p) && !errors.As(err, &faults) {
					t.Fatalf("%s: not for a client: %v", k.Name, err)
				}
				continue
			}
			if _, err := json.Marshal(o); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzPageCursor(f *testing.F) {
	f.Add(pageCursor{Revision: 7, After: "ins_1", Filter: "f"}.String())
	f.Add("")
	f.Add("e30")
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := parsePageCursor(s)
		if !ok {
			return
		}
		if q, ok := parsePageCursor(p.String()); len(p.String()) <= 1024 && (!ok || q != p) {
			t.Fatalf("%+v became %+v", p, q)
		}
	})
}

func FuzzWatchCursor(f *testing.F) {
	for _, s := range []string{"1", "1.2", "0.0", "-1", "1.-2", "+1", "1.", ".", "9223372036854775808"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := parseWatchCursor(s)
		if !ok {
			return
		}
		if d, ok := parseWatchCursor(formatWatchCursor(c)); !ok || d != c || c.Revision < 0 || c.Index < 0 {
			t.Fatalf("%q is %+v, which became %+v", s, c, d)
		}
	})
}

func FuzzSelector(f *testing.F) {
	for _, s := range []string{"a=b,c!=d,e", "a==b", "=", ",", "a=b=c", "a!==b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		sel, err := parseSelector(s)
		if err != nil {
			return
		}
		for _, term := range sel {
			if term.op == labelIs && !(selector{term}).matches(map[string]string{term.key: term.value}) {
				t.Fatalf("%q does not match its own label", s)
			}
			if term.op == labelIsNot && (selector{term}).matches(map[string]string{term.key: term.value}) {
				t.Fatalf("%q matches what it excludes", s)
			}
		}
		sel.matches(nil)
	})
}

func FuzzIfMatch(f *testing.F) {
	f.Add(`"1"`)
	f.Add(`*`)
	f.Add(`W/"1"`)
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := ifMatch([]string{s}); err == nil && r < 0 {
			t.Fatalf("%q is revision %d", s, r)
		}
	})
}
