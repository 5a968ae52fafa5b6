package bench

import (
	"context"
	"fmt"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// Until returns when so many objects of the kind are as they should be. It is a
// list, then a watch; where history was lost it lists again.
func Until(ctx context.Context, c *client.Client, k api.Kind, n int, ok func(api.Object) bool) error {
	for {
		objects, revision, err := c.ListAll(ctx, k, client.ListOptions{Limit: 1000})
		if err != nil {
			return err
		}
		good := map[string]bool{}
		see := func(o api.Object) {
			if id := o.GetMeta().ID; ok(o) {
				good[id] = true
			} else {
				delete(good, id)
			}
		}
		for _, o := range objects {
			see(o)
		}
		if len(good) >= n {
			return nil
		}
		for e, err := range c.Watch(ctx, k, client.WatchOptions{From: client.Revision(revision)}) {
			if client.IsRelist(err) {
				break
			}
			if err != nil {
				return fmt.Errorf("wait for %d %s: %w", n, k.Plural, err)
			}
			switch e.Type {
			case api.EventPut:
				see(e.Object)
			case api.EventDelete:
				delete(good, e.Object.GetMeta().ID)
			default:
				continue
			}
			if len(good) >= n {
				return nil
			}
		}
	}
}
