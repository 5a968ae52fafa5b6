package memetcd_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
	"github.com/cairn-cloud/cairn/controller/store/memetcd"
)

func open(t *testing.T, client *clientv3.Client, seed byte) *store.Etcd {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Now: time.Now, Rand: rand.NewChaCha8([32]byte{seed}), Client: client, DetectMutations: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func project(name string) *api.Project {
	p := &api.Project{}
	p.ID, p.Name, p.Generation = "prj_"+name, name, 1
	return p
}

func create(t *testing.T, ctx context.Context, s *store.Etcd, name string) int64 {
	t.Helper()
	rev, err := s.Commit(ctx, func(*store.View) (store.Change, error) {
		return store.Change{Create: []api.Object{project(name)}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func TestStore_twoProcessesShareOneCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := memetcd.New(time.Now)
		clientA, clientB := cluster.Client(t.Context(), nil), cluster.Client(t.Context(), nil)
		a, b := open(t, clientA, 1), open(t, clientB, 2)
		lead, err := a.Lead(t.Context(), "boss")
		if err != nil {
			t.Fatal(err)
		}
		rev := create(t, lead, a, "one")
		v, err := b.View(t.Context(), rev)
		if err != nil {
			t.Fatal(err)
		}
		if v.Get(api.KindProject, "prj_one") == nil {
			t.Error("b does not see what a wrote")
		}
		<-time.After(time.Minute) // the leases are kept alive
		if lead.Err() != nil {
			t.Error("the leadership was lost although its lease is kept alive")
		}
		next := make(chan context.Context)
		go func() {
			l, err := b.Lead(context.WithoutCancel(t.Context()), "boss")
			if err != nil {
				t.Error(err)
			}
			next <- l
		}()
		synctest.Wait()
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		create(t, <-next, b, "two")
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		for _, c := range []*clientv3.Client{clientA, clientB} {
			_ = c.Close()
		}
	})
}
