package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
	"github.com/cairn-cloud/cairn/bench"
)

// ttl is that of a controller's lease, in seconds.
const ttl = 10

type options struct {
	cairn  string
	rounds int
}

func main() {
	var o options
	flag.StringVar(&o.cairn, "cairn", "bin/cairn", "the binary to measure")
	flag.IntVar(&o.rounds, "rounds", 5, "how many rounds")
	bench.Main(func(ctx context.Context) error {
		flag.Parse()
		return bench.OnStand(ctx, o.cairn, func(s *bench.Stand) error { return run(ctx, s, o) })
	})
}

func run(ctx context.Context, s *bench.Stand, o options) (err error) {
	m := &measurement{etcd: s.Etcd}
	if err := bench.Image(ctx, s.Client, s.Dir); err != nil {
		return err
	}
	if _, err := bench.Tenant(ctx, s.Client, tenant); err != nil {
		return err
	}
	second, err := m.second(ctx, o.cairn, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, second.Stop()) }()
	// The one that was started first leads, and then the one that was not killed.
	leader, other := s.Cloud, second
	for n := range o.rounds {
		bare, err := m.bare(ctx)
		if err != nil {
			return err
		}
		took, err := m.takeover(ctx, leader, other, s.Cloud.Token, n)
		if err != nil {
			return err
		}
		bench.Say("round %d: %s, bare %s", n+1, bench.Round(took), bench.Round(bare))
		m.cairn, m.peer = append(m.cairn, took), append(m.peer, bare)
		leader, other = other, leader
	}
	return m.print()
}

const tenant = "tenant"

type measurement struct {
	etcd        *bench.Etcd
	cairn, peer []time.Duration
}

// second starts another controller with the first one's CA.
func (m *measurement) second(ctx context.Context, binary string, s *bench.Stand) (*bench.Cloud, error) {
	dir := filepath.Join(s.Dir, "second")
	pki := filepath.Join(dir, "controller", "pki")
	if err := os.MkdirAll(pki, 0o700); err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(s.Cloud.Data, "pki", "ca.pem"))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(pki, "ca.pem"), ca, 0o600); err != nil {
		return nil, err
	}
	// Its owner's token was made by the first.
	if err := os.WriteFile(filepath.Join(dir, "controller", "admin.token"), []byte(s.Cloud.Token+"\n"), 0o600); err != nil {
		return nil, err
	}
	return bench.StartCloud(ctx, binary, dir, s.Etcd.URL)
}

// takeover kills the leader, and waits until the other has decided about an
// instance that is made meanwhile; then the killed one starts again.
func (m *measurement) takeover(ctx context.Context, leader, other *bench.Cloud, token string, n int) (time.Duration, error) {
	c, err := client.New(client.Options{Server: other.URL, CA: other.CA, Token: token})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	start := time.Now()
	if err := leader.Kill(); err != nil {
		return 0, err
	}
	i := &api.Instance{}
	i.Name, i.Project = fmt.Sprintf("i-%d", n), tenant
	i.Spec.Type, i.Spec.Image = "t1-nano", bench.ImageName
	if _, err := c.Create(ctx, i, client.WriteOptions{}); err != nil {
		return 0, err
	}
	k, _ := api.KindByName(api.KindInstance)
	// There is no host, and it is the leader who says so.
	err = bench.Until(ctx, c, k, n+1, func(o api.Object) bool { return o.StatusPtr().GetStatus().Condition("Scheduled") != nil })
	if err != nil {
		return 0, err
	}
	took := time.Since(start)
	return took, leader.Again(ctx)
}

// bare is the same of two candidates of etcd's own election.
func (m *measurement) bare(ctx context.Context) (time.Duration, error) {
	var sessions [2]*concurrency.Session
	var elections [2]*concurrency.Election
	for n := range sessions {
		c, err := bench.Dial(m.etcd.URL)
		if err != nil {
			return 0, err
		}
		defer func() { _ = c.Close() }() // it has served
		if sessions[n], err = concurrency.NewSession(c, concurrency.WithTTL(ttl)); err != nil {
			return 0, err
		}
		elections[n] = concurrency.NewElection(sessions[n], "/bench/election")
	}
	if err := elections[0].Campaign(ctx, "first"); err != nil {
		return 0, err
	}
	led := make(chan error, 1)
	go func() { led <- elections[1].Campaign(ctx, "second") }()
	start := time.Now()
	sessions[0].Orphan() // as one that was killed, it keeps nothing alive any more
	if err := <-led; err != nil {
		return 0, err
	}
	took := time.Since(start)
	return took, errors.Join(elections[1].Resign(ctx), sessions[1].Close())
}

func (m *measurement) print() error {
	fmt.Println(bench.Machine())
	fmt.Printf("\n%d rounds; leases of %d s\n\n", len(m.cairn), ttl)
	t := bench.NewTable(os.Stdout, "", "p50", "longest")
	c, b := bench.Quantile(m.cairn, 0.5), bench.Quantile(m.peer, 0.5)
	t.Row("the leader was killed: another has decided", c, bench.Quantile(m.cairn, 1))
	t.Row("a candidate has ended: the other leads", b, bench.Quantile(m.peer, 1))
	t.Row("ratio", fmt.Sprintf("%.2f", c.Seconds()/b.Seconds()), "")
	return t.End()
}
