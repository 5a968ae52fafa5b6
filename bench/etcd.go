package bench

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// ServeEtcd runs an etcd of one member with the defaults of the etcd binary, of
// the release that Cairn embeds, on a free port of the loopback interface.
func ServeEtcd(ctx context.Context, dir string, o ...grpc.ServerOption) (e *embed.Etcd, at string, err error) {
	cfg := embed.NewConfig()
	cfg.Dir = dir
	cfg.ListenPeerUrls = nil // it is alone
	cfg.ListenClientUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg.AdvertiseClientUrls = cfg.ListenClientUrls
	cfg.QuotaBackendBytes = 8 << 30
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	cfg.GRPCAdditionalServerOptions = o
	if e, err = embed.StartEtcd(cfg); err != nil {
		return nil, "", fmt.Errorf("start etcd: %w", err)
	}
	select {
	case <-e.Server.ReadyNotify():
		return e, "http://" + e.Clients[0].Addr().String(), nil
	case err = <-e.Err():
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	e.Close()
	return nil, "", fmt.Errorf("start etcd: %w", err)
}

// childEtcd is the argument by which a benchmark runs itself as etcd.
const childEtcd = "-serve-etcd"

// serveChild returns true where this process was etcd, started by StartEtcd, and
// has ended.
func serveChild(ctx context.Context) (bool, error) {
	if len(os.Args) != 3 || os.Args[1] != childEtcd {
		return false, nil
	}
	e, at, err := ServeEtcd(ctx, os.Args[2])
	if err != nil {
		return true, err
	}
	defer e.Close()
	if _, err := fmt.Println(at); err != nil {
		return true, err
	}
	select {
	case err = <-e.Err():
	case <-ctx.Done():
	}
	return true, err
}

// Etcd is an etcd in a process of its own.
type Etcd struct {
	*Process
	URL    string
	Client *clientv3.Client
}

// StartEtcd starts one that keeps its data below dir, with fsync.
func StartEtcd(ctx context.Context, dir string) (*Etcd, error) {
	p, url, err := StartSelf(ctx, dir, "etcd", childEtcd, filepath.Join(dir, "etcd"))
	if err != nil {
		return nil, err
	}
	e := &Etcd{Process: p, URL: url}
	e.Client, err = Dial(e.URL)
	if err != nil {
		_ = p.Stop() // why it was of no use says more
		return nil, err
	}
	return e, nil
}

// Dial connects a bare client.
func Dial(at string) (*clientv3.Client, error) {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{at}, Logger: zap.NewNop()})
	if err != nil {
		return nil, fmt.Errorf("connect to etcd: %w", err)
	}
	return c, nil
}

// Stop ends it.
func (e *Etcd) Stop() error {
	_ = e.Client.Close() // its server goes anyway
	return e.Process.Stop()
}

// Revision is that of the newest write.
func (e *Etcd) Revision(ctx context.Context) (int64, error) {
	r, err := e.Client.Get(ctx, "\x00", clientv3.WithCountOnly())
	if err != nil {
		return 0, fmt.Errorf("read etcd's revision: %w", err)
	}
	return r.Header.Revision, nil
}

// Rewatch lists all keys under the prefix and then opens watches on them, as a
// client would that keeps nothing of its own, and returns how long that took and how many keys there are.
func (e *Etcd) Rewatch(ctx context.Context, prefix string, watches int) (took time.Duration, keys int64, err error) {
	start := time.Now()
	c, err := Dial(e.URL)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = c.Close() }() // it has answered
	from, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
	var rev int64
	for more := true; more; {
		r, err := c.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(rewatchPage), clientv3.WithRev(rev))
		if err != nil {
			return 0, 0, fmt.Errorf("list etcd: %w", err)
		}
		rev, more = r.Header.Revision, r.More
		keys += int64(len(r.Kvs))
		if len(r.Kvs) > 0 {
			from = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range watches {
		w := c.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(rev+1), clientv3.WithCreatedNotify())
		if r := <-w; r.Err() != nil {
			return 0, 0, fmt.Errorf("watch etcd: %w", r.Err())
		}
	}
	return time.Since(start), keys, nil
}

// rewatchPage is how many keys one read of Rewatch brings: as many as the store's.
const rewatchPage = 2000
