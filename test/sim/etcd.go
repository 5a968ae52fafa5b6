package sim

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cairn-cloud/cairn/controller/store/memetcd"
)

// hook makes a controller's calls of etcd steps of the world: one on which the
// request arrives, and one on which the answer does.
func (w *world) hook(l *life) memetcd.Hook {
	return func(ctx context.Context, c memetcd.Call, effect func() error) error {
		what := c.Method + " " + c.Key
		n, err := w.pass(ctx, l, l.name, "etcd", what)
		if err != nil {
			return lost(ctx, err)
		}
		if c.Method == "WatchNext" {
			if _, cut := w.faults.drawn(WatchCut, l.name, "cut", n, 0.3); cut {
				return status.Error(codes.Unavailable, "the watch is cut")
			}
			return effect()
		}
		if err := effect(); err != nil {
			return err
		}
		if w.faults.lostAnswer(l.name, what, n) {
			w.trace.add("the answer to %s of %s is lost", what, l.name)
			return status.Error(codes.Unavailable, "the connection broke")
		}
		if _, err := w.pass(ctx, l, "etcd", l.name, "answers "+what); err != nil {
			return lost(ctx, err)
		}
		return nil
	}
}

// lost is what a client is told when nothing comes back.
func lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return status.Error(codes.Unavailable, err.Error())
}
