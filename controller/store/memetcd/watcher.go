package memetcd

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// progressAfter is how long a watch that asked for progress hears nothing.
	progressAfter = 10 * time.Minute
	// resumeAfter is the longest that etcd's client waits before it resumes a watch.
	resumeAfter = 100 * time.Millisecond
)

// watcher is the client's Watcher, with one goroutine a watch. etcd's own cannot
// run in a testing/synctest bubble: it waits on a channel that its package has made
// outside of it. It also resumes the watches of a broken stream in no order.
type watcher struct {
	conn *conn

	mu     sync.Mutex
	closed bool
	open   map[*watching]struct{}
	ended  sync.WaitGroup
}

// watching is a watch as its client sees it: it outlives the cluster's one when
// that breaks off, and goes on where it was.
type watching struct {
	conn    *conn
	request *pb.WatchCreateRequest // its StartRevision is where it would be resumed
	watch   *watch                 // nil while it is broken off
	out     chan clientv3.WatchResponse
	waiting []clientv3.WatchResponse // for their receiver
	asked   chan struct{}            // of one: for progress
}

// Watch implements clientv3.Watcher. It returns when the cluster has the watch.
func (w *watcher) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	request, notify := describeWatch(clientv3.OpWatch(key, opts...))
	x := &watching{conn: w.conn, request: request, out: make(chan clientv3.WatchResponse, 1), asked: make(chan struct{}, 1)}
	if !w.add(x) {
		close(x.out)
		return x.out
	}
	ctx, done := w.conn.during(ctx)
	created, err := x.create(ctx)
	if err == nil && notify {
		x.waiting = append(x.waiting, created)
	}
	go func() {
		defer w.remove(x)
		defer done()
		defer close(x.out)
		if err == nil {
			err = x.run(ctx)
			x.leave()
		}
		if err != nil && ctx.Err() == nil {
			x.waiting = append(x.waiting, clientv3.WatchResponse{Header: &pb.ResponseHeader{}, Canceled: true, CancelReason: message(err)})
		}
		x.flush(ctx)
	}()
	return x.out
}

// message is what the error says without its code, which the receiver finds by it.
func message(err error) string {
	if s, ok := status.FromError(err); ok {
		return s.Message()
	}
	return err.Error()
}

// describeWatch reads what etcd's client keeps to itself, and would not say but to gRPC.
func describeWatch(op clientv3.Op) (r *pb.WatchCreateRequest, createdNotify bool) {
	is := func(field string) bool { return reflect.ValueOf(op).FieldByName(field).Bool() }
	r = &pb.WatchCreateRequest{
		Key: op.KeyBytes(), RangeEnd: op.RangeBytes(), StartRevision: op.Rev(),
		ProgressNotify: is("progressNotify"), PrevKv: is("prevKV"),
	}
	if is("filterPut") {
		r.Filters = append(r.Filters, pb.WatchCreateRequest_NOPUT)
	}
	if is("filterDelete") {
		r.Filters = append(r.Filters, pb.WatchCreateRequest_NODELETE)
	}
	return r, is("createdNotify")
}

func (w *watcher) add(x *watching) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.conn.ctx.Err() != nil {
		return false
	}
	if w.open == nil {
		w.open = map[*watching]struct{}{}
	}
	w.open[x] = struct{}{}
	w.ended.Add(1)
	return true
}

func (w *watcher) remove(x *watching) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, x)
	w.ended.Done()
}

// RequestProgress implements clientv3.Watcher, for all watches of the client.
func (w *watcher) RequestProgress(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errors.New("the client is closed")
	}
	for x := range w.open {
		select {
		case x.asked <- struct{}{}:
		default:
		}
	}
	return nil
}

// Close implements clientv3.Watcher. The context of the client has ended, and the
// watches with it.
func (w *watcher) Close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.ended.Wait()
	return nil
}

// again tells whether etcd's client resumes a watch after the error.
func again(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.Internal
}

// create registers the watch with the cluster, as often as it needs.
func (x *watching) create(ctx context.Context) (created clientv3.WatchResponse, err error) {
	c := Call{Method: "WatchCreate", Key: string(x.request.Key), End: string(x.request.RangeEnd), Rev: x.request.StartRevision}
	for {
		var made *watch
		var answer clientv3.WatchResponse
		err = x.conn.call(ctx, c, func() (err error) {
			made, answer, err = x.conn.cluster.create(x.request)
			return err
		})
		if err == nil {
			x.watch = made
			x.conn.cluster.adopt(made)
			if x.request.StartRevision == 0 {
				x.request = resumed(x.request, answer.Header.Revision)
			}
			return answer, nil
		}
		if ctx.Err() != nil || !again(err) {
			return answer, err
		}
		pause(ctx, resumeAfter)
	}
}

// resumed is the same request from another revision on. The cluster reads the old one.
func resumed(r *pb.WatchCreateRequest, from int64) *pb.WatchCreateRequest {
	return &pb.WatchCreateRequest{
		Key: r.Key, RangeEnd: r.RangeEnd, StartRevision: from,
		ProgressNotify: r.ProgressNotify, PrevKv: r.PrevKv, Filters: r.Filters,
	}
}

// leave ends the cluster's watch.
func (x *watching) leave() {
	if x.watch != nil {
		x.conn.cluster.forget(x.watch)
		x.watch = nil
	}
}

// run passes on what the cluster tells until the watch ends.
func (x *watching) run(ctx context.Context) error {
	silent := time.NewTicker(progressAfter)
	defer silent.Stop()
	if !x.request.ProgressNotify {
		silent.Stop()
	}
	for ctx.Err() == nil {
		if x.watch == nil {
			if _, err := x.create(ctx); err != nil {
				return err
			}
		}
		ended, err := x.step(ctx, silent)
		if err != nil && ctx.Err() == nil && again(err) {
			x.leave()
			pause(ctx, resumeAfter)
		} else if err != nil || ended {
			return err
		}
	}
	return nil
}

// step does what is next, or waits until there may be something to do.
func (x *watching) step(ctx context.Context, silent *time.Ticker) (ended bool, err error) {
	var out chan clientv3.WatchResponse
	var first clientv3.WatchResponse
	if len(x.waiting) > 0 {
		out, first = x.out, x.waiting[0]
	}
	ready, from, changed := x.watch.ready()
	if ready {
		select {
		case out <- first:
			x.waiting = x.waiting[1:]
		default:
		}
		if x.request.ProgressNotify {
			silent.Reset(progressAfter)
		}
		return x.deliver(ctx, from)
	}
	select {
	case out <- first:
		x.waiting = x.waiting[1:]
	case <-changed:
	case <-x.asked:
		return false, x.progress(ctx)
	case <-silent.C:
		return false, x.progress(ctx)
	case <-ctx.Done():
	}
	return false, nil
}

func (x *watching) deliver(ctx context.Context, from int64) (ended bool, err error) {
	var r clientv3.WatchResponse
	c := Call{Method: "WatchNext", Key: string(x.request.Key), End: string(x.request.RangeEnd), Rev: from}
	w := x.watch
	if err := x.conn.call(ctx, c, func() error { r = w.deliver(); return nil }); err != nil {
		return false, err
	}
	if n := len(r.Events); n > 0 {
		x.request = resumed(x.request, r.Events[n-1].Kv.ModRevision+1)
	}
	x.waiting = append(x.waiting, r)
	return r.Canceled, nil
}

func (x *watching) progress(ctx context.Context) error {
	var r clientv3.WatchResponse
	known := false
	c := Call{Method: "WatchProgress", Key: string(x.request.Key), End: string(x.request.RangeEnd)}
	w := x.watch
	if err := x.conn.call(ctx, c, func() error { r, known = w.progress(); return nil }); err != nil || !known {
		return err
	}
	x.request = resumed(x.request, r.Header.Revision+1)
	x.waiting = append(x.waiting, r)
	return nil
}

// flush gives the receiver what is left, while there is one.
func (x *watching) flush(ctx context.Context) {
	for _, r := range x.waiting {
		select {
		case x.out <- r:
		case <-ctx.Done():
			return
		}
	}
}
