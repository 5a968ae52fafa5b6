package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/cairn-cloud/cairn/api"
)

// WaitFor returns the resource as soon as done says so. done is called with it
// as it is now and after every change, and with nil once it is gone. Nothing
// is polled: it is a read, then a watch.
func (c *Client) WaitFor(ctx context.Context, k api.Kind, project, ref string, done func(api.Object) (bool, error)) (api.Object, error) {
	for {
		r, err := c.Get(ctx, k, project, ref)
		if isGone(err) {
			ok, e := done(nil)
			if !ok && e == nil {
				e = err
			}
			return nil, e
		}
		if err != nil {
			return nil, err
		}
		if ok, err := done(r.Object); ok || err != nil {
			return r.Object, err
		}
		ref = r.Object.GetMeta().ID // the name may be given to another one later
		o, ended, err := c.waitWatching(ctx, k, WatchOptions{Project: project, ID: ref, From: Revision(r.Revision)}, done)
		if ended || err != nil && !IsRelist(err) {
			return o, err
		}
	}
}

func (c *Client) waitWatching(ctx context.Context, k api.Kind, w WatchOptions, done func(api.Object) (bool, error)) (last api.Object, ended bool, err error) {
	for e, err := range c.Watch(ctx, k, w) {
		if err != nil {
			return last, false, err
		}
		switch e.Type {
		case api.EventPut:
			last = e.Object
		case api.EventDelete:
			last = nil
		default:
			continue
		}
		if ok, err := done(last); ok || err != nil {
			return last, true, err
		}
		if last == nil {
			return nil, true, fmt.Errorf("wait for %s %s: it was deleted", k.Name, w.ID)
		}
	}
	return last, false, ctx.Err()
}

func isGone(err error) bool {
	var p *api.Problem
	return errors.As(err, &p) && p.Status == http.StatusNotFound
}

// WaitOperation returns when the operation has ended: its resource has observed
// the generation, or is gone where that was asked for. It is an error when the
// resource failed on the way.
func (c *Client) WaitOperation(ctx context.Context, id string) (api.Object, error) {
	object, generation, ok := api.ParseOperationID(id)
	k, known := api.KindByID(object)
	if !ok || !known {
		return nil, fmt.Errorf("wait for operation %q: that is not the ID of one", id)
	}
	return c.WaitFor(ctx, k, "", object, func(o api.Object) (bool, error) {
		return Ended(k, o, generation)
	})
}

// Ended tells whether an operation has ended, from its resource: nil where that is
// gone, which is what generation 0 asks for.
func Ended(k api.Kind, o api.Object, generation int64) (bool, error) {
	switch {
	case o == nil && generation == 0:
		return true, nil
	case o == nil:
		return false, fmt.Errorf("the %s was deleted before it was done", k.Name)
	case generation == 0 || o.StatusPtr().GetStatus().ObservedGeneration < generation:
		return false, nil
	}
	op := api.OperationOf(o)
	if op.Status.State == api.StateFailed {
		return false, fmt.Errorf("%s %s failed: %s", k.Name, o.GetMeta().Name, op.Status.Message)
	}
	return op.Status.State == api.StateReady || o.GetMeta().Generation > generation, nil
}
