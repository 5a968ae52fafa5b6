package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-cloud/cairn/deploy/lab"
)

// labFlags say which lab.
type labFlags struct{ name string }

// labName is the lab that commands are about unless they say another.
func (a *app) labName() string { return first(a.getenv("CAIRN_LAB"), "lab") }

// labDir is where a lab is.
func labDir(name string) string {
	if name == "lab" {
		return labData
	}
	return labData + "-" + name
}

func (a *app) labCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "lab", Short: "Run several hosts on this machine",
		Long: "A lab is a cloud on this machine: a controller, and hosts that are namespaces of it, each with its own libvirtd and agent, joined by a bridge.\n" +
			"Its guests are real virtual machines.",
	}
	f := &labFlags{}
	c.PersistentFlags().StringVar(&f.name, "name", "", "name of the lab, where there are several (CAIRN_LAB; default: lab)")
	c.AddCommand(a.labUpCommand(f), a.labDownCommand(f), a.labStatusCommand(f), a.labExecCommand(f), a.labMachineCommand())
	c.RunE = func(c *cobra.Command, args []string) error { return helpFor(c, args) }
	return c
}

// withLab makes what a command does with a lab its RunE.
func (a *app) withLab(c *cobra.Command, f *labFlags, do func(context.Context, *lab.Lab, []string) error) *cobra.Command {
	logger := a.logFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		log, err := logger()
		if err != nil {
			return err
		}
		name := first(f.name, a.labName())
		l, err := lab.Open(lab.Options{Dir: labDir(name), Name: name, Log: log})
		if err != nil {
			return err
		}
		return do(c.Context(), l, args)
	}
	return c
}

func (a *app) labUpCommand(f *labFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "up", Short: "Start the lab, or what of it does not run", Args: noArgs,
		Long: "Starts the lab, and returns when all its hosts are ready. It may be repeated: what runs is left alone.",
	}
	o := lab.UpOptions{}
	timeout := c.Flags().Duration("timeout", 3*time.Minute, "how long to wait at most")
	c.Flags().IntVar(&o.Hosts, "hosts", 3, "how many hosts there are to be")
	c.Flags().IntVar(&o.Controllers, "controllers", 1, "how many controllers there are to be; of three, any one may fail")
	c.Flags().StringVar(&o.Virtualization, "virtualization", "qemu", "qemu, which works anywhere and is slow; kvm; or auto")
	return a.withLab(c, f, func(ctx context.Context, l *lab.Lab, _ []string) error {
		ctx, cancel := context.WithTimeoutCause(ctx, *timeout, fmt.Errorf("not done within %s: %w", *timeout, context.DeadlineExceeded))
		defer cancel()
		if err := l.Up(ctx, o); err != nil {
			return err
		}
		return a.showLab(ctx, l)
	})
}

func (a *app) labDownCommand(f *labFlags) *cobra.Command {
	c := &cobra.Command{Use: "down", Short: "End the lab and remove all that it has made, guests and disks too", Args: noArgs}
	return a.withLab(c, f, func(_ context.Context, l *lab.Lab, _ []string) error { return l.Down() })
}

func (a *app) labStatusCommand(f *labFlags) *cobra.Command {
	c := &cobra.Command{Use: "status", Short: "Show the lab's machines", Args: noArgs}
	return a.withLab(c, f, func(ctx context.Context, l *lab.Lab, _ []string) error { return a.showLab(ctx, l) })
}

func (a *app) showLab(ctx context.Context, l *lab.Lab) error {
	all, err := l.Status(ctx)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		a.progress("there is no lab; start one with `cairn lab up`\n")
		return nil
	}
	rows := [][]string{{"MACHINE", "STATE", "ADDRESS", "PID"}}
	for _, m := range all {
		pid := "-"
		if m.PID != 0 {
			pid = strconv.Itoa(m.PID)
		}
		rows = append(rows, []string{m.Name, m.State, m.Address, pid})
	}
	return a.write(layout(rows, a.colour(a.out)))
}

func (a *app) labExecCommand(f *labFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "exec MACHINE COMMAND [ARG…]", Short: "Run a command on a machine of the lab",
		Long: "Runs a command on a machine of the lab, such as: cairn lab exec h1 virsh list", Args: cobra.MinimumNArgs(2),
	}
	c.Flags().SetInterspersed(false)
	return a.withLab(c, f, func(ctx context.Context, l *lab.Lab, args []string) error {
		argv, err := l.Exec(args[0], args[1:]...)
		if err != nil {
			return err
		}
		run := exec.CommandContext(ctx, argv[0], argv[1:]...)
		run.Stdin, run.Stdout, run.Stderr = a.in, a.out, a.err
		return run.Run()
	})
}

// labMachineCommand is what `cairn lab up` starts; nobody types it.
func (a *app) labMachineCommand() *cobra.Command {
	c := &cobra.Command{Use: "machine NAME", Short: "Be a machine of the lab", Hidden: true, Args: cobra.ExactArgs(1)}
	spec := c.Flags().String("spec", "", "file that says what the machine is made of")
	logger := a.logFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		log, err := logger()
		if err != nil {
			return err
		}
		return lab.Inside(c.Context(), args[0], *spec, a.in, log)
	}
	return c
}
