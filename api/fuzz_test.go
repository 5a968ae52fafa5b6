package api_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// Foreign bytes never make Default, Validate, Claims or an action panic.
func FuzzValidate(f *testing.F) {
	for i, k := range api.Kinds {
		b, err := os.ReadFile(filepath.Join("testdata", k.Name+".v1.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(i, b)
		f.Add(i, []byte(`{"name":"a","spec":{}}`))
	}
	f.Fuzz(func(t *testing.T, i int, b []byte) {
		if i < 0 || i >= len(api.Kinds) {
			return
		}
		k := api.Kinds[i]
		o := k.New()
		if json.Unmarshal(b, o) != nil {
			return
		}
		o.Default()
		invalid := o.Validate()
		o.Claims()
		api.OperationOf(o)
		var faults api.Faults
		if invalid != nil && (!errors.As(invalid, &faults) || len(faults) == 0) {
			t.Errorf("%s: an error without a fault", k.Name)
		}
	})
}
