package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/cairn-cloud/cairn/bench"
)

type options struct {
	cairn   string
	writers int
	ops     int
	rounds  int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if child, err := bench.Child(ctx); child || err != nil {
		exit(err)
	}
	var o options
	flag.StringVar(&o.cairn, "cairn", "bin/cairn", "the binary to measure")
	flag.IntVar(&o.writers, "writers", 64, "how many write at once")
	flag.IntVar(&o.ops, "ops", 25, "how many changes of a sort each writer makes in a round")
	flag.IntVar(&o.rounds, "rounds", 5, "how many rounds")
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
	scripts, err := record(ctx, o, dir)
	if err != nil {
		return fmt.Errorf("record the transactions: %w", err)
	}
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
	m := &measurement{o: o, scripts: scripts, etcd: etcd, cloud: cloud}
	if err := m.prepare(ctx); err != nil {
		return err
	}
	defer m.client.Close()
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
