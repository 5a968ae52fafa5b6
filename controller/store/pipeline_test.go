package store

import (
	"context"
	"slices"
	"sync"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/cairn-cloud/cairn/api"
)

// gate holds one transaction back until it is opened, with what is to become of it.
type gate struct {
	mu   sync.Mutex
	held chan struct{} // closed when the transaction has come; nil: none is to be held
	open chan error
}

func (g *gate) hold() (held chan struct{}, open chan error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held, g.open = make(chan struct{}), make(chan error, 1)
	return g.held, g.open
}

func (g *gate) intercept(ctx context.Context, send func(context.Context) (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
	g.mu.Lock()
	held, open := g.held, g.open
	g.held = nil
	g.mu.Unlock()
	if held == nil {
		return send(ctx)
	}
	close(held)
	select {
	case err := <-open:
		if err != nil {
			return nil, err
		}
		return send(ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A change is decided while the one before it is under way, and sees it. Where
// that one comes to nothing, it is decided again without it.
func TestCommit_decidesWhileTheOneBeforeIsUnderWay(t *testing.T) {
	for _, c := range []struct {
		name   string
		fails  error
		seen   []bool // whether the second saw the first, each time it was decided
		exists bool
	}{
		{"carried out", nil, []bool{true}, true},
		{"refused", rpctypes.ErrTooManyOps, []bool{true, false}, false},
	} {
		g := &gate{}
		s := opened(t, func(o *Options) { o.intercept = g.intercept })
		held, open := g.hold()
		first := make(chan error, 1)
		go func() {
			_, err := s.Commit(t.Context(), creating(projectNamed("a")))
			first <- err
		}()
		<-held
		var seen []bool
		second, decided := make(chan error, 1), make(chan struct{}, 9)
		go func() {
			_, err := s.Commit(t.Context(), func(v *View) (Change, error) {
				seen = append(seen, v.Get(api.KindProject, "prj_a") != nil)
				decided <- struct{}{}
				return Change{Create: []api.Object{projectNamed("b")}}, nil
			})
			second <- err
		}()
		<-decided
		if s.mirror.view().Get(api.KindProject, "prj_a") != nil {
			t.Errorf("%s: readers see what is not written yet", c.name)
		}
		open <- c.fails
		if err := <-first; (err == nil) != (c.fails == nil) {
			t.Errorf("%s: the first ended with %v", c.name, err)
		}
		if err := <-second; err != nil {
			t.Errorf("%s: the second ended with %v", c.name, err)
		}
		if !slices.Equal(seen, c.seen) {
			t.Errorf("%s: the second saw the first: %v, want %v", c.name, seen, c.seen)
		}
		if v := s.mirror.view(); (v.Get(api.KindProject, "prj_a") != nil) != c.exists || v.Get(api.KindProject, "prj_b") == nil {
			t.Errorf("%s: there are %v", c.name, names(v, api.KindProject))
		}
	}
}

// What came after news from another process is decided on the news, also while
// a transaction is under way.
func TestCommit_decidesOnAllThatWasThereWhenItCame(t *testing.T) {
	g := &gate{}
	a := opened(t, func(o *Options) { o.intercept = g.intercept })
	b := opened(t, func(o *Options) { o.Beside = a })
	held, open := g.hold()
	first := make(chan error, 1)
	go func() {
		_, err := a.Commit(t.Context(), creating(projectNamed("a")))
		first <- err
	}()
	<-held
	rev := mustCommit(t, b, creating(projectNamed("other")))
	if _, err := a.View(t.Context(), rev); err != nil {
		t.Fatal(err)
	}
	second := make(chan error, 1)
	go func() {
		_, err := a.Commit(t.Context(), func(v *View) (Change, error) {
			if v.Get(api.KindProject, "prj_other") == nil {
				t.Error("it was decided on what was older than what its caller had seen")
			}
			return Change{}, nil
		})
		second <- err
	}()
	open <- nil
	for _, c := range []chan error{first, second} {
		if err := <-c; err != nil {
			t.Error(err)
		}
	}
}
