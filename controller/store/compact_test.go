package store

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"unsafe"

	"github.com/cairn-cloud/cairn/api"
)

func TestCompact_changesNothingThatCanBeRead(t *testing.T) {
	files, err := filepath.Glob("../../api/testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range api.Kinds {
			if matches, _ := filepath.Match(k.Name+".v*.json", filepath.Base(f)); !matches {
				continue
			}
			seen++
			want, got := k.New(), k.New()
			for _, o := range []api.Object{want, got} {
				if err := json.Unmarshal(b, o); err != nil {
					t.Fatal(err)
				}
			}
			compact(got)
			if !reflect.DeepEqual(want, got) {
				t.Errorf("%s: it was\n%+v\nand is\n%+v", k.Name, want, got)
			}
		}
	}
	if seen < len(api.Kinds) {
		t.Errorf("tried %d examples for %d kinds", seen, len(api.Kinds))
	}
}

func TestCompact_oneTextForEqualOnes(t *testing.T) {
	a, b := &api.Project{}, &api.Project{}
	a.Name, b.Name = string([]byte("same")), string([]byte("same"))
	a.Spec.Description = string(make([]byte, longestShared+1))
	compact(a)
	compact(b)
	if a.Name != "same" || len(a.Spec.Description) != longestShared+1 {
		t.Errorf("%+v", a)
	}
	if unsafe.StringData(a.Name) != unsafe.StringData(b.Name) {
		t.Error("two equal texts are in memory")
	}
}
