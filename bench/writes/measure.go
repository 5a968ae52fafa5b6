package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/cairn-cloud/cairn/api/client"
	"github.com/cairn-cloud/cairn/bench"
)

// measurement holds what the rounds have measured.
type measurement struct {
	o       options
	scripts []*script
	etcd    *bench.Etcd
	cloud   *bench.Cloud
	client  *client.Client
	lease   clientv3.LeaseID
	serial  int // of players
	got     map[cell]*samples
}

// cell names what is measured: a verb on a subject, by one of the two.
type cell struct {
	subject, verb int
	bare          bool
}

type samples struct {
	rates []float64       // changes a second, one for each round
	took  []time.Duration // one for each change
	cpu   [3]time.Duration
}

// The three that spend the machine's time.
var spenders = [3]string{"the client", "the controller", "etcd"}

func (m *measurement) spent() (cpu [3]time.Duration, err error) {
	for i, p := range []*bench.Process{bench.Self(), m.cloud.Process, m.etcd.Process} {
		u, e := p.Usage()
		cpu[i], err = u.CPU, errors.Join(err, e)
	}
	return cpu, err
}

// prepare makes the tenants and the lease of the bare writers.
func (m *measurement) prepare(ctx context.Context) (err error) {
	if err := bench.Image(ctx, m.client, m.cloud.Data); err != nil {
		return err
	}
	for w := range m.o.writers {
		if _, err := bench.Tenant(ctx, m.client, projectName(w)); err != nil {
			return err
		}
	}
	g, err := m.etcd.Client.Grant(ctx, 24*3600)
	if err != nil {
		return fmt.Errorf("get a lease for the bare writers: %w", err)
	}
	m.lease = g.ID
	return nil
}

// rounds alternates between the two, change by change. The first round only warms up.
func (m *measurement) rounds(ctx context.Context, writers, rounds int) error {
	for r := range rounds + 1 {
		if r <= 1 {
			m.got = map[cell]*samples{}
		}
		for i, s := range subjects() {
			players, err := m.players(ctx, writers, m.scripts[i])
			if err != nil {
				return err
			}
			for v := range verbs {
				err := m.measure(cell{i, v, false}, func() (time.Duration, []time.Duration, error) { return m.api(ctx, writers, v, s) })
				if err != nil {
					return err
				}
				err = m.measure(cell{i, v, true}, func() (time.Duration, []time.Duration, error) { return m.bare(ctx, players, v, m.scripts[i].phases[v]) })
				if err != nil {
					return err
				}
			}
		}
		bench.Say("round %d of %d with %d writers is done", r, rounds, writers)
	}
	return nil
}

func (m *measurement) players(ctx context.Context, writers int, s *script) ([]*player, error) {
	all := make([]*player, writers)
	for i := range all {
		var err error
		if all[i], err = newPlayer(ctx, m.etcd.Client, m.serial, m.lease, s); err != nil {
			return nil, err
		}
		m.serial++
	}
	return all, nil
}

// measure notes how long the changes of a cell take, and what of the machine.
func (m *measurement) measure(at cell, do func() (time.Duration, []time.Duration, error)) error {
	before, err := m.spent()
	if err != nil {
		return err
	}
	all, took, err := do()
	if err != nil {
		return err
	}
	after, err := m.spent()
	if err != nil {
		return err
	}
	if m.got[at] == nil {
		m.got[at] = &samples{}
	}
	got := m.got[at]
	got.rates = append(got.rates, float64(len(took))/all.Seconds())
	got.took = append(got.took, took...)
	for i := range after {
		got.cpu[i] += after[i] - before[i]
	}
	return nil
}

// api makes the changes through the API, with all that follows from them.
func (m *measurement) api(ctx context.Context, writers, verb int, s subject) (time.Duration, []time.Duration, error) {
	start := time.Now()
	_, took, err := crowd(ctx, writers, m.o.ops, func(ctx context.Context, w, n int) error { return change(ctx, m.client, s, verb, w, n) })
	if err == nil && verb == create {
		err = settle(ctx, m.client, s)
	}
	return time.Since(start), took, err
}

// bare plays the transactions of the verb. A change may be several of them.
func (m *measurement) bare(ctx context.Context, players []*player, verb int, phase []*transaction) (time.Duration, []time.Duration, error) {
	each := len(phase) / m.o.ops
	if len(phase)%m.o.ops != 0 {
		return 0, nil, fmt.Errorf("%s: %d transactions are not the same number for each of %d changes", verbs[verb], len(phase), m.o.ops)
	}
	return crowd(ctx, len(players), m.o.ops, func(ctx context.Context, w, n int) error {
		for _, t := range phase[n*each : (n+1)*each] {
			if err := players[w].play(ctx, t); err != nil {
				return err
			}
		}
		return nil
	})
}

// throughput prints the rates of a crowd.
func (m *measurement) throughput(writers int) error {
	fmt.Printf("\nChanges a second, %d writers at once (median of %d rounds)\n\n", writers, m.o.rounds)
	t := bench.NewTable(os.Stdout, "", "cairn", "bare etcd client", "ratio", "aim", "")
	for i, s := range subjects() {
		for v, verb := range verbs {
			ours, theirs := bench.Quantile(m.got[cell{i, v, false}].rates, 0.5), bench.Quantile(m.got[cell{i, v, true}].rates, 0.5)
			t.Row(verb+" "+s.kind.Plural, fmt.Sprintf("%.0f/s", ours), fmt.Sprintf("%.0f/s", theirs), ours/theirs, "≥ 0.5", bench.Verdict(ours >= theirs/2))
		}
	}
	if err := t.End(); err != nil {
		return err
	}
	fmt.Printf("\nProcessor time of a change\n\n")
	t = bench.NewTable(os.Stdout, append(append([]string{"cairn"}, spenders[:]...), "bare: "+spenders[0], spenders[2])...)
	for i, s := range subjects() {
		for v, verb := range verbs {
			ours, theirs := m.got[cell{i, v, false}], m.got[cell{i, v, true}]
			t.Row(verb+" "+s.kind.Plural, ours.each(0), ours.each(1), ours.each(2), theirs.each(0), theirs.each(2))
		}
	}
	return t.End()
}

func (s *samples) each(spender int) time.Duration { return s.cpu[spender] / time.Duration(len(s.took)) }

// latency prints how long changes take that one client makes one after the other.
func (m *measurement) latency() error {
	fmt.Printf("\nOne writer alone, from the call to the answer\n\n")
	t := bench.NewTable(os.Stdout, "", "cairn p50", "p99", "bare p50", "p99", "p50 ratio")
	for i, s := range subjects() {
		for v, verb := range verbs {
			ours, theirs := m.got[cell{i, v, false}].took, m.got[cell{i, v, true}].took
			a, b := bench.Quantile(ours, 0.5), bench.Quantile(theirs, 0.5)
			t.Row(verb+" "+s.kind.Plural, a, bench.Quantile(ours, 0.99), b, bench.Quantile(theirs, 0.99), float64(a)/float64(b))
		}
	}
	return t.End()
}
