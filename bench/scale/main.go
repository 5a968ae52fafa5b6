package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cairn-cloud/cairn/bench"
)

type options struct {
	cairn          string
	hosts          int
	instances      int
	tenants        int
	writers        int
	settle, window time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if child, err := bench.Child(ctx); child || err != nil {
		exit(err)
	}
	if len(os.Args) == 3 && os.Args[1] == childFleet {
		exit(serveFleet(ctx, os.Args[2]))
	}
	var o options
	flag.StringVar(&o.cairn, "cairn", "bin/cairn", "the binary to measure")
	flag.IntVar(&o.hosts, "hosts", 1000, "how many hosts join")
	flag.IntVar(&o.instances, "instances", 20_000, "how many instances are made")
	flag.IntVar(&o.tenants, "tenants", 200, "among how many projects, each with one network, they are shared out")
	flag.IntVar(&o.writers, "writers", 32, "how many make instances at once")
	flag.DurationVar(&o.settle, "settle", 5*time.Minute, "how long to wait after the last instance runs")
	flag.DurationVar(&o.window, "window", 2*time.Minute, "how long to watch the idle controller then")
	flag.Parse()
	exit(run(ctx, o))
}

func exit(err error) {
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err) // there is nowhere else to say it
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "cairn-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	etcd, err := bench.StartEtcd(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, etcd.Stop()) }()
	cloud, err := bench.StartCloud(ctx, o.cairn, dir, etcd.URL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cloud.Stop()) }()
	c, err := cloud.Client()
	if err != nil {
		return err
	}
	defer c.Close()
	m := &measurement{o: o, dir: dir, etcd: etcd, cloud: cloud, client: c}
	if err := m.prepare(ctx); err != nil {
		return err
	}
	fleet, err := m.startFleet(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fleet.stop()) }()
	if err := m.load(ctx); err != nil {
		return err
	}
	if err := m.idle(ctx); err != nil {
		return err
	}
	return m.print()
}
