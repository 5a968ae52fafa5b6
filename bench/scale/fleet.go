package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// childFleet is the argument by which the benchmark runs itself as all hosts.
const childFleet = "-serve-fleet"

// fleetSpec is what the process of the hosts is told.
type fleetSpec struct {
	Server string
	Dir    string   // of the agents' files
	Tokens []string // to join with, one for each host
}

// hostSize is what each host offers: with four vCPUs for each CPU, room for 20
// instances of one vCPU.
var hostSize = api.Size{VCPUs: 5, MemoryMiB: 8192, DiskGiB: 200}

// joinsAtOnce bounds the handshakes under way.
const joinsAtOnce = 16

// serveFleet runs the hosts until ctx ends. It says so once all have joined.
func serveFleet(ctx context.Context, path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var spec fleetSpec
	if err := json.Unmarshal(b, &spec); err != nil {
		return err
	}
	agents := make([]*agent.Agent, len(spec.Tokens))
	all := &watching{all: len(agents), by: map[int]bool{}}
	g, joining := errgroup.WithContext(ctx)
	g.SetLimit(joinsAtOnce)
	for i := range agents {
		g.Go(func() (err error) {
			agents[i], err = join(joining, spec, i, all)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, len(agents))
	for i, a := range agents {
		wg.Go(func() { errs[i] = a.Run(ctx) })
	}
	fmt.Println("joined")
	wg.Wait()
	return errors.Join(errs...)
}

func hostName(i int) string { return fmt.Sprintf("h%04d", i) }

func join(ctx context.Context, spec fleetSpec, i int, all *watching) (*agent.Agent, error) {
	layout := agent.Layout(filepath.Join(spec.Dir, hostName(i)))
	id, err := agent.Enrol(ctx, agent.EnrolOptions{Layout: layout, Server: spec.Server, JoinToken: spec.Tokens[i], Name: hostName(i)})
	if err != nil {
		return nil, err
	}
	plane, err := id.Client(spec.Server, client.Options{})
	if err != nil {
		return nil, err
	}
	return agent.New(agent.Options{ //nolint:contextcheck // listening takes no time that could be given up
		Layout: layout, Name: hostName(i), Identity: id, ControlPlane: watched{plane, i, all}, Drivers: newMachine().drivers(),
		Underlay: agent.Underlay{Address: netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), MTU: 1550},
		Size:     hostSize, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), Now: time.Now, Rand: rand.Float64,
	})
}
