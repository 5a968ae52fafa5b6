package memetcd

import (
	"sort"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// versions are what a key was, the oldest first. A deletion has no creation revision.
type versions struct{ all []*mvccpb.KeyValue }

// at returns what the key was at the revision, nil where it was not there.
func (v *versions) at(rev int64) *mvccpb.KeyValue {
	n := sort.Search(len(v.all), func(i int) bool { return v.all[i].ModRevision > rev })
	if n == 0 || v.all[n-1].CreateRevision == 0 {
		return nil
	}
	return v.all[n-1]
}

// span is a range of keys as etcd writes it: no end is one key, the end "\0" is
// all from the key on.
type span struct{ key, end string }

func (s span) contains(key string) bool {
	switch s.end {
	case "":
		return key == s.key
	case "\x00":
		return key >= s.key
	}
	return key >= s.key && key < s.end
}

// find returns what was in the range at the revision, in the order of keys.
func (c *Cluster) find(in span, rev int64) (found []*mvccpb.KeyValue) {
	if in.end == "" {
		if v, ok := c.keys.Get(in.key); ok && v.at(rev) != nil {
			found = append(found, v.at(rev))
		}
		return found
	}
	c.keys.Ascend(in.key, func(key string, v *versions) bool {
		if !in.contains(key) {
			return false
		}
		if kv := v.at(rev); kv != nil {
			found = append(found, kv)
		}
		return true
	})
	return found
}

// writing is a transaction while it writes. What it has written it also reads.
type writing struct {
	c      *Cluster
	events []*mvccpb.Event
}

// rev is the revision that the transaction reads at.
func (w *writing) rev() int64 {
	if len(w.events) > 0 {
		return w.c.rev + 1
	}
	return w.c.rev
}

func (w *writing) put(key string, value []byte, lease int64) {
	kv := &mvccpb.KeyValue{Key: []byte(key), Value: value, Lease: lease, CreateRevision: w.c.rev + 1, ModRevision: w.c.rev + 1, Version: 1}
	if old := w.current(key); old != nil {
		kv.CreateRevision, kv.Version = old.CreateRevision, old.Version+1
		w.c.detach(key, old.Lease)
	}
	w.c.attach(key, lease)
	w.add(key, &mvccpb.Event{Type: mvccpb.Event_PUT, Kv: kv})
}

func (w *writing) current(key string) *mvccpb.KeyValue {
	if v, ok := w.c.keys.Get(key); ok {
		return v.at(w.rev())
	}
	return nil
}

// delete returns how many keys there were in the range.
func (w *writing) delete(in span) int64 {
	found := w.c.find(in, w.rev())
	for _, old := range found {
		key := string(old.Key)
		w.c.detach(key, old.Lease)
		w.add(key, &mvccpb.Event{Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: old.Key, ModRevision: w.c.rev + 1}})
	}
	return int64(len(found))
}

func (w *writing) add(key string, e *mvccpb.Event) {
	v, ok := w.c.keys.Get(key)
	if !ok {
		v = &versions{}
		w.c.keys.Set(key, v)
	}
	v.all = append(v.all, e.Kv)
	w.events = append(w.events, e)
}

// end makes one revision of all that was written, and none of nothing.
func (w *writing) end() {
	if len(w.events) == 0 {
		return
	}
	w.c.rev++
	w.c.log = append(w.c.log, w.events)
	w.c.wake()
}

// compact forgets what was before the revision, but for what was still so at it.
func (c *Cluster) compact(rev int64) error {
	if rev <= c.compacted {
		return rpctypes.ErrGRPCCompacted
	}
	if rev > c.rev {
		return rpctypes.ErrGRPCFutureRev
	}
	for w := range c.watches {
		w.skip() // past what is none of its business, which it must not miss
	}
	c.compacted = rev
	var gone []string
	c.keys.Scan(func(key string, v *versions) bool {
		n := sort.Search(len(v.all), func(i int) bool { return v.all[i].ModRevision > rev })
		if n > 0 && (v.all[n-1].CreateRevision > 0 || v.all[n-1].ModRevision == rev) {
			n--
		}
		v.all = append([]*mvccpb.KeyValue(nil), v.all[n:]...)
		if len(v.all) == 0 {
			gone = append(gone, key)
		}
		return true
	})
	for _, key := range gone {
		c.keys.Delete(key)
	}
	if n := rev - c.logged; n > 0 {
		c.log = append([][]*mvccpb.Event(nil), c.log[n:]...)
		c.logged = rev
	}
	c.wake()
	return nil
}

// events are those of one revision, which is not compacted.
func (c *Cluster) events(rev int64) []*mvccpb.Event {
	if rev < c.logged {
		return nil // the first revision is that of an empty store
	}
	return c.log[rev-c.logged]
}
