package main

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync/atomic"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// failover is the control plane as an agent sees it through several
// controllers: it stays with one, and goes to the next when that one does not
// answer. What a controller answers, also a refusal, is the answer.
type failover struct {
	clients []*client.Client
	current atomic.Int64
}

var _ agent.ControlPlane = (*failover)(nil)

// dialAll makes a client for each server.
func dialAll(id *agent.Identity, servers []string) (*failover, error) {
	f := &failover{}
	for _, s := range servers {
		c, err := id.Client(s, client.Options{UserAgent: "cairn-agent/" + version})
		if err != nil {
			return nil, err
		}
		f.clients = append(f.clients, c)
	}
	return f, nil
}

func (f *failover) close() {
	for _, c := range f.clients {
		c.Close()
	}
}

// at returns the client in use, and what says that it did not answer.
func (f *failover) at() (c *client.Client, lost func()) {
	i := f.current.Load()
	next := (i + 1) % int64(len(f.clients))
	return f.clients[i], func() { f.current.CompareAndSwap(i, next) }
}

// ask calls with one server after the other until one has answered.
func ask[T any](ctx context.Context, f *failover, call func(*client.Client) (T, error)) (out T, err error) {
	for range f.clients {
		c, lost := f.at()
		if out, err = call(c); err == nil || answered(err) || ctx.Err() != nil {
			return out, err
		}
		lost()
	}
	return out, err
}

// answered tells whether the error is an answer of a controller. One that
// cannot serve now is as good as none.
func answered(err error) bool {
	var p *api.Problem
	return errors.As(err, &p) && p.Status < 500
}

func (f *failover) Renew(ctx context.Context, host, csr string) (api.JoinResponse, error) {
	return ask(ctx, f, func(c *client.Client) (api.JoinResponse, error) { return c.Renew(ctx, host, csr) })
}

func (f *failover) Heartbeat(ctx context.Context, host string) error {
	_, err := ask(ctx, f, func(c *client.Client) (struct{}, error) { return struct{}{}, c.Heartbeat(ctx, host) })
	return err
}

func (f *failover) Report(ctx context.Context, host string, seen int64, reports []api.Report) (int64, error) {
	return ask(ctx, f, func(c *client.Client) (int64, error) { return c.Report(ctx, host, seen, reports) })
}

func (f *failover) ImageData(ctx context.Context, project, image string, offset int64) (io.ReadCloser, error) {
	return ask(ctx, f, func(c *client.Client) (io.ReadCloser, error) { return c.ImageData(ctx, project, image, offset) })
}

// Desired yields from one server until its stream breaks and does not come
// back, then from the next. The client waits longer between attempts the longer
// it fails, and so this stays longer with each server while none answers.
func (f *failover) Desired(ctx context.Context, host string) iter.Seq2[[]api.DesiredItem, error] {
	return func(yield func([]api.DesiredItem, error) bool) {
		for patience := 2; ctx.Err() == nil; patience = min(patience+1, 8) {
			c, lost := f.at()
			failures := 0
			for items, err := range c.Desired(ctx, host) {
				if !yield(items, err) {
					return
				}
				if err == nil {
					failures, patience = 0, 2
					continue
				}
				if failures++; failures >= patience && !answered(err) && len(f.clients) > 1 {
					lost()
					break
				}
			}
		}
	}
}
