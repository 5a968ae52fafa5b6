package sim

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"sync"

	"github.com/cairn-cloud/cairn/api/rest"
	"github.com/cairn-cloud/cairn/controller"
	"github.com/cairn-cloud/cairn/controller/store"
)

// cloudURL is what clients call; wires lead it to a controller.
const cloudURL = "https://cloud.example:7443"

// runController is a controller's process.
func (w *world) runController(ctx context.Context, l *life) (err error) {
	client := w.cluster.Client(l.ctx, w.hook(l))
	st, err := store.Open(ctx, store.Options{
		Client: client, Now: l.clock, Rand: w.remember(l, entropy(w.seed, l.purpose()+"/store")), Log: l.log(), MaxTxnOps: w.cluster.MaxTxnOps,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	c, err := controller.New(controller.Options{
		Store: w.mutate(st), CA: w.ca, Now: l.clock, Rand: entropy(w.seed, l.purpose()), DataDir: filepath.Join(w.dir, "controllers"),
		Log: l.log(), Place: w.placer(), Check: func(context.Context, string, string) error { return nil },
	})
	if err != nil {
		return err
	}
	token := ""
	began, err := c.Backend().Bootstrap(ctx, func(t string) error { token = t; return nil })
	if err != nil {
		return err
	}
	if began { // the others' tokens are of clouds that never were
		w.adminToken = token
	}
	s, err := rest.New(rest.Options{Backend: c.Backend(), Now: l.clock, Log: l.log(), Version: "sim", Random: entropy(w.seed, l.purpose()+"/rest")})
	if err != nil {
		return err
	}
	defer s.Close()
	w.serve(l, s.Handler())
	defer w.serve(l, nil)
	return c.Run(ctx)
}

// served are the handlers of the controllers that are up.
type served struct {
	mu sync.Mutex
	by map[*life]http.Handler
}

func (w *world) serve(l *life, h http.Handler) {
	w.served.mu.Lock()
	defer w.served.mu.Unlock()
	if h == nil {
		delete(w.served.by, l)
	} else {
		w.served.by[l] = h
	}
}

// handler is nil where the controller does not serve.
func (w *world) handler(l *life) http.Handler {
	w.served.mu.Lock()
	defer w.served.mu.Unlock()
	if l.dead() {
		return nil
	}
	return w.served.by[l]
}
