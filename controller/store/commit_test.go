package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
	"github.com/cairn-cloud/cairn/controller/store/storetest"
)

func project(id, name string) *api.Project {
	p := &api.Project{}
	p.ID, p.Name, p.Generation = id, name, 1
	return p
}

func network(id, name, project string) *api.Network {
	n := &api.Network{}
	n.ID, n.Name, n.Project, n.Generation = id, name, project, 1
	return n
}

func subnet(id, name, project, network string) *api.Subnet {
	s := &api.Subnet{}
	s.ID, s.Name, s.Project, s.Generation = id, name, project, 1
	s.Spec.Network = network
	return s
}

// commit writes a change that does not depend on what is there.
func commit(t *testing.T, s *store.Etcd, c store.Change) int64 {
	t.Helper()
	rev, err := s.Commit(t.Context(), func(*store.View) (store.Change, error) { return c, nil })
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	return rev
}

func refused(t *testing.T, s *store.Etcd, c store.Change, code, field string) *api.Problem {
	t.Helper()
	_, err := s.Commit(t.Context(), func(*store.View) (store.Change, error) { return c, nil })
	var p *api.Problem
	if !errors.As(err, &p) || p.Code != code || p.Field != field {
		t.Fatalf("got %v, want the problem %s about %q", err, code, field)
	}
	return p
}

func view(t *testing.T, s *store.Etcd, rev int64) *store.View {
	t.Helper()
	v, err := s.View(t.Context(), rev)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func dump(t *testing.T, s *store.Etcd, under string) map[string]string {
	t.Helper()
	d, err := s.Dump(context.WithoutCancel(t.Context()), under)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestCommit_createReadUpdateDeleteLeavesNothing(t *testing.T) {
	s := storetest.New(t)
	rev := commit(t, s, store.Change{Create: []api.Object{project("prj_a", "a"), network("net_a", "front", "prj_a")}})
	v := view(t, s, rev)
	n, ok := v.Lookup(api.KindNetwork, "prj_a", "front").(*api.Network)
	if !ok || n.ID != "net_a" || n.Revision != rev || n.Status.State != api.StateReady {
		t.Fatalf("read back %+v", n)
	}
	if got := v.Used(api.QuotaKey("prj_a"))["networks"]; got != 1 {
		t.Errorf("%d networks are counted, want 1", got)
	}
	c := api.Clone(n)
	c.Name = "back"
	rev2 := commit(t, s, store.Change{Update: []api.Object{c}})
	v2 := view(t, s, rev2)
	if v2.Owner(api.NameClaim(api.KindNetwork, &n.Meta).Key) != "" || v2.Lookup(api.KindNetwork, "prj_a", "back") == nil {
		t.Error("the old name is still claimed, or the new one is not")
	}
	if v.Lookup(api.KindNetwork, "prj_a", "front") == nil {
		t.Error("an old view has changed")
	}
	commit(t, s, store.Change{Delete: []api.Object{n, project("prj_a", "a")}})
	for key := range dump(t, s, "/cairn/") {
		if !strings.HasPrefix(key, "/cairn/writer/") && !strings.HasPrefix(key, "/cairn/controllers/") && key != "/cairn/cluster/schema" {
			t.Errorf("%s is left", key)
		}
	}
}

func TestCommit_refusesWhatIsTakenMissingOrInUse(t *testing.T) {
	s := storetest.New(t)
	commit(t, s, store.Change{Create: []api.Object{project("prj_a", "a"), network("net_a", "front", "prj_a"), subnet("sub_a", "s", "prj_a", "net_a")}})
	before := len(dump(t, s, "/cairn/"))

	p := refused(t, s, store.Change{Create: []api.Object{network("net_b", "front", "prj_a")}}, "name_taken", "name")
	if !strings.Contains(p.Detail, "network front (net_a)") {
		t.Errorf("%q does not name the holder", p.Detail)
	}
	refused(t, s, store.Change{Create: []api.Object{subnet("sub_b", "t", "prj_a", "net_z")}}, "reference_not_found", "spec.network")
	p = refused(t, s, store.Change{Delete: []api.Object{network("net_a", "front", "prj_a")}}, "in_use", "")
	if !strings.Contains(p.Detail, "subnet s (sub_a)") {
		t.Errorf("%q does not name the referrer", p.Detail)
	}
	stale := network("net_a", "other", "prj_a")
	for _, c := range []store.Change{{Update: []api.Object{stale}}, {Guards: []api.Object{stale}}} {
		if _, err := s.Commit(t.Context(), func(*store.View) (store.Change, error) { return c, nil }); !errors.Is(err, store.ErrStale) {
			t.Errorf("a change of another version than the view's: %v", err)
		}
	}
	refused(t, s, store.Change{Create: []api.Object{network("net_c", "x", "prj_a"), network("net_d", "x", "prj_a")}}, "name_taken", "name")

	if after := len(dump(t, s, "/cairn/")); after != before {
		t.Errorf("refused changes left %d keys", after-before)
	}
	commit(t, s, store.Change{Delete: []api.Object{network("net_a", "front", "prj_a"), subnet("sub_a", "s", "prj_a", "net_a")}})
}

func TestCommit_errorsOfDecideComeBackAsTheyAre(t *testing.T) {
	s := storetest.New(t)
	mine := fmt.Errorf("mine")
	if _, err := s.Commit(t.Context(), func(*store.View) (store.Change, error) { return store.Change{}, mine }); !errors.Is(err, mine) {
		t.Errorf("got %v", err)
	}
}

func TestCommit_whatChangesNothingSpendsNoRevision(t *testing.T) {
	s := storetest.New(t)
	p := &api.Host{}
	p.ID, p.Name, p.Generation = "hst_a", "h1", 1
	rev := commit(t, s, store.Change{Create: []api.Object{p}})
	h := api.Clone(view(t, s, rev).Get(api.KindHost, "hst_a").(*api.Host))
	if h.Status.State != api.StatePending {
		t.Errorf("a host that never reported is %q", h.Status.State)
	}
	h.Status.CPUs, h.Status.State = 8, api.StateReady
	rev2 := commit(t, s, store.Change{Status: []api.Object{h}})
	got := view(t, s, rev2).Get(api.KindHost, "hst_a").(*api.Host)
	if got.Status.CPUs != 8 || got.Revision != rev {
		t.Errorf("status %+v at revision %d, want the spec's %d", got.Status, got.Revision, rev)
	}
	if rev3 := commit(t, s, store.Change{Status: []api.Object{h}, Update: []api.Object{h}}); rev3 != rev2 {
		t.Errorf("revision %d was spent on nothing, it was %d", rev3, rev2)
	}
}
