package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/cairn-cloud/cairn/api"
)

// Etcd is the Store. All its methods may be called by many at once.
type Etcd struct {
	opts      Options
	id        string // of this process
	newest    int
	log       *slog.Logger
	client    *clientv3.Client
	server    *server // when it is embedded
	mirror    *mirror
	history   *history
	detector  *detector
	session   *session
	leaders   leaders
	queue     queue
	questions questions

	// The pipeline's own.
	writer  writer
	day     day
	flight  atomic.Pointer[flight] // what it has sent
	adopted atomic.Int64           // how often the feed has brought that as it was foreseen

	leases    context.Context // that of sessions; ends with the store
	endLeases context.CancelFunc
	mu        sync.Mutex
	closed    bool
	leading   sync.WaitGroup // goroutines that hold leaderships
	workers   []worker
}

var _ Store = (*Etcd)(nil)

var day0 day

// worker is a goroutine of the store: how to end it, and that it has ended.
type worker struct {
	stop context.CancelFunc
	done chan struct{}
}

// OpenEmbedded opens a store on an etcd in this process that keeps its data in the directory.
func OpenEmbedded(ctx context.Context, dir string, o Options) (*Etcd, error) {
	o.Embedded = &Embedded{Dir: dir}
	return Open(ctx, o)
}

// Open connects to etcd, or starts it, and returns when the copy in memory is
// complete and this process is registered. The context bounds the opening, not the store.
func Open(ctx context.Context, o Options) (*Etcd, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	id, err := o.processID()
	if err != nil {
		return nil, err
	}
	s := &Etcd{
		opts: o, id: id, newest: o.newest, log: o.Log.With("part", "store"),
		mirror: newMirror(), history: newHistory(int64(o.History)), session: newSession(),
		queue: queue{wake: make(chan struct{}, 1)}, questions: questions{wake: make(chan struct{}, 1)}, writer: writer{key: writerPrefix + id},
	}
	s.leases, s.endLeases = context.WithCancel(context.Background())
	if o.DetectMutations {
		s.detector = newDetector()
	}
	if err := s.connect(ctx); err != nil {
		s.endLeases()
		return nil, err
	}
	if err := s.begun(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the store: %w", err), s.Close()) //nolint:contextcheck // it is ended even where ctx has ended
	}
	return s, nil
}

func (s *Etcd) connect(ctx context.Context) (err error) {
	switch o := s.opts; {
	case o.Beside != nil:
		s.client = o.Beside.client
	case o.Client != nil:
		s.client = o.Client
	case o.Embedded != nil:
		if s.server, err = startServer(ctx, o, s.log); err != nil {
			return err
		}
		s.client = s.server.client
	default:
		s.client, err = clientv3.New(clientv3.Config{
			Endpoints: o.Endpoints, TLS: o.TLS, Logger: zap.NewNop(),
			DialTimeout: 5 * time.Second, DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 5 * time.Second,
			MaxCallSendMsgSize: maxRequestBytes,
		})
		if err != nil {
			return fmt.Errorf("connect to etcd at %v: %w", o.Endpoints, err)
		}
	}
	return nil
}

// begun starts the parts of the store.
func (s *Etcd) begun(ctx context.Context) error {
	if s.server != nil && s.server.alone() {
		if err := s.server.forget(ctx); err != nil {
			return err
		}
	}
	if err := s.load(ctx, int64(s.opts.History)); err != nil {
		return err
	}
	s.run(s.feed) //nolint:contextcheck // the store's workers live as long as it does
	first, err := s.begin(ctx)
	if err != nil {
		return err
	}
	s.run(func(ctx context.Context) { s.keepSession(ctx, first) }) //nolint:contextcheck // the store's workers live as long as it does
	s.run(s.ask)                                                   //nolint:contextcheck // the store's workers live as long as it does
	s.run(s.pipeline)                                              //nolint:contextcheck // the store's workers live as long as it does
	return nil
}

// run starts a worker. They are ended in the reverse order.
func (s *Etcd) run(f func(context.Context)) {
	ctx, stop := context.WithCancel(context.Background())
	w := worker{stop: stop, done: make(chan struct{})}
	s.workers = append(s.workers, w)
	go func() {
		defer close(w.done)
		f(ctx)
	}()
}

// start counts a goroutine that leads, unless the store is closed.
func (s *Etcd) start() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.leading.Add(1)
	return true
}

// View implements Store.
func (s *Etcd) View(ctx context.Context, atLeast int64) (*View, error) {
	if atLeast == api.Latest {
		var err error
		if atLeast, err = s.latest(ctx); err != nil {
			return nil, err
		}
	}
	return s.mirror.wait(ctx, atLeast)
}

// closeTimeout bounds the good manners of Close: what they do, leases do too.
const closeTimeout = 3 * time.Second

// Close implements Store. It may be called again. With DetectMutations it
// returns what was changed that must not be.
func (s *Etcd) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	s.end(ctx)
	var errs []error
	if s.server != nil {
		errs = append(errs, s.server.stop())
	} else if s.opts.Beside == nil && s.opts.Client == nil {
		errs = append(errs, s.client.Close())
	}
	for _, m := range s.detector.check() {
		errs = append(errs, errors.New(m))
	}
	return errors.Join(errs...)
}

// end stops the workers, and lets go of what this process holds in etcd.
func (s *Etcd) end(ctx context.Context) {
	s.endLeases()
	s.leading.Wait()
	for i := len(s.workers) - 1; i >= 0; i-- {
		s.workers[i].stop()
		<-s.workers[i].done
	}
	s.session.mu.Lock()
	now := s.session.now
	s.session.mu.Unlock()
	if now != nil {
		now.Orphan()
		if _, err := s.client.Revoke(ctx, now.Lease()); err != nil {
			s.log.Warn("what this process holds stays until its lease ends", "err", err)
		}
	}
	if _, err := s.client.Delete(ctx, s.writer.key); err != nil {
		s.log.Warn("the mark of this process stays in etcd for a day", "err", err)
	}
}
