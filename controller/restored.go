package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/backup"
	"github.com/cairn-cloud/cairn/controller/store"
)

// found is what hosts have reported to this controller while the store is held:
// it is not written then, for it may be about what the store does not know.
type found struct {
	mu    sync.Mutex
	hosts map[string]map[string]api.Report // by host and kind/ID
}

func (f *found) add(host string, reports []api.Report) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hosts == nil {
		f.hosts = map[string]map[string]api.Report{}
	}
	if f.hosts[host] == nil {
		f.hosts[host] = map[string]api.Report{}
	}
	for _, r := range reports {
		f.hosts[host][r.Kind+"/"+r.ID] = r
	}
}

// of returns what a host has reported, in order; nil where it has said nothing
// of itself yet.
func (f *found) of(host string) []api.Report {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.hosts[host]
	if _, whole := all[api.KindHost+"/"+host]; !whole {
		return nil
	}
	var out []api.Report
	for _, k := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[k])
	}
	return out
}

// Backup implements rest.Backend.
func (b *Backend) Backup(ctx context.Context, w io.Writer) error {
	ca, err := b.ca.Export()
	if err != nil {
		return err
	}
	err = backup.Write(w, b.now(), ca, func(w io.Writer) error { return b.store.Snapshot(ctx, w) })
	if errors.Is(err, store.ErrNotEmbedded) {
		return api.NewProblem(409, "etcd_elsewhere", "", "save a snapshot with etcd's own tools, and pki/ca.pem of a controller's data directory with it", "the etcd of this cloud is not in its controllers")
	}
	return err
}

// Check implements rest.Backend.
func (b *Backend) Check(ctx context.Context) (api.Check, error) {
	v, err := b.store.View(ctx, 0)
	if err != nil {
		return api.Check{}, err
	}
	c, _ := compare(v, b.found.of)
	return c, nil
}

// compare compares the records with what the hosts have reported. moved are the
// instances that run elsewhere than their records say, with a placement that agrees.
func compare(v *store.View, of func(host string) []api.Report) (c api.Check, moved []*api.Instance) {
	c = api.Check{Heard: []string{}, Silent: []string{}, Differences: []api.Difference{}}
	h := v.Held()
	if h == nil {
		return c, nil
	}
	c.Held, c.Since = true, &h.Since
	heard, has := map[string]bool{}, map[string]int64{} // instance → the newest epoch under which a host has it
	at := map[string]*api.Host{}
	for o := range v.List(api.KindHost, "", "") {
		h := o.(*api.Host)
		reports := of(h.ID)
		if reports == nil {
			c.Silent = append(c.Silent, h.Name)
			continue
		}
		c.Heard, heard[h.ID] = append(c.Heard, h.Name), true
		for _, r := range reports {
			if r.Kind == api.KindInstance && r.Epoch > has[r.ID] {
				has[r.ID], at[r.ID] = r.Epoch, h
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(has)) {
		i := get[*api.Instance](v, api.KindInstance, id)
		d := api.Difference{Instance: id, Host: at[id].Name}
		if i == nil {
			d.Found, d.Accepted = "the host has it and the backup does not", "it is put in quarantine on its host"
			c.Differences = append(c.Differences, d)
			continue
		}
		if n := foundAt(i, at[id], has[id]); n != nil {
			moved = append(moved, n)
			d.Name = i.Name
			d.Found = fmt.Sprintf("it is there under epoch %d, and the backup says %s under epoch %d", has[id], cmp.Or(i.Placement.HostName, "nowhere"), i.Placement.Epoch)
			d.Accepted = "it stays there"
			c.Differences = append(c.Differences, d)
		}
	}
	for o := range v.List(api.KindInstance, "", "") {
		if i := o.(*api.Instance); heard[i.Placement.Host] && has[i.ID] < i.Placement.Epoch {
			c.Differences = append(c.Differences, api.Difference{
				Instance: i.ID, Name: i.Name, Host: i.Placement.HostName,
				Found: "the backup has it and the host does not", Accepted: "it is made again from its image; if it was deleted after the backup, delete it again",
			})
		}
	}
	return c, moved
}

// foundAt returns the instance with the placement under which a host has it; nil
// where that is what its records say, or where it is going.
func foundAt(i *api.Instance, h *api.Host, epoch int64) *api.Instance {
	p := i.Placement
	if epoch < p.Epoch || epoch == p.Epoch && h.ID == p.Host || p.Target != nil && p.Target.Epoch == epoch && p.Target.Host == h.ID {
		return nil
	}
	n := api.Clone(i)
	n.Placement = api.Placement{Host: h.ID, HostName: h.Name, Epoch: epoch, Epochs: p.Epochs, CPU: p.CPU, Reason: "it was found there after a restore"}
	return n
}

// acceptAtOnce is how many placements one commit corrects.
const acceptAtOnce = 20

// Accept implements rest.Backend.
func (b *Backend) Accept(ctx context.Context, force bool) (c api.Check, err error) {
	for again, seen := true, false; again; seen = true {
		_, err := b.store.Commit(ctx, func(v *store.View) (store.Change, error) {
			now, moved := compare(v, b.found.of)
			if !seen {
				c = now
			}
			if len(now.Silent) > 0 && !force {
				return store.Change{}, api.NewProblem(409, "hosts_silent", "", "wait until they report; or force it, where they are off and stay so", "%d hosts have not said what is on them, %s among them: what runs there might be started elsewhere too", len(now.Silent), now.Silent[0])
			}
			again = len(moved) > acceptAtOnce
			return store.Change{Place: moved[:min(len(moved), acceptAtOnce)], WhileHeld: true}, nil
		})
		if err != nil {
			return c, err
		}
	}
	if !c.Held {
		return c, nil
	}
	if err := b.store.Release(ctx); err != nil {
		return c, err
	}
	b.log.Info("the restored cloud was accepted", "differences", len(c.Differences))
	return c, b.writeFound(ctx)
}

// writeFound writes what the hosts have said meanwhile, which they do not say again.
func (b *Backend) writeFound(ctx context.Context) error {
	v, err := b.store.View(ctx, 0)
	if err != nil {
		return err
	}
	for o := range v.List(api.KindHost, "", "") {
		host := o.GetMeta().ID
		if reports := b.found.of(host); reports != nil {
			if _, err := b.Report(ctx, host, 0, reports); err != nil {
				b.log.Warn("what a host reported while the store was held is not written; it says it again when its agent starts anew", "host", host, "err", err)
			}
		}
	}
	return nil
}

// untilReleased waits while the store is held.
func untilReleased(ctx context.Context, s store.Store) error {
	v, err := s.View(ctx, 0)
	for err == nil && v.Held() != nil {
		v, err = s.View(ctx, v.Revision()+1)
	}
	return err
}
