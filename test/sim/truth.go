package sim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing/synctest"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/cairn-cloud/cairn/api"
)

// The keys, as ADR 1 and controller/store/keys.go have them. They are written
// down again on purpose: what is looked at here is what is in etcd.
const (
	root            = "/cairn/"
	specPrefix      = root + "spec/"
	statusPrefix    = root + "status/"
	placementPrefix = root + "placement/"
	claimPrefix     = root + "claim/"
	countPrefix     = root + "count/"
	refPrefix       = root + "ref/"
	alivePrefix     = root + "alive/"
	electionPrefix  = root + "election/"
	livePrefix      = root + "controllers/"
	writerPrefix    = root + "writer/"
)

// truth is what etcd holds, followed revision by revision beside all processes.
type truth struct {
	w       *world
	watch   clientv3.WatchChan
	rev     int64
	raw     map[string]*mvccpb.KeyValue
	objects map[string]*object // by ID
	touched []touch            // of instances, in order
}

// object is one object, put together from its records.
type object struct {
	kind    string
	o       api.Object // with status and placement merged in
	created int64
}

// touch says that a revision changed an instance.
type touch struct {
	rev int64
	id  string
}

// revision is what one transaction changed.
type revision struct {
	rev    int64
	events []*clientv3.Event
	before map[string]api.Object // of the objects in it, nil where there was none
}

func newTruth(w *world) *truth {
	return &truth{w: w, raw: map[string]*mvccpb.KeyValue{}, objects: map[string]*object{}}
}

// follow takes in what is new, and has each revision judged.
func (t *truth) follow() {
	for t.w.violation == nil && t.rev < t.w.cluster.Revision() {
		synctest.Wait()
		select {
		case r := <-t.watch:
			if err := r.Err(); err != nil {
				panic(fmt.Sprintf("sim: the world lost sight of etcd: %v", err))
			}
			t.take(r.Events)
		default:
			t.rev = t.w.cluster.Revision() // of other keys than ours
		}
	}
}

func (t *truth) take(events []*clientv3.Event) {
	for len(events) > 0 {
		n := 1
		for n < len(events) && events[n].Kv.ModRevision == events[0].Kv.ModRevision {
			n++
		}
		r := &revision{rev: events[0].Kv.ModRevision, events: events[:n], before: map[string]api.Object{}}
		for _, e := range r.events {
			t.apply(r, e)
		}
		t.rev = r.rev
		for id := range r.before {
			if strings.HasPrefix(id, "ins_") {
				t.touched = append(t.touched, touch{r.rev, id})
			}
		}
		t.w.judgeRevision(r)
		events = events[n:]
	}
}

func (t *truth) apply(r *revision, e *clientv3.Event) {
	key := string(e.Kv.Key)
	gone := e.Type == mvccpb.Event_DELETE
	if gone {
		delete(t.raw, key)
	} else {
		t.raw[key] = e.Kv
	}
	kind, id, part := subject(key)
	if t.w.trace.verbose && !strings.HasPrefix(key, claimPrefix) && !strings.HasPrefix(key, refPrefix) {
		v := "deleted"
		if !gone {
			v = string(e.Kv.Value)
		}
		t.w.trace.note("etcd %d %s = %s", e.Kv.ModRevision, key, v)
	}
	if id == "" {
		return
	}
	old := t.objects[id]
	if _, seen := r.before[id]; !seen {
		r.before[id] = nil
		if old != nil {
			r.before[id] = old.o
		}
	}
	if gone && part == "spec" {
		delete(t.objects, id)
		return
	}
	if gone && old == nil {
		return
	}
	t.objects[id] = merge(kind, old, part, e.Kv, gone)
}

// merge puts a record into a copy of the object.
func merge(kind string, old *object, part string, kv *mvccpb.KeyValue, gone bool) *object {
	k, ok := api.KindByName(kind)
	if !ok {
		panic("sim: no such kind: " + kind)
	}
	n := &object{kind: kind, o: k.New(), created: kv.CreateRevision}
	if old != nil {
		n.o, n.created = api.Clone(old.o), old.created
	}
	env := struct{ Object json.RawMessage }{Object: json.RawMessage("{}")}
	if !gone {
		if err := json.Unmarshal(kv.Value, &env); err != nil {
			panic(fmt.Sprintf("sim: the record %s: %v", kv.Key, err))
		}
	}
	from := k.New()
	if err := json.Unmarshal(env.Object, from); err != nil {
		panic(fmt.Sprintf("sim: the record %s: %v", kv.Key, err))
	}
	switch part {
	case "spec":
		status, placement := n.o, n.o
		n.o = from
		copyStatus(n.o, status)
		copyPlacement(n.o, placement)
	case "status":
		copyStatus(n.o, from)
	case "placement":
		copyPlacement(n.o, from)
	}
	return n
}

func copyStatus(to, from api.Object) {
	b, err := json.Marshal(from.StatusPtr())
	if err == nil {
		err = json.Unmarshal(b, to.StatusPtr())
	}
	if err != nil {
		panic(fmt.Sprintf("sim: a status: %v", err))
	}
}

func copyPlacement(to, from api.Object) {
	a, ok := to.(*api.Instance)
	b, too := from.(*api.Instance)
	if ok && too {
		a.Placement = b.Placement
	}
}

// subject tells which record of which object a key is.
func subject(key string) (kind, id, part string) {
	cut := func(prefix string) []string { return strings.Split(strings.TrimPrefix(key, prefix), "/") }
	switch {
	case strings.HasPrefix(key, specPrefix):
		if p := cut(specPrefix); len(p) == 3 {
			return p[0], p[2], "spec"
		}
	case strings.HasPrefix(key, statusPrefix):
		if p := cut(statusPrefix); len(p) == 2 {
			return p[0], p[1], "status"
		}
	case strings.HasPrefix(key, placementPrefix):
		return api.KindInstance, strings.TrimPrefix(key, placementPrefix), "placement"
	}
	return "", "", ""
}

// all are the objects of a kind, by ID.
func all[T api.Object](t *truth) (out []T) {
	for _, x := range t.objects {
		if o, ok := x.o.(T); ok {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b T) int { return strings.Compare(a.GetMeta().ID, b.GetMeta().ID) })
	return out
}

func one[T api.Object](t *truth, id string) (o T, ok bool) {
	if x := t.objects[id]; x != nil {
		o, ok = x.o.(T)
	}
	return o, ok
}

func (t *truth) instances() []*api.Instance { return all[*api.Instance](t) }
