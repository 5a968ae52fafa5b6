package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/bench"
)

// recorder keeps the transactions that reach an etcd.
type recorder struct {
	mu   sync.Mutex
	kept []*transaction
}

func (r *recorder) intercept(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	txn, is := req.(*pb.TxnRequest)
	if got, ok := resp.(*pb.TxnResponse); is && ok && err == nil && got.Succeeded {
		if t := kept(txn); t != nil {
			r.mu.Lock()
			r.kept = append(r.kept, t)
			r.mu.Unlock()
		}
	}
	return resp, err
}

// take returns what was kept since it was called last.
func (r *recorder) take() []*transaction {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.kept
	r.kept = nil
	return out
}

// record lets a controller make each change of a writer by itself, and returns
// what it sent to etcd for them.
func record(ctx context.Context, o options, dir string) (scripts []*script, err error) {
	dir = filepath.Join(dir, "record")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	r := &recorder{}
	etcd, at, err := bench.ServeEtcd(ctx, filepath.Join(dir, "etcd"), grpc.ChainUnaryInterceptor(r.intercept))
	if err != nil {
		return nil, err
	}
	defer etcd.Close()
	cloud, err := bench.StartCloud(ctx, o.cairn, dir, at)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cloud.Stop()) }()
	c, err := cloud.Client()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := bench.Image(ctx, c, dir); err != nil {
		return nil, err
	}
	if _, err := bench.Tenant(ctx, c, projectName(0)); err != nil {
		return nil, err
	}
	for _, s := range subjects() {
		got := &script{name: s.kind.Plural}
		for v := range verbs {
			r.take()
			for n := range o.ops {
				if err := change(ctx, c, s, v, 0, n); err != nil {
					return nil, err
				}
				if v != create {
					continue
				}
				// What follows from it is not to share the next one's transaction.
				_, err := c.WaitFor(ctx, s.kind, projectName(0), objectName(0, n), func(o api.Object) (bool, error) { return o != nil && s.settled(o), nil })
				if err != nil {
					return nil, err
				}
			}
			if got.phases[v] = r.take(); len(got.phases[v]) < o.ops {
				return nil, fmt.Errorf("%d transactions were seen for %d changes", len(got.phases[v]), o.ops)
			}
		}
		scripts = append(scripts, got)
	}
	return scripts, nil
}
