package controller

import (
	"slices"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

// TestKinds_everyKindOfTheAPIIsListed: a kind that is missing here would be
// written without being admitted.
func TestKinds_everyKindOfTheAPIIsListed(t *testing.T) {
	var want, got []string
	for _, k := range api.Kinds {
		// Events are written by controllers alone, and operations by nobody.
		if k.Name != api.KindEvent && k.Name != api.KindOperation {
			want = append(want, k.Name)
		}
	}
	for _, k := range Kinds {
		got = append(got, k.Name)
		of, ok := api.KindByName(k.Name)
		if !ok {
			t.Errorf("%s is no kind of the API", k.Name)
		}
		if (of.Can(api.VerbCreate) || of.Can(api.VerbUpdate)) && k.Admit == nil && k.Name != api.KindInstanceType && k.Name != api.KindHost {
			t.Errorf("%s: who admits it? Say here why nobody need", k.Name)
		}
		for watched := range k.Watches {
			if _, ok := api.KindByName(watched); !ok || k.Reconcile == nil {
				t.Errorf("%s watches %s, to no effect", k.Name, watched)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the kinds here are\n%v, and those of the API\n%v", got, want)
	}
}
