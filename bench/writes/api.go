package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// change makes the n-th change of a sort through the API.
func change(ctx context.Context, c *client.Client, s subject, verb, writer, n int) error {
	var err error
	switch project, name := projectName(writer), objectName(writer, n); verbs[verb] {
	case "create":
		o := s.make(name)
		o.GetMeta().Project = project
		_, err = c.Create(ctx, o, client.WriteOptions{})
	case "patch":
		_, err = c.Patch(ctx, s.kind, project, name, map[string]any{"labels": map[string]string{"tier": "web"}}, client.WriteOptions{})
	case "delete":
		_, err = c.Delete(ctx, s.kind, project, name, client.WriteOptions{})
	}
	if err != nil {
		return fmt.Errorf("%s %s %s: %w", verbs[verb], s.kind.Name, objectName(writer, n), err)
	}
	return nil
}

// settle returns when the controller has done what follows from the creates.
func settle(ctx context.Context, c *client.Client, s subject) error {
	for o, err := range c.List(ctx, s.kind, client.ListOptions{Limit: 1000}) {
		if err != nil {
			return err
		}
		if s.settled(o) {
			continue
		}
		_, err := c.WaitFor(ctx, s.kind, "", o.GetMeta().ID, func(o api.Object) (bool, error) { return o != nil && s.settled(o), nil })
		if err != nil {
			return err
		}
	}
	return nil
}

// crowd lets so many writers do so many things each, one after the other, and
// returns how long all took and how long each thing.
func crowd(ctx context.Context, writers, each int, do func(ctx context.Context, writer, n int) error) (time.Duration, []time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	took := make([][]time.Duration, writers)
	var wg sync.WaitGroup
	start := time.Now()
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				at := time.Now()
				if err := do(ctx, w, n); err != nil {
					cancel(err)
					return
				}
				took[w] = append(took[w], time.Since(at))
			}
		})
	}
	wg.Wait()
	all := time.Since(start)
	var samples []time.Duration
	for _, t := range took {
		samples = append(samples, t...)
	}
	return all, samples, context.Cause(ctx)
}
