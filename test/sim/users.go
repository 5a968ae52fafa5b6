package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// user asks for instances and ports, changes and deletes them, and remembers
// what it was promised.
type user struct {
	w       *world
	name    string
	c       *client.Client
	dice    *rand.Rand
	network string
	n       int // of what it has made

	mu     sync.Mutex
	things map[string]*thing // by name
	order  []string
}

// thing is what a user knows of a resource of its own.
type thing struct {
	kind, name string
	id         string // "" while no create was acknowledged
	deleting   bool   // a deletion was asked for
	values     map[string]bool
}

// label is what users change.
const label = "value"

func (w *world) client(name, token string) *client.Client {
	c, err := client.New(client.Options{
		Server: cloudURL, Token: token, HTTPClient: &http.Client{Transport: &wire{w: w, from: name}},
		Jitter: w.jitter(name + "/jitter"), Random: entropy(w.seed, name+"/keys"), UserAgent: name,
	})
	if err != nil {
		panic(err)
	}
	return c
}

func (w *world) newUser(n int, token string) *user {
	name := fmt.Sprintf("user%d", n)
	u := &user{w: w, name: name, c: w.client(name, token), dice: dice(w.seed, name), network: "net", things: map[string]*thing{}}
	w.users = append(w.users, u)
	return u
}

// run acts until ctx ends.
func (u *user) run(ctx context.Context, instances int) {
	for ctx.Err() == nil {
		if sleep(ctx, time.Duration(u.dice.ExpFloat64()*float64(2*time.Second))) != nil {
			return
		}
		u.act(ctx, instances)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (u *user) act(ctx context.Context, instances int) {
	mine := u.alive()
	switch what := u.dice.IntN(14); {
	case len(mine) == 0 || what < 4 && len(mine) < instances:
		u.create(ctx)
	case what < 7:
		u.patch(ctx, mine[u.dice.IntN(len(mine))])
	case what < 9:
		u.power(ctx, mine[u.dice.IntN(len(mine))])
	case what < 11:
		u.delete(ctx, mine[u.dice.IntN(len(mine))])
	case what < 13:
		u.move(ctx, mine[u.dice.IntN(len(mine))])
	default:
		u.createPort(ctx)
	}
}

// alive are the things that nobody asked to delete.
func (u *user) alive() (out []*thing) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, n := range u.order {
		if t := u.things[n]; !t.deleting {
			out = append(out, t)
		}
	}
	return out
}

// refused tells that nothing was done, for sure.
func refused(err error) bool {
	var p *api.Problem
	return errors.As(err, &p) && p.Status < 500
}

func (u *user) remember(kind, name string) *thing {
	u.mu.Lock()
	defer u.mu.Unlock()
	t := &thing{kind: kind, name: name, values: map[string]bool{"": true}}
	u.things[name] = t
	u.order = append(u.order, name)
	return t
}

func (u *user) forget(t *thing) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.things, t.name)
	u.order = slices.DeleteFunc(u.order, func(n string) bool { return n == t.name })
}

var types = []string{"t1-nano", "s1-small", "s1-medium"}

func (u *user) create(ctx context.Context) {
	u.n++
	i := &api.Instance{}
	i.Project, i.Name = projectName, fmt.Sprintf("%s-%d", u.name, u.n)
	i.Spec.Type, i.Spec.Image = types[u.dice.IntN(len(types))], "tiny"
	if u.dice.IntN(3) == 0 {
		i.Spec.OnHostLoss = api.OnHostLossRecreate
	}
	if u.dice.IntN(4) > 0 {
		i.Spec.NICs = []api.NIC{{Network: u.network}}
	}
	made(ctx, u, u.remember(api.KindInstance, i.Name), i)
}

func (u *user) createPort(ctx context.Context) {
	u.n++
	p := &api.Port{}
	p.Project, p.Name = projectName, fmt.Sprintf("%s-%d", u.name, u.n)
	p.Spec.Network = u.network
	made(ctx, u, u.remember(api.KindPort, p.Name), p)
}

func made(ctx context.Context, u *user, t *thing, o api.Object) {
	r, err := u.c.Create(ctx, o, client.WriteOptions{})
	u.w.trace.add("%s creates %s: %s", u.name, t.name, outcome(err))
	switch {
	case err == nil:
		t.id = r.Object.GetMeta().ID
		u.w.promised(t.id, "it was created", func(o api.Object) bool { return o != nil || t.deleting })
	case refused(err):
		u.forget(t)
	}
}

func outcome(err error) string {
	var p *api.Problem
	switch {
	case err == nil:
		return "done"
	case errors.As(err, &p):
		return p.Code
	}
	return "no answer"
}

func (u *user) patch(ctx context.Context, t *thing) {
	u.n++
	v := fmt.Sprintf("v%d", u.n)
	u.mu.Lock()
	t.values[v] = true
	u.mu.Unlock()
	k, _ := api.KindByName(t.kind)
	_, err := u.c.Patch(ctx, k, projectName, t.name, map[string]any{"labels": map[string]string{label: v}}, client.WriteOptions{})
	u.w.trace.add("%s sets %s to %s: %s", u.name, t.name, v, outcome(err))
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case err == nil:
		// What was given up on may still arrive; what was promised holds until then.
		for old := range t.values {
			if old != v && !u.w.pending[old+t.name] {
				delete(t.values, old)
			}
		}
	case refused(err):
		delete(t.values, v)
	default:
		u.w.pending[v+t.name] = true
	}
}

func (u *user) power(ctx context.Context, t *thing) {
	if t.kind != api.KindInstance {
		return
	}
	k, _ := api.KindByName(t.kind)
	action := []string{"start", "stop", "reboot"}[u.dice.IntN(3)]
	_, err := u.c.Action(ctx, k, projectName, t.name, action, nil, client.WriteOptions{})
	u.w.trace.add("%s: %s %s: %s", u.name, action, t.name, outcome(err))
}

// move asks the cloud's administrator to move an instance, or to give that up.
func (u *user) move(ctx context.Context, t *thing) {
	if t.kind != api.KindInstance {
		return
	}
	k, _ := api.KindByName(t.kind)
	cancel := u.dice.IntN(3) == 0
	_, err := u.w.admin.Action(ctx, k, projectName, t.name, "migrate", map[string]any{"cancel": cancel}, client.WriteOptions{})
	u.w.trace.add("%s: move %s, cancel %t: %s", u.name, t.name, cancel, outcome(err))
}

func (u *user) delete(ctx context.Context, t *thing) {
	k, _ := api.KindByName(t.kind)
	u.mu.Lock()
	t.deleting = true
	u.mu.Unlock()
	_, err := u.c.Delete(ctx, k, projectName, t.name, client.WriteOptions{})
	u.w.trace.add("%s deletes %s: %s", u.name, t.name, outcome(err))
	if refused(err) && !client.IsCode(err, "not_found") {
		u.mu.Lock()
		t.deleting = false
		u.mu.Unlock()
	}
}

// deleteAll asks for the end of all that is left, of all users.
func (u *user) deleteAll(ctx context.Context) {
	for _, o := range u.w.users {
		o.mu.Lock()
		for _, t := range o.things {
			t.deleting = true
		}
		o.mu.Unlock()
	}
	for _, kind := range []string{api.KindInstance, api.KindPort} {
		k, _ := api.KindByName(kind)
		items, _, err := u.c.ListAll(ctx, k, client.ListOptions{Project: projectName})
		for _, o := range items {
			if err == nil && !o.GetMeta().Deleting() {
				_, _ = u.c.Delete(ctx, k, projectName, o.GetMeta().ID, client.WriteOptions{}) // what is left is seen at the end
			}
		}
	}
}
