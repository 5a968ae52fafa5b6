package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/cairn-cloud/cairn/bench"
)

type options struct {
	rounds  int
	seconds float64
	trips   int
	size
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 10, "how many rounds")
	flag.Float64Var(&o.seconds, "seconds", 1, "how long to send in each")
	flag.IntVar(&o.trips, "trips", 5000, "how many round trips in each")
	flag.IntVar(&o.members, "members", 10_000, "how many members the large group has")
	flag.IntVar(&o.rules, "rules", 1000, "how many rules the large group has")
	flag.IntVar(&o.ports, "ports", 1000, "how many ports the large host has")
	bench.Main(func(ctx context.Context) error {
		flag.Parse()
		return run(ctx, o)
	})
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "bench-network")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	small := size{members: 2, rules: 2, ports: 1}
	var ways []*way
	for _, m := range []struct {
		name string
		make func(*room) error
	}{
		{"no rules", func(r *room) error { return r.bare() }},
		{"few", func(r *room) error { return small.cairn(ctx, r, dir) }},
		{"many", func(r *room) error { return o.cairn(ctx, r, dir) }},
	} {
		bench.Say("make a room: %s", m.name)
		r, err := newRoom(m.name)
		if err == nil {
			err = m.make(r)
		}
		defer func() { _ = r.Close() }() // the numbers are there already
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		ways = append(ways, &way{room: r})
	}
	for n := range o.rounds {
		for i := range ways { // each is the first as often
			w := ways[(i+n)%len(ways)]
			if err := w.measure(ctx, o); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
		bench.Say("round %d: %.0f, %.0f and %.0f Mbit/s", n+1, last(ways[0].rates), last(ways[1].rates), last(ways[2].rates))
	}
	return report(ways)
}

func last(x []float64) float64 { return x[len(x)-1] }

// way is a room, and what was measured in it.
type way struct {
	*room
	rates []float64 // Mbit/s
	trips []time.Duration
}

func (w *way) measure(ctx context.Context, o options) error {
	rate, err := w.throughput(ctx, time.Duration(o.seconds*float64(time.Second)))
	if err != nil {
		return err
	}
	trip, err := w.trip(ctx, o.trips)
	w.rates, w.trips = append(w.rates, rate), append(w.trips, trip)
	return err
}

// throughput sends by TCP for some time, and returns what arrived a second, in Mbit.
func (w *way) throughput(ctx context.Context, d time.Duration) (rate float64, err error) {
	var l net.Listener
	if err := within(w.guest[1], func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(ctx, "tcp4", net.JoinHostPort(guestIP(1).String(), "0"))
		return err
	}); err != nil {
		return 0, err
	}
	defer l.Close()
	var c net.Conn
	if err := within(w.guest[0], func() (err error) {
		c, err = (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp4", l.Addr().String())
		return err
	}); err != nil {
		return 0, err
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	begun := time.Now()
	go func() {
		b := make([]byte, 256<<10)
		for time.Since(begun) < d {
			if _, err := c.Write(b); err != nil {
				break
			}
		}
		_ = c.Close() // which the reader sees
	}()
	n, err := io.CopyBuffer(writer{}, reader{s}, make([]byte, 256<<10))
	return float64(n) * 8 / 1e6 / time.Since(begun).Seconds(), err
}

// reader and writer hide what would let the kernel copy by itself.
type (
	reader struct{ io.Reader }
	writer struct{}
)

func (writer) Write(b []byte) (int, error) { return len(b), nil }

// trip sends small packets of UDP to and fro, and returns the median time of a round trip.
func (w *way) trip(ctx context.Context, n int) (time.Duration, error) {
	var ends [2]net.PacketConn
	for i := range ends {
		err := within(w.guest[i], func() (err error) {
			ends[i], err = (&net.ListenConfig{}).ListenPacket(ctx, "udp4", net.JoinHostPort(guestIP(i).String(), "0"))
			return err
		})
		if err != nil {
			return 0, err
		}
		defer func() { _ = ends[i].Close() }()
		if err := ends[i].SetDeadline(time.Now().Add(time.Minute)); err != nil {
			return 0, err
		}
	}
	failed := make(chan error, 1)
	go func() {
		b := make([]byte, 64)
		for range n {
			size, from, err := ends[1].ReadFrom(b)
			if err == nil {
				_, err = ends[1].WriteTo(b[:size], from)
			}
			if err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	took := make([]time.Duration, 0, n)
	b := make([]byte, 64)
	for range n {
		begun := time.Now()
		if _, err := ends[0].WriteTo(b, ends[1].LocalAddr()); err != nil {
			return 0, err
		}
		if _, _, err := ends[0].ReadFrom(b); err != nil {
			return 0, errors.Join(err, ends[1].Close(), <-failed)
		}
		took = append(took, time.Since(begun))
	}
	return bench.Quantile(took, 0.5), <-failed
}

// report prints medians, and the ratios round by round.
func report(ways []*way) error {
	fmt.Println(bench.Machine())
	t := bench.NewTable(os.Stdout, "", "Mbit/s", "ratio", "aim", "round trip", "ratio", "aim")
	for i, w := range ways {
		peer, aim := ways[0], 0.95
		if i == 2 {
			peer, aim = ways[1], 0.97
		}
		var faster, sooner []float64
		for n := range w.rates {
			faster = append(faster, w.rates[n]/peer.rates[n])
			sooner = append(sooner, float64(peer.trips[n])/float64(w.trips[n]))
		}
		rate, trip := bench.Quantile(w.rates, 0.5), bench.Quantile(w.trips, 0.5)
		if i == 0 {
			t.Row(w.name, fmt.Sprintf("%.0f", rate), "", "", trip, "", "")
			continue
		}
		a, b := bench.Quantile(faster, 0.5), bench.Quantile(sooner, 0.5)
		aimed := func(x float64) string {
			return fmt.Sprintf("≥ %.2f of %q: %s", aim, peer.name, bench.Verdict(x >= aim))
		}
		t.Row(w.name, fmt.Sprintf("%.0f", rate), a, aimed(a), trip, b, aimed(b))
	}
	return t.End()
}
