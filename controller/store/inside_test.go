package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store/memetcd"
)

// These tests reach into the store: they lose answers, leases and history.

// inMemory is storetest's variable, which this package's own tests cannot import.
const inMemory = "CAIRN_STORETEST_IN_MEMORY"

func opened(t *testing.T, change func(*Options)) *Etcd {
	t.Helper()
	o := Options{Now: time.Now, Rand: rand.Reader, DetectMutations: true}
	change(&o)
	switch {
	case o.Beside != nil || o.Embedded != nil:
	case os.Getenv(inMemory) != "":
		o.Client = memetcd.New(time.Now).Client(context.Background(), nil)
		t.Cleanup(func() { _ = o.Client.Close() }) // it says only that it was closed
	default:
		o.Embedded = &Embedded{Dir: t.TempDir(), NoSync: true}
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func projectNamed(name string) *api.Project {
	p := &api.Project{}
	p.ID, p.Name, p.Generation = "prj_"+name, name, 1
	return p
}

func creating(o api.Object) func(*View) (Change, error) {
	return func(*View) (Change, error) { return Change{Create: []api.Object{o}}, nil }
}

func mustCommit(t *testing.T, s *Etcd, decide func(*View) (Change, error)) int64 {
	t.Helper()
	rev, err := s.Commit(t.Context(), decide)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// patiently is how long a test waits for what must come.
func patiently(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), 30*time.Second)
}

// sees waits until the store's picture is as it should be.
func sees(t *testing.T, s *Etcd, what string, ok func(*View) bool) {
	t.Helper()
	ctx, cancel := patiently(t)
	defer cancel()
	v := s.mirror.view()
	for !ok(v) {
		var err error
		if v, err = s.mirror.wait(ctx, v.rev+1); err != nil {
			t.Fatalf("never seen: %s: %v", what, err)
		}
	}
}

func names(v *View, kind string) (out []string) {
	for o := range v.List(kind, "", "") {
		out = append(out, o.GetMeta().Name)
	}
	return out
}

func TestFeed_afterACompactionDeletionsAreSeenAndWatchersListAgain(t *testing.T) {
	a := opened(t, func(*Options) {})
	rev := mustCommit(t, a, func(*View) (Change, error) {
		return Change{Create: []api.Object{projectNamed("stays"), projectNamed("goes")}}, nil
	})
	// b's picture is of now, and its feed does not run yet.
	b := &Etcd{opts: a.opts, client: a.client, log: a.log, mirror: newMirror(), history: newHistory(10)}
	if err := b.load(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, a, func(v *View) (Change, error) {
		return Change{Delete: []api.Object{projectNamed("goes")}, Create: []api.Object{projectNamed("new")}}, nil
	})
	last := mustCommit(t, a, creating(projectNamed("newer")))
	if _, err := a.client.Compact(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer func() { stop(); <-b.mirror.closed }()
	go b.feed(ctx)
	v, err := b.View(ctx, last)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(names(v, api.KindProject)); got != "[new newer stays]" {
		t.Errorf("after the compaction b sees %s", got)
	}
	if v.Owner(api.NameClaim(api.KindProject, &projectNamed("goes").Meta).Key) != "" {
		t.Error("a claim of the deleted object is still seen")
	}
	for _, err := range b.Watch(ctx, "", api.Cursor{Revision: rev, Index: wholeRevision}) {
		if p, ok := asProblem(err); !ok || p.Status != 410 {
			t.Errorf("a watcher from before the compaction gets %v", err)
		}
		break
	}
	mustCommit(t, a, creating(projectNamed("newest")))
	sees(t, b, "what comes after the new listing", func(v *View) bool { return len(names(v, api.KindProject)) == 4 })
}

func TestOpen_whereTheHistoryWasCompacted(t *testing.T) {
	a := opened(t, func(*Options) {})
	first := mustCommit(t, a, creating(projectNamed("a")))
	mustCommit(t, a, creating(projectNamed("b")))
	last := mustCommit(t, a, creating(projectNamed("c")))
	if _, err := a.client.Compact(t.Context(), last-1); err != nil {
		t.Fatal(err)
	}
	b := opened(t, func(o *Options) { o.Beside = a })
	if got := fmt.Sprint(names(b.mirror.view(), api.KindProject)); got != "[a b c]" {
		t.Errorf("b sees %s", got)
	}
	if _, _, _, err := b.history.since("", api.Cursor{Revision: first, Index: 1}, 10); err == nil {
		t.Error("the history goes back behind the compaction")
	}
	if events, _, _, err := b.history.since("", api.Cursor{Revision: last - 1, Index: wholeRevision}, 10); err != nil || len(events) != 1 {
		t.Errorf("the last change is %v, %v", events, err)
	}
}

func TestOpen_waitsForNoLeaseOfTheProcessBefore(t *testing.T) {
	dir := t.TempDir()
	a := opened(t, func(o *Options) {
		o.Embedded = &Embedded{Dir: dir, NoSync: true}
		o.SessionTTL = time.Hour
	})
	mustCommit(t, a, creating(projectNamed("a")))
	if _, err := a.Lead(t.Context(), "boss"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.SetAlive(t.Context(), "hst_a", true); err != nil {
		t.Fatal(err)
	}
	// The process is killed: nothing is released, the lease would last an hour.
	a.session.mu.Lock()
	a.session.now.Orphan()
	a.session.now = nil
	a.session.mu.Unlock()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	b := opened(t, func(o *Options) { o.Embedded = &Embedded{Dir: dir, NoSync: true} })
	if b.mirror.view().Alive("hst_a") {
		t.Error("a host is alive by the lease of a process that is not")
	}
	ctx, cancel := patiently(t)
	defer cancel()
	if _, err := b.Lead(ctx, "boss"); err != nil {
		t.Error(err)
	}
}

func TestDetector_findsAnObjectThatSomebodyChanged(t *testing.T) {
	o := Options{Now: time.Now, Rand: rand.Reader, DetectMutations: true}
	s, err := OpenEmbedded(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, creating(projectNamed("a")))
	s.mirror.view().Get(api.KindProject, "prj_a").GetMeta().Name = "changed"
	if err := s.Close(); err == nil {
		t.Error("a shared object was changed, and nobody noticed")
	}
}

func TestOpen_embeddedListensNowhereAndLocksItsDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	a := opened(t, func(o *Options) { o.Embedded = &Embedded{Dir: dir, NoSync: true} })
	if n := len(a.server.etcd.Clients) + len(a.server.etcd.Peers); n != 0 {
		t.Errorf("it listens at %d addresses", n)
	}
	if i, err := os.Stat(dir); err != nil || i.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v", i.Mode(), err)
	}
	if _, err := OpenEmbedded(t.Context(), dir, Options{Now: time.Now, Rand: rand.Reader}); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("a second one on the same directory: %v", err)
	}
}

func TestForward_passesOnErrorsThatPeopleMustKnow(t *testing.T) {
	var b strings.Builder
	log := zap.New(forward{log: slog.New(slog.NewTextHandler(&b, nil))})
	log.Warn("slow")
	log.Error(harmless)
	log.With(zap.String("where", "disk")).Error("it is broken")
	if got := b.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "it is broken") || !strings.Contains(got, "disk") {
		t.Errorf("passed on: %q", got)
	}
}

func TestOpen_needsToKnowWhereEtcdIs(t *testing.T) {
	for _, o := range []Options{
		{},
		{Now: time.Now, Rand: rand.Reader},
		{Now: time.Now, Rand: rand.Reader, Embedded: &Embedded{Dir: "x"}, Endpoints: []string{"y"}},
	} {
		if _, err := Open(t.Context(), o); err == nil {
			t.Errorf("opened with %+v", o)
		}
	}
}
