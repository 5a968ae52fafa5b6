package main

import (
	"context"
	"errors"
	"flag"
	"os"
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
	var o options
	flag.StringVar(&o.cairn, "cairn", "bin/cairn", "the binary to measure")
	flag.IntVar(&o.hosts, "hosts", 1000, "how many hosts join")
	flag.IntVar(&o.instances, "instances", 20_000, "how many instances are made")
	flag.IntVar(&o.tenants, "tenants", 200, "among how many projects, each with one network, they are shared out")
	flag.IntVar(&o.writers, "writers", 32, "how many make instances at once")
	flag.DurationVar(&o.settle, "settle", 5*time.Minute, "how long to wait after the last instance runs")
	flag.DurationVar(&o.window, "window", 2*time.Minute, "how long to watch the idle controller then")
	bench.Main(func(ctx context.Context) error {
		if len(os.Args) == 3 && os.Args[1] == childFleet {
			return serveFleet(ctx, os.Args[2])
		}
		flag.Parse()
		return bench.OnStand(ctx, o.cairn, func(s *bench.Stand) error { return run(ctx, s, o) })
	})
}

func run(ctx context.Context, s *bench.Stand, o options) (err error) {
	m := &measurement{o: o, dir: s.Dir, etcd: s.Etcd, cloud: s.Cloud, client: s.Client}
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
	if err := m.restart(ctx, fleet); err != nil {
		return err
	}
	return m.print()
}
