package main

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
)

// version is set by the linker: -X main.version=….
var version = "dev"

// app is what every command gets of the world.
type app struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	now      func() time.Time
	readFile func(string) ([]byte, error)
	ready    func(url string) // told once a daemon serves; may be nil
}

// run parses and executes the arguments and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root() //nolint:contextcheck // each command gets its context when it runs
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	if err != nil {
		a.explain(err)
	}
	return exitCode(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "cairn",
		Short:         "An infrastructure cloud from one binary",
		Long:          "Cairn runs virtual machines and networks on your own Linux hosts.\n\nStart with `cairn lab up` (three hosts on this machine) or `cairn up` (this machine is the host).",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, err) })
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run Cairn:"}, &cobra.Group{ID: "resources", Title: "Work with resources:"})
	for _, c := range []*cobra.Command{a.upCommand(), a.controllerCommand(), a.agentCommand(), a.labCommand(), a.simCommand(), a.versionCommand()} {
		c.GroupID = "run"
		root.AddCommand(c)
	}
	for _, c := range append(a.kindCommands(), a.driftCommand()) {
		c.GroupID = "resources"
		root.AddCommand(c)
	}
	return root
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: noArgs, RunE: func(*cobra.Command, []string) error {
		return a.printf("cairn %s\n", version)
	}}
}

// terminal tells whether a person looks at the writer.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// colour tells whether the writer takes colours; see no-color.org.
func (a *app) colour(w io.Writer) bool { return terminal(w) && a.getenv("NO_COLOR") == "" }
