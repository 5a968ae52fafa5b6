package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/cairn-cloud/cairn/api/client"
)

// Main is the main of a benchmark: it runs until it is done or interrupted,
// and exits with 1 where it failed.
func Main(run func(context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	child, err := serveChild(ctx)
	if !child && err == nil {
		err = run(ctx)
	}
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err) // there is nowhere else to say it
		os.Exit(1)
	}
}

// Stand is what is measured: a controller and its etcd, each in a process of
// its own, with their files in a directory that goes with them.
type Stand struct {
	Dir    string
	Etcd   *Etcd
	Cloud  *Cloud
	Client *client.Client // of the cloud's administrator
}

// OnStand calls measure with a stand of the binary. The arguments of the benchmark
// that are no flags of its own are for the controller: `-- --debug-listen 127.0.0.1:6060`.
func OnStand(ctx context.Context, binary string, measure func(*Stand) error) (err error) {
	s := &Stand{}
	if s.Dir, err = os.MkdirTemp("", "cairn-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.Dir)) }()
	if s.Etcd, err = StartEtcd(ctx, s.Dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Etcd.Stop()) }()
	if s.Cloud, err = StartCloud(ctx, binary, s.Dir, s.Etcd.URL, flag.Args()...); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Cloud.Stop()) }()
	if s.Client, err = s.Cloud.Client(); err != nil {
		return err
	}
	defer s.Client.Close()
	return measure(s)
}
