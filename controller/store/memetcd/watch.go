package memetcd

import (
	"errors"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// maxRevisions is how many revisions one delivery brings at most.
const maxRevisions = 1000

// watch is one of etcd's watchers.
type watch struct {
	cluster *Cluster
	in      span
	start   int64
	next    int64 // the first revision that it was not told of
	request *pb.WatchCreateRequest
}

func (w *watch) wants(e *mvccpb.Event) bool {
	unwanted := pb.WatchCreateRequest_NOPUT
	if e.Type == mvccpb.Event_DELETE {
		unwanted = pb.WatchCreateRequest_NODELETE
	}
	return w.in.contains(string(e.Kv.Key)) && !slices.Contains(w.request.Filters, unwanted)
}

// skip goes on to the next revision that has something for the watch.
func (w *watch) skip() {
	for w.next >= w.cluster.compacted && w.next <= w.cluster.rev {
		if slices.ContainsFunc(w.cluster.events(w.next), w.wants) {
			return
		}
		w.next++
	}
}

// ready tells whether there is something to deliver and from which revision on, or
// else when to look again.
func (w *watch) ready() (ok bool, from int64, changed <-chan struct{}) {
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	w.skip()
	return w.next <= w.cluster.rev, w.next, w.cluster.changed
}

// deliver brings what has happened, or that it cannot be known any more.
func (w *watch) deliver() clientv3.WatchResponse {
	c := w.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.next < c.compacted {
		return clientv3.WatchResponse{Header: header(0), CompactRevision: c.compacted, Canceled: true}
	}
	r := clientv3.WatchResponse{Header: header(c.rev)}
	for n := 0; n < maxRevisions && w.next <= c.rev; w.skip() {
		for _, e := range c.events(w.next) {
			if w.wants(e) {
				r.Events = append(r.Events, &mvccpb.Event{Type: e.Type, Kv: e.Kv, PrevKv: w.before(e)})
			}
		}
		w.next++
		n++
	}
	return r
}

// progress says how far the watch is; false while it is behind, or before its start.
func (w *watch) progress() (clientv3.WatchResponse, bool) {
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	w.skip()
	return clientv3.WatchResponse{Header: header(w.cluster.rev)}, w.next > w.cluster.rev && w.cluster.rev >= w.start
}

// before is what an event replaced, where the watch wants it and it is still known.
func (w *watch) before(e *mvccpb.Event) *mvccpb.KeyValue {
	rev := e.Kv.ModRevision - 1
	if !w.request.PrevKv || e.Kv.CreateRevision == e.Kv.ModRevision || rev < w.cluster.compacted {
		return nil
	}
	if v, ok := w.cluster.keys.Get(string(e.Kv.Key)); ok {
		return v.at(rev)
	}
	return nil
}

// create makes a watch. It counts from when its client has it: see adopt.
func (c *Cluster) create(r *pb.WatchCreateRequest) (*watch, clientv3.WatchResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &watch{cluster: c, in: span{string(r.Key), string(r.RangeEnd)}, start: r.StartRevision, next: r.StartRevision, request: r}
	if w.in.key == "" {
		w.in.key = "\x00"
	}
	switch {
	case r.StartRevision < 0:
		return nil, clientv3.WatchResponse{}, rpctypes.ErrGRPCCompacted
	case w.in.end != "" && w.in.end != "\x00" && w.in.key >= w.in.end:
		return nil, clientv3.WatchResponse{}, errors.New("mvcc: watcher range is empty")
	case r.StartRevision == 0:
		w.next = c.rev + 1
	}
	return w, clientv3.WatchResponse{Header: header(c.rev), Created: true}, nil
}

// adopt makes compactions leave a watch that misses nothing by them alone.
func (c *Cluster) adopt(w *watch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watches[w] = struct{}{}
}

func (c *Cluster) forget(w *watch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.watches, w)
}
