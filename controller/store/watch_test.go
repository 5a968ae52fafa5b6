package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
	"github.com/cairn-cloud/cairn/controller/store/storetest"
)

func line(e api.WatchEvent) string {
	return fmt.Sprintf("%d.%d %s %s %s", e.Cursor.Revision, e.Cursor.Index, e.Type, e.Kind, e.Object.GetMeta().ID)
}

// until collects the changes after the cursor, up to the first bookmark.
func until(t *testing.T, s *store.Etcd, kind string, after api.Cursor) (lines []string, at []api.Cursor) {
	t.Helper()
	for e, err := range s.Watch(t.Context(), kind, after) {
		if err != nil {
			t.Fatalf("watch after %v: %v", after, err)
		}
		if e.Type == api.EventBookmark {
			break
		}
		lines, at = append(lines, line(e)), append(at, e.Cursor)
	}
	return lines, at
}

func TestWatch_eachChangeOnceInOrderFromAnyCursorAndOverARestart(t *testing.T) {
	dir := t.TempDir()
	s := storetest.In(t, dir)
	commit(t, s, store.Change{Create: []api.Object{project("prj_a", "a"), network("net_a", "x", "prj_a"), network("net_b", "y", "prj_a")}})
	commit(t, s, store.Change{Create: []api.Object{network("net_c", "z", "prj_a")}, Delete: []api.Object{network("net_a", "", "prj_a")}})
	n := api.Clone(view(t, s, 0).Get(api.KindNetwork, "net_b").(*api.Network))
	n.Labels = map[string]string{"a": "b"}
	commit(t, s, store.Change{Update: []api.Object{n}})

	all, cursors := until(t, s, "", api.Cursor{})
	if len(all) != 6 {
		t.Fatalf("six changes, and the watch tells %q", all)
	}
	check := func(s *store.Etcd) {
		t.Helper()
		for i, c := range cursors {
			if rest, _ := until(t, s, "", c); !slices.Equal(rest, all[i+1:]) {
				t.Errorf("after %v: got %q, want %q", c, rest, all[i+1:])
			}
		}
	}
	check(s)
	check(storetest.Beside(t, s))
	if nets, _ := until(t, s, "networks", cursors[0]); len(nets) != 5 {
		t.Errorf("of networks: %q", nets)
	}
}

func TestWatch_resumesInTheMiddleOfATransactionAfterARestart(t *testing.T) {
	dir := t.TempDir()
	s := storetest.In(t, dir)
	commit(t, s, store.Change{Create: []api.Object{project("prj_a", "a"), network("net_a", "x", "prj_a"), network("net_b", "y", "prj_a")}})
	all, cursors := until(t, s, "", api.Cursor{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := storetest.In(t, dir)
	for i, c := range cursors {
		if rest, _ := until(t, again, "", c); !slices.Equal(rest, all[i+1:]) {
			t.Errorf("after %v: got %q, want %q", c, rest, all[i+1:])
		}
	}
}

func TestWatch_aDeleteShowsTheObjectAsItWasLast(t *testing.T) {
	s := storetest.New(t)
	world(t, s)
	i, p := instance("1", "hst_a")
	commit(t, s, store.Change{Create: []api.Object{i, p}})
	from := api.Cursor{Revision: commit(t, s, store.Change{Place: []*api.Instance{i}}), Index: 1 << 30}
	commit(t, s, store.Change{Delete: []api.Object{i, p}})
	for e, err := range s.Watch(t.Context(), api.KindInstance, from) {
		if err != nil {
			t.Fatal(err)
		}
		if last := e.Object.(*api.Instance); e.Type != api.EventDelete || last.Placement.Host != "hst_a" {
			t.Errorf("got %s of %+v", e.Type, last)
		}
		break
	}
}

func TestWatch_bookmarksWhenCaughtUpAndWakesForItsKindOnly(t *testing.T) {
	s := storetest.New(t)
	commit(t, s, store.Change{Create: []api.Object{project("prj_a", "a")}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	for e, err := range s.Watch(ctx, api.KindNetwork, api.Cursor{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Type)
		switch len(got) {
		case 1: // the project is none of its business
			commit(t, s, store.Change{Create: []api.Object{project("prj_b", "b")}})
			commit(t, s, store.Change{Create: []api.Object{network("net_a", "x", "prj_a")}})
		case 3:
			cancel()
		}
	}
	if want := []string{api.EventBookmark, api.EventPut, api.EventBookmark}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWatch_refusesWhatIsOlderThanTheHistory(t *testing.T) {
	s := storetest.New(t, func(o *store.Options) { o.History = 5 })
	first := commit(t, s, store.Change{Create: []api.Object{project("prj_0", "p0")}})
	for i := range 10 {
		commit(t, s, store.Change{Create: []api.Object{project(fmt.Sprintf("prj_%d", i+1), fmt.Sprintf("p%d", i+1))}})
	}
	last := view(t, s, 0).Revision()
	for e, err := range s.Watch(t.Context(), "", api.Cursor{Revision: first, Index: 1}) {
		var p *api.Problem
		if !errors.Is(err, store.ErrTooOld) || !errors.As(err, &p) || p.Status != 410 {
			t.Errorf("got %v, %v", e, err)
		}
	}
	if lines, _ := until(t, s, "", api.Cursor{Revision: last - 2, Index: 1}); len(lines) != 2 {
		t.Errorf("two changes ago is in the history, and the watch tells %q", lines)
	}
}

func TestWatch_aWatcherThatIsSlowHoldsUpNobodyAndIsTold(t *testing.T) {
	s := storetest.New(t, func(o *store.Options) { o.History = 5 })
	commit(t, s, store.Change{Create: []api.Object{project("prj_a", "a")}})
	var last error
	for _, err := range s.Watch(t.Context(), "", api.Cursor{}) {
		if last = err; err != nil {
			break
		}
		for i := range 10 { // while it looks at one change, ten more happen
			p := project(fmt.Sprintf("prj_%d", i), fmt.Sprintf("p%d", i))
			commit(t, s, store.Change{Create: []api.Object{p}})
			commit(t, s, store.Change{Delete: []api.Object{p}})
		}
	}
	if !errors.Is(last, store.ErrTooOld) {
		t.Errorf("got %v", last)
	}
}

func TestWatch_endsWithTheStore(t *testing.T) {
	s := storetest.New(t)
	var last error
	for e, err := range s.Watch(context.WithoutCancel(t.Context()), "", api.Cursor{}) {
		if last = err; e.Type == api.EventBookmark {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if !errors.Is(last, store.ErrClosed) {
		t.Errorf("got %v", last)
	}
	if _, err := s.Commit(context.Background(), one(project("prj_a", "a"))); !errors.Is(err, store.ErrClosed) {
		t.Errorf("a commit to a closed store: %v", err)
	}
}
