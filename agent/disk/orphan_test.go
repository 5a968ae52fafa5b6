package disk

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/agent"
)

// put gives an instance a file.
func put(t *testing.T, l agent.Layout, instance, content string) {
	t.Helper()
	if err := os.MkdirAll(l.Instance(instance), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.ConsoleLog(instance), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func orphansOf(t *testing.T, s *Store) map[string]agent.Orphan {
	t.Helper()
	os, err := s.Orphans(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return os
}

func TestNoteOrphan_keepsWhatWasNotedFirst(t *testing.T) {
	s, l := open(t, &source{})
	put(t, l, "ins_a", "data")
	first := agent.Orphan{ID: "ins_a", Instance: "ins_a", Project: "prj_a", Name: "p/a", Epoch: 3, FirstSeen: time.Unix(1700000000, 0).UTC()}
	later := first
	later.FirstSeen = later.FirstSeen.Add(time.Hour)
	for _, o := range []agent.Orphan{first, later} {
		if err := s.NoteOrphan(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	got := orphansOf(t, s)
	want := first
	want.Path, want.DiskMiB = l.Instance("ins_a"), 1
	if len(got) != 1 || got["ins_a"] != want {
		t.Errorf("it is %+v, want %+v", got, want)
	}
}

func TestSetAside_takesFilesOutOfTheWayOfTheInstance(t *testing.T) {
	s, l := open(t, &source{})
	for n, content := range []string{"one", "two"} { // the same placement twice
		put(t, l, "ins_a", content)
		o := agent.Orphan{ID: "ins_a", Instance: "ins_a", Epoch: 3, FirstSeen: time.Unix(int64(n), 0).UTC()}
		if err := s.NoteOrphan(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := s.SetAside(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
	}
	if exists(l.Instance("ins_a")) {
		t.Error("its files are still in their place")
	}
	got := orphansOf(t, s)
	for id, content := range map[string]string{"ins_a-3": "one", "ins_a-3-2": "two"} {
		o := got[id]
		b, err := os.ReadFile(filepath.Join(o.Path, "console.log"))
		if err != nil || string(b) != content || !o.Aside || o.Instance != "ins_a" {
			t.Errorf("%s is %+v with %q (%v)", id, o, b, err)
		}
		if err := s.ForgetOrphan(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if exists(o.Path) {
			t.Errorf("%s is still there", o.Path)
		}
	}
	if left := orphansOf(t, s); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestForgetOrphan_leavesFilesInTheirPlace(t *testing.T) {
	s, l := open(t, &source{})
	put(t, l, "ins_a", "data")
	if err := s.NoteOrphan(t.Context(), agent.Orphan{ID: "ins_a", Instance: "ins_a"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.ForgetOrphan(t.Context(), "ins_a"); err != nil {
			t.Fatal(err)
		}
	}
	if !exists(l.ConsoleLog("ins_a")) || len(orphansOf(t, s)) != 0 {
		t.Error("files went, or the note did not")
	}
}

func TestOrphans_leadNowhereElse(t *testing.T) {
	s, l := open(t, &source{})
	keep := filepath.Join(string(l), "keep")
	if err := os.WriteFile(keep, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"../keep", "..", "", "a/b", "."} {
		if s.NoteOrphan(t.Context(), agent.Orphan{ID: id, Instance: id}) == nil || s.SetAside(t.Context(), agent.Orphan{ID: id, Instance: id}) == nil || s.ForgetOrphan(t.Context(), id) == nil {
			t.Errorf("%q is taken for an orphan", id)
		}
	}
	if !exists(keep) {
		t.Error("a file outside of the quarantine went")
	}
}
