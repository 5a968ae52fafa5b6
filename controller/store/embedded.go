package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Embedded is an etcd in this process, whose one client is in the process too.
type Embedded struct {
	Dir string // made with mode 0700; one process at a time may use it
	// NoSync leaves out fsync. For tests: what a crash of the machine leaves is undefined.
	NoSync bool
	// Peer lets it be one of several members. Without it, it is and stays the only
	// one, and listens on nothing.
	Peer *Peer
}

// Exists tells whether the directory holds the data of a member.
func (e Embedded) Exists() bool {
	_, err := os.Stat(filepath.Join(e.Dir, "etcd", "member", "wal"))
	return err == nil
}

const (
	embeddedTxnOps  = 2048
	maxRequestBytes = 8 << 20
	quotaBytes      = 8 << 30
	// retention is how many revisions etcd keeps: ten times what watchers can go
	// back, so that a restarted process finds the past.
	retention    = "100000"
	readyTimeout = 30 * time.Second
)

// server is a running embedded etcd.
type server struct {
	etcd   *embed.Etcd
	client *clientv3.Client
	lock   *os.File
	peers  *peerServer // nil where there are no others
}

// lockDir keeps a second process out, which etcd would let wait for ever.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the store's directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the store's directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another controller runs on the data in %s: stop it first (%w)", dir, err), f.Close())
	}
	return f, nil
}

func startServer(ctx context.Context, o Options, log *slog.Logger) (_ *server, err error) {
	e := *o.Embedded
	lock, err := lockDir(e.Dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Close())
		}
	}()
	cfg, err := o.config(log)
	if err != nil {
		return nil, err
	}
	srv, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, fmt.Errorf("start the embedded etcd in %s: %w", e.Dir, err)
	}
	s := &server{etcd: srv, lock: lock}
	if e.Peer != nil {
		s.peers = servePeers(e.Peer, srv.Server, log)
	}
	if err := s.awaitReady(ctx, e, log); err != nil {
		s.peers.close()
		srv.Close()
		return nil, fmt.Errorf("start the embedded etcd in %s: %w", e.Dir, err)
	}
	s.client = v3client.New(srv.Server)
	if e.Peer != nil {
		if err := s.takePart(ctx, e.Peer, log); err != nil {
			s.peers.close()
			srv.Close()
			return nil, errors.Join(err, s.client.Close())
		}
	}
	return s, nil
}

// config is how the member runs.
func (o *Options) config(log *slog.Logger) (*embed.Config, error) {
	e := o.Embedded
	cfg := embed.NewConfig()
	cfg.Dir = filepath.Join(e.Dir, "etcd")
	cfg.UnsafeNoFsync = e.NoSync
	// The member needs a name for itself; etcd itself listens nowhere.
	cfg.ListenClientUrls, cfg.ListenPeerUrls = nil, nil
	// There is nobody to wait for in an election of one.
	cfg.TickMs, cfg.ElectionMs = 50, 250
	cfg.MaxTxnOps = embeddedTxnOps
	cfg.MaxRequestBytes = maxRequestBytes
	cfg.QuotaBackendBytes = quotaBytes
	cfg.AutoCompactionMode = embed.CompactorModeRevision
	cfg.AutoCompactionRetention = retention
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(forward{log: log.With("part", "etcd")}))
	if e.Peer == nil {
		return cfg, nil
	}
	return cfg, e.Peer.configure(cfg, o.Name, o.API)
}

// awaitReady waits until the member has a leader. One of several may have to
// wait for the others as long as it takes.
func (s *server) awaitReady(ctx context.Context, e Embedded, log *slog.Logger) error {
	hint := time.NewTimer(readyTimeout)
	defer hint.Stop()
	for {
		select {
		case <-s.etcd.Server.ReadyNotify():
			return nil
		case <-s.etcd.Server.StopNotify():
			return ErrRemoved
		case err := <-s.etcd.Err():
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-hint.C:
			if s.alone() {
				return context.DeadlineExceeded
			}
			log.Warn("waiting for the other controllers: most of them must run", "data", e.Dir)
		}
	}
}

// forget ends the leases of processes that used this etcd before: it runs in
// this one, so none of them is alive, and nobody has to wait for their end.
func (s *server) forget(ctx context.Context) error {
	gone := map[int64]bool{0: true} // 0 is no lease
	for _, p := range []string{livePrefix, alivePrefix, electionPrefix} {
		r, err := s.client.Get(ctx, p, clientv3.WithPrefix())
		if err != nil {
			return fmt.Errorf("find the processes before this one: %w", err)
		}
		for _, kv := range r.Kvs {
			if gone[kv.Lease] {
				continue
			}
			gone[kv.Lease] = true
			if _, err := s.client.Revoke(ctx, clientv3.LeaseID(kv.Lease)); err != nil {
				return fmt.Errorf("end the lease of the process before this one: %w", err)
			}
		}
	}
	return nil
}

func (s *server) stop() error {
	err := s.client.Close()
	if errors.Is(err, context.Canceled) { // that is how an in-process client says that it is closed
		err = nil
	}
	s.peers.close()
	s.etcd.Close()
	if err = errors.Join(err, s.lock.Close()); err != nil {
		return fmt.Errorf("close the embedded etcd: %w", err)
	}
	return nil
}

// forward is a zap core that passes on what people must know of etcd: errors.
type forward struct {
	log    *slog.Logger
	fields []zapcore.Field
}

// Enabled implements zapcore.Core.
func (f forward) Enabled(l zapcore.Level) bool { return l >= zapcore.ErrorLevel }

// With implements zapcore.Core.
func (f forward) With(fields []zapcore.Field) zapcore.Core {
	return forward{f.log, append(f.fields[:len(f.fields):len(f.fields)], fields...)}
}

// harmless is what etcd calls an error at every first start: it wants to write
// its storage version before it has written anything, and does so later.
const harmless = "failed to update storage version"

// Check implements zapcore.Core.
func (f forward) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if f.Enabled(e.Level) && e.Message != harmless {
		return c.AddCore(e, f)
	}
	return c
}

// Write implements zapcore.Core.
func (f forward) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, list := range [][]zapcore.Field{f.fields, fields} {
		for _, x := range list {
			x.AddTo(enc)
		}
	}
	f.log.Error(e.Message, "details", enc.Fields)
	return nil
}

// Sync implements zapcore.Core.
func (f forward) Sync() error { return nil }
