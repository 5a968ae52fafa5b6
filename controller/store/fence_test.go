package store

import (
	"errors"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/cairn-cloud/cairn/api"
)

// TestFence_endsWithTheSilenceThatItIsAbout: whoever relies on a fence is refused
// once the host has come alive, however short that was.
func TestFence_endsWithTheSilenceThatItIsAbout(t *testing.T) {
	s := opened(t, func(*Options) {})
	ctx := t.Context()
	h := &api.Host{}
	h.ID, h.Name = "hst_a", "h"
	mustCommit(t, s, creating(h))
	alive := func(yes bool) {
		t.Helper()
		if _, err := s.SetAlive(ctx, h.ID, yes); err != nil {
			t.Fatal(err)
		}
		sees(t, s, "whether the host is alive", func(v *View) bool { return v.Alive(h.ID) == yes })
	}
	fence := func(life int64) error {
		_, err := s.Commit(ctx, func(*View) (Change, error) {
			return Change{Fences: []*api.Fence{{Host: h.ID, Life: life, By: api.FencedByHook}}}, nil
		})
		return err
	}
	relying := func() error {
		p := projectNamed("p")
		_, err := s.Commit(ctx, func(*View) (Change, error) {
			return Change{Create: []api.Object{p}, Fenced: []string{h.ID}}, nil
		})
		return err
	}
	life := func() int64 { return s.mirror.view().Life(h.ID) }
	alive(true)
	first := life()
	if err := fence(first); !errors.Is(err, ErrStale) {
		t.Errorf("a host that is alive was fenced: %v", err)
	}
	alive(false)
	if err := relying(); !errors.Is(err, ErrStale) {
		t.Errorf("there is no fence to rely on: %v", err)
	}
	if err := fence(first); err != nil || s.mirror.view().Fence(h.ID) == nil {
		t.Fatalf("fence: %v", err)
	}
	if err := relying(); err != nil {
		t.Errorf("rely on the fence: %v", err)
	}
	alive(true)
	alive(false)
	if life() == first || s.mirror.view().Fence(h.ID) != nil {
		t.Errorf("the fence of the life %d holds in the life %d", first, life())
	}
	if err := fence(first); !errors.Is(err, ErrStale) {
		t.Errorf("a host was fenced by what is known of an earlier life: %v", err)
	}
	if err := fence(life()); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, func(v *View) (Change, error) {
		return Change{Delete: []api.Object{v.Get(api.KindHost, h.ID)}}, nil
	})
	r, err := s.client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range r.Kvs {
		for _, p := range []string{lifePrefix, fencePrefix, alivePrefix} {
			if string(kv.Key) == p+h.ID {
				t.Errorf("%s is left of a deleted host", kv.Key)
			}
		}
	}
	if v := s.mirror.view(); v.Life(h.ID) != 0 || v.Fence(h.ID) != nil {
		t.Error("the copy in memory still knows the deleted host")
	}
}
