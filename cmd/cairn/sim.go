package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/cairn-cloud/cairn/test/sim"
)

type simFlags struct {
	first     uint64
	seeds     int
	faults    string
	hosts     int
	instances int
	jobs      int
	trace     bool
	mutant    string
}

// errViolations is told by the lines before it.
var errViolations = errors.New("invariants were violated")

func (a *app) simCommand() *cobra.Command {
	f := &simFlags{}
	c := &cobra.Command{
		Use: "sim", Short: "Simulate the whole control plane under faults", Args: noArgs,
		Long: "Runs controllers, scheduler, API and agents in one process under a virtual clock, on an etcd in memory and hosts that are values,\n" +
			"with faults drawn from each seed, and looks at the invariants after every step. The same seed gives the same run.\n" +
			"It ends with the line \"seeds N, violations M\", and fails where M is not 0: then it has printed each failing seed, the shortest\n" +
			"schedule of faults that still fails, and the history of the resource concerned.",
	}
	c.Flags().Uint64Var(&f.first, "first", 0, "the first seed")
	c.Flags().IntVar(&f.seeds, "seeds", 100, "how many seeds")
	c.Flags().StringVar(&f.faults, "faults", "", "kinds of faults to draw from, such as crash,partition; none; default: all")
	c.Flags().IntVar(&f.hosts, "hosts", 3, "hosts at the beginning")
	c.Flags().IntVar(&f.instances, "instances", 6, "instances that each of the users has at most")
	c.Flags().IntVar(&f.jobs, "jobs", runtime.NumCPU(), "processes that share the seeds")
	c.Flags().BoolVar(&f.trace, "trace", false, "print all that happens")
	c.Flags().StringVar(&f.mutant, "mutant", "", "put this fault into Cairn itself, to see it found")
	c.RunE = func(c *cobra.Command, _ []string) error {
		kinds, err := sim.ParseKinds(f.faults)
		if err != nil {
			return usage(c, fmt.Errorf("--faults: %w", err))
		}
		if f.seeds < 1 || f.hosts < 1 || f.instances < 1 || f.jobs < 1 {
			return usage(c, errors.New("--seeds, --hosts, --instances and --jobs are at least 1"))
		}
		if _, ok := sim.Mutants[sim.Mutant(f.mutant)]; f.mutant != "" && !ok {
			return usage(c, fmt.Errorf("--mutant: there is no mutant %q", f.mutant))
		}
		if f.jobs > 1 && f.seeds > 1 {
			return a.simMany(c, f)
		}
		return a.simHere(f, kinds)
	}
	return c
}

// simHere simulates the seeds in this process.
func (a *app) simHere(f *simFlags, kinds []sim.Kind) (err error) {
	dir, err := sim.TempDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	violations := 0
	sim.Main(func(t sim.T) {
		for n := range f.seeds {
			o := sim.Options{
				Seed: f.first + uint64(n), Kinds: kinds, Hosts: f.hosts, Instances: f.instances,
				Mutant: sim.Mutant(f.mutant), Verbose: f.trace, Dir: filepath.Join(dir, "w"),
			}
			var r sim.Result
			if r, err = sim.Run(t, o); err != nil {
				return
			}
			if f.trace {
				if err = a.lines("", r.All); err != nil {
					return
				}
			}
			if r.Violation != nil {
				violations++
				if err = a.simReport(t, o, r); err != nil {
					return
				}
			}
		}
	})
	if err != nil {
		return err
	}
	return a.simEnd(f.seeds, violations)
}

// simReport says what a seed has found.
func (a *app) simReport(t sim.T, o sim.Options, r sim.Result) error {
	s, err := sim.Shrink(t, o, r)
	if err != nil {
		return err
	}
	if err := a.printf("seed %d violates %v\n  it is enough that:\n", r.Seed, r.Violation); err != nil {
		return err
	}
	var faults []string
	for _, x := range s.Faults {
		faults = append(faults, x.String())
	}
	if err := a.lines("    ", faults); err != nil || s.Violation == nil {
		return err
	}
	if err := a.printf("  then: %v\n  the history of %s:\n", s.Violation, s.Violation.About); err != nil {
		return err
	}
	return a.lines("    ", s.Lines)
}

func (a *app) lines(indent string, lines []string) error {
	for _, l := range lines {
		if err := a.printf("%s%s\n", indent, l); err != nil {
			return err
		}
	}
	return nil
}

// simEnd is the last line.
func (a *app) simEnd(seeds, violations int) error {
	err := a.printf("seeds %d, violations %d\n", seeds, violations)
	if err == nil && violations > 0 {
		err = errViolations
	}
	return err
}

// simMany shares the seeds between processes: virtual time is one thread's.
func (a *app) simMany(c *cobra.Command, f *simFlags) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	jobs := min(f.jobs, f.seeds)
	outs, errs := make([]bytes.Buffer, jobs), make([]error, jobs)
	for j := range jobs {
		from, to := f.seeds*j/jobs, f.seeds*(j+1)/jobs
		wg.Go(func() { errs[j] = f.simOne(c.Context(), self, from, to-from, &outs[j]) })
	}
	wg.Wait()
	violations := 0
	for j := range jobs {
		lines := strings.Split(strings.TrimSpace(outs[j].String()), "\n")
		var n, m int
		if _, err := fmt.Sscanf(lines[len(lines)-1], "seeds %d, violations %d", &n, &m); err != nil {
			return errors.Join(fmt.Errorf("a part of the simulation ended with %q", lines[len(lines)-1]), errs[j])
		}
		violations += m
		if err := a.lines("", lines[:len(lines)-1]); err != nil {
			return err
		}
	}
	return a.simEnd(f.seeds, violations)
}

func (f *simFlags) simOne(ctx context.Context, self string, skip, n int, out io.Writer) error {
	c := exec.CommandContext(ctx, self, "sim", "--jobs", "1",
		"--first", strconv.FormatUint(f.first+uint64(skip), 10), "--seeds", strconv.Itoa(n), "--faults", f.faults,
		"--hosts", strconv.Itoa(f.hosts), "--instances", strconv.Itoa(f.instances), "--trace="+strconv.FormatBool(f.trace), "--mutant", f.mutant)
	c.Stdout, c.Stderr = out, os.Stderr
	return c.Run()
}
