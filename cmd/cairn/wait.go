package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// follow waits until an operation has ended, and says on the standard error
// how it goes: on a terminal in one line that changes, else a line a change.
// It returns the resource as it is then, nil when it is gone.
func (n *connection) follow(ctx context.Context, project, operation string, timeout time.Duration) (api.Object, error) {
	id, generation, ok := api.ParseOperationID(operation)
	k, known := api.KindByID(id)
	if !ok || !known {
		return nil, fmt.Errorf("wait for operation %q: that is not the ID of one", operation)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%s %s was not done within %s: %w", k.Name, id, timeout, context.DeadlineExceeded))
	defer cancel()
	line := &liveLine{app: n.app, live: terminal(n.app.err)}
	defer line.end()
	o, err := n.client.WaitFor(ctx, k, project, id, func(o api.Object) (bool, error) {
		line.show(k, o)
		return client.Ended(k, o, generation)
	})
	if err != nil && ctx.Err() != nil {
		return o, context.Cause(ctx)
	}
	return o, err
}

// liveLine is the line that says how it goes.
type liveLine struct {
	app  *app
	live bool
	last string
}

func (l *liveLine) show(k api.Kind, o api.Object) {
	text := "gone"
	if o != nil {
		op := api.OperationOf(o)
		text = string(o.StatusPtr().GetStatus().State)
		if o.GetMeta().Deleting() {
			text = string(api.StateDeleting)
		}
		if text == "" {
			text = string(api.StatePending)
		}
		if op.Status.Message != "" && op.Status.State != api.StateReady {
			text += ": " + op.Status.Message
		}
		text = k.Name + " " + o.GetMeta().Name + ": " + text
	} else {
		text = k.Name + ": " + text
	}
	if text = printable(text); text == l.last {
		return
	}
	if l.live {
		l.app.progress("\r\x1b[K%s", shorten(text, 100))
	} else {
		l.app.progress("%s\n", text)
	}
	l.last = text
}

func (l *liveLine) end() {
	if l.live && l.last != "" {
		l.app.progress("\r\x1b[K")
	}
}

// settle waits for a result where that is asked for, and returns the resource
// to show.
func (n *connection) settle(ctx context.Context, w waitFlags, project string, r client.Result) (api.Object, error) {
	if !w.wait || r.Operation == "" || r.Preview != nil {
		return r.Object, nil
	}
	o, err := n.follow(ctx, project, r.Operation, w.timeout)
	if errors.Is(err, context.Canceled) {
		return o, fmt.Errorf("stopped waiting for %s; it goes on without us: %w", r.Operation, err)
	}
	return o, err
}
