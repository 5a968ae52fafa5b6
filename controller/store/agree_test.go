package store_test

import (
	"testing"

	"github.com/cairn-cloud/cairn/controller/store"
	"github.com/cairn-cloud/cairn/controller/store/storetest"
)

func TestAgree_onWhatTheFirstSaid(t *testing.T) {
	a := storetest.New(t)
	b := storetest.Beside(t, a)
	for _, x := range []struct {
		by         *store.Etcd
		mine, want string
	}{{a, "one", "one"}, {b, "two", "one"}, {a, "one", "one"}} {
		if got, err := x.by.Agree(t.Context(), "ca", x.mine); err != nil || got != x.want {
			t.Errorf("who says %q is told %q, %v", x.mine, got, err)
		}
	}
}
