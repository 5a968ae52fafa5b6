package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"pgregory.net/rapid"

	"github.com/cairn-cloud/cairn/api"
)

// step is one thing that a random change does, among few objects, so that they meet.
type step struct {
	What                     string
	ID, Name, Network, Label int
}

func steps() *rapid.Generator[[]step] {
	small := rapid.IntRange(0, 2)
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{
			What: rapid.SampledFrom([]string{
				"create network", "create subnet", "create network", "create subnet", "rename", "move", "delete network", "delete subnet",
				"status", "create host", "place", "create instance", "delete instance", "mark", "event", "idempotency", "guard",
			}).Draw(t, "what"),
			ID: small.Draw(t, "id"), Name: small.Draw(t, "name"), Network: small.Draw(t, "network"), Label: small.Draw(t, "label"),
		}
	}), 1, 3)
}

// change makes the change of a few steps, from what the view shows.
func change(v *View, list []step, n int) Change {
	var c Change
	for _, x := range list {
		net := fmt.Sprintf("net_%d", x.Network)
		if o := x.create(net); o != nil {
			c.Create = append(c.Create, o)
			continue
		}
		o := v.Get(x.about(), fmt.Sprintf("%s_%d", prefixOf(x.about()), x.ID))
		switch {
		case x.What == "event":
			e := &api.Event{}
			e.ID, e.Project = fmt.Sprintf("evt_%d_%d", n, len(c.Events)), "prj_a"
			c.Events = append(c.Events, e)
		case x.What == "idempotency":
			c.Idempotency = &Idempotency{Key: fmt.Sprint(x.ID), Kind: api.KindNetwork}
		case o == nil:
		case x.What == "guard":
			c.Guards = append(c.Guards, o)
		case strings.HasPrefix(x.What, "delete"):
			c.Delete = append(c.Delete, o)
		default:
			x.alter(&c, api.Clone(o), net)
		}
	}
	return c
}

func (x step) about() string {
	switch x.What {
	case "move", "delete subnet":
		return api.KindSubnet
	case "status":
		return api.KindHost
	case "place", "delete instance":
		return api.KindInstance
	}
	return api.KindNetwork
}

func prefixOf(kind string) string {
	k, _ := api.KindByName(kind)
	return k.IDPrefix
}

func (x step) create(net string) (o api.Object) {
	switch x.What {
	case "create network":
		o = &api.Network{}
	case "create subnet":
		s := &api.Subnet{}
		s.Spec.Network = net
		o = s
	case "create host":
		o = &api.Host{}
	case "create instance":
		i := &api.Instance{}
		i.Spec.Image, i.Spec.Size = "img_a", api.Size{VCPUs: 1 + int64(x.Label)}
		o = i
	default:
		return nil
	}
	k, _ := api.KindOf(o)
	m := o.GetMeta()
	m.ID, m.Name, m.Generation = fmt.Sprintf("%s_%d", k.IDPrefix, x.ID), fmt.Sprintf("n%d", x.Name), 1
	if k.Scope == api.ScopeProject {
		m.Project = "prj_a"
	}
	return o
}

func (x step) alter(c *Change, o api.Object, net string) {
	switch t := o.(type) {
	case *api.Network:
		if x.What == "rename" {
			t.Name = fmt.Sprintf("n%d", x.Name)
		} else {
			t.Labels = map[string]string{"l": fmt.Sprint(x.Label)}
		}
		c.Update = append(c.Update, t)
	case *api.Subnet:
		t.Spec.Network = net
		c.Update = append(c.Update, t)
	case *api.Host:
		t.Status.CPUs, t.Status.State = int64(x.Label), api.StateReady
		c.Status = append(c.Status, t)
	case *api.Instance:
		t.Placement = api.Placement{Host: fmt.Sprintf("hst_%d", x.Network), Epoch: t.Placement.Epoch + 1}
		c.Place = append(c.Place, t)
	}
}

// start empties the store and writes what all sequences begin with.
func start(t *rapid.T, s *Etcd) {
	var ops []clientv3.Op
	for _, p := range []string{specPrefix, statusPrefix, placementPrefix, claimPrefix, countPrefix, refPrefix, idemPrefix} {
		ops = append(ops, clientv3.OpDelete(p, clientv3.WithPrefix()))
	}
	r, err := s.client.Txn(t.Context()).Then(ops...).Commit()
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(r.Responses, func(r *pb.ResponseOp) bool { return r.GetResponseDeleteRange().Deleted > 0 }) {
		if _, err := s.mirror.wait(t.Context(), r.Header.Revision); err != nil {
			t.Fatal(err)
		}
	}
	img := &api.Image{}
	img.ID, img.Project, img.Name = "img_a", "prj_a", "debian"
	p := projectNamed("a")
	if _, err := s.Commit(t.Context(), func(*View) (Change, error) { return Change{Create: []api.Object{p, img}}, nil }); err != nil {
		t.Fatal(err)
	}
}

// state is all that is in the store, in etcd and in memory, without revisions.
func state(t *rapid.T, s *Etcd) map[string]string {
	out, err := s.Dump(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(out, func(k, _ string) bool {
		return strings.HasPrefix(k, writerPrefix) || strings.HasPrefix(k, livePrefix)
	})
	v := s.mirror.view()
	for _, k := range api.Kinds {
		for o := range v.List(k.Name, "", "") {
			c := shallow(o)
			c.GetMeta().Revision = 0
			b, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			out["memory "+c.GetMeta().ID] = string(b)
		}
	}
	v.t.owners.Scan(func(key string, h holder) bool { out["owner "+key] = h.id; return true })
	v.t.refs.Scan(func(r refRow) bool { out["ref "+refKey(r)] = "x"; return true })
	v.t.counts.Scan(func(key string, c count) bool { out["count "+key] = fmt.Sprint(c.amounts); return true })
	return out
}

// outcome is how a commit ended, for comparing.
func outcomeOf(err error) string {
	if err != nil {
		return err.Error()
	}
	return "ok"
}

// Whether changes get a transaction each or share one is nobody's to notice.
func TestCommit_sharedTransactionsDoAsOneByOne(t *testing.T) {
	single := opened(t, func(o *Options) { o.DetectMutations = false })
	shared := opened(t, func(o *Options) { o.DetectMutations = false })
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(steps(), 1, 25).Draw(t, "changes")
		start(t, single)
		start(t, shared)
		var want, got []string
		for n, x := range list {
			_, err := single.Commit(t.Context(), func(v *View) (Change, error) { return change(v, x, n), nil })
			want = append(want, outcomeOf(err))
		}
		var rs []*request
		for n, x := range list {
			rs = append(rs, &request{ctx: t.Context(), decide: func(v *View) (Change, error) { return change(v, x, n), nil }, done: make(chan result, 1)})
		}
		shared.queue.back(rs)
		for _, r := range rs {
			got = append(got, outcomeOf((<-r.done).err))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("outcomes\nshared: %q\nsingle: %q", got, want)
		}
		if a, b := state(t, single), state(t, shared); !reflect.DeepEqual(a, b) {
			t.Fatalf("shared, they left\n%v\nand one by one\n%v", difference(b, a), difference(a, b))
		}
		consistent(t, shared)
	})
}

func difference(a, b map[string]string) (out []string) {
	for k, v := range a {
		if b[k] != v {
			out = append(out, k+" = "+v)
		}
	}
	slices.Sort(out)
	return out
}

// consistent holds what is in etcd against what follows from the objects.
func consistent(t *rapid.T, s *Etcd) {
	v := s.mirror.view()
	want := map[string]bool{}
	counts := map[string]map[string]int64{}
	v.t.objects.Scan(func(e *entry) bool {
		c := e.claims()
		for _, u := range c.Unique {
			want[claimKey(u.Key)] = true
		}
		for _, r := range c.Refs {
			want[refKey(refRow{kindNoOf(r.Kind), e.kind, r.ID, e.id})] = true
		}
		for _, x := range c.Counts {
			if counts[x.Key] == nil {
				counts[x.Key] = map[string]int64{}
			}
			for name, n := range x.Amounts {
				counts[x.Key][name] += n
			}
		}
		return true
	})
	for key, sum := range counts {
		maps.DeleteFunc(sum, func(_ string, n int64) bool { return n == 0 })
		if got := v.Used(key); len(sum) > 0 && !reflect.DeepEqual(got, sum) {
			t.Fatalf("the counter %s is %v, and its objects have %v", key, got, sum)
		}
	}
	for _, under := range []string{claimPrefix, refPrefix} {
		d, err := s.Dump(t.Context(), under)
		if err != nil {
			t.Fatal(err)
		}
		for key := range d {
			if !want[key] {
				t.Fatalf("%s belongs to nobody", key)
			}
			delete(want, key)
		}
	}
	if len(want) > 0 {
		t.Fatalf("missing: %v", slices.Sorted(maps.Keys(want)))
	}
}
