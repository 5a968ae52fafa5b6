package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/cairn-cloud/cairn/bench"
)

type options struct {
	cairn   string
	writers int
	ops     int
	rounds  int
}

func main() {
	var o options
	flag.StringVar(&o.cairn, "cairn", "bin/cairn", "the binary to measure")
	flag.IntVar(&o.writers, "writers", 64, "how many write at once")
	flag.IntVar(&o.ops, "ops", 25, "how many changes of a sort each writer makes in a round")
	flag.IntVar(&o.rounds, "rounds", 5, "how many rounds")
	bench.Main(func(ctx context.Context) error {
		flag.Parse()
		return bench.OnStand(ctx, o.cairn, func(s *bench.Stand) error { return run(ctx, s, o) })
	})
}

func run(ctx context.Context, s *bench.Stand, o options) error {
	scripts, err := record(ctx, o, s.Dir)
	if err != nil {
		return fmt.Errorf("record the transactions: %w", err)
	}
	m := &measurement{o: o, scripts: scripts, etcd: s.Etcd, cloud: s.Cloud, client: s.Client}
	if err := m.prepare(ctx); err != nil {
		return err
	}
	fmt.Println(bench.Machine())
	for _, s := range scripts {
		fmt.Println(s.shape(o.ops))
	}
	if err := m.rounds(ctx, o.writers, o.rounds); err != nil {
		return err
	}
	if err := m.throughput(o.writers); err != nil {
		return err
	}
	if err := m.rounds(ctx, 1, o.rounds); err != nil {
		return err
	}
	return m.latency()
}
