package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairn-cloud/cairn/api"
)

// The exit codes, as documented in doc.go.
const (
	exitOK = iota
	exitError
	exitUsage
	exitNotFound
	exitConflict
	exitTimeout
)

// usageError is a wrong command line.
type usageError struct {
	err  error
	help string // the command that says more
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usage(c *cobra.Command, err error) error {
	if c.Flags().Changed("help") {
		return err
	}
	return &usageError{err, c.CommandPath() + " --help"}
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(c, fmt.Errorf("%s takes no arguments, not %q", c.CommandPath(), strings.Join(args, " ")))
	}
	return nil
}

// oneArg demands the name or ID that a verb is about.
func oneArg(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage(c, fmt.Errorf("%s takes one name, not %d", c.CommandPath(), len(args)))
	}
	return nil
}

func exitCode(err error) int {
	var u *usageError
	var p *api.Problem
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &u), strings.HasPrefix(err.Error(), "unknown command "), strings.HasPrefix(err.Error(), "required flag(s) "):
		return exitUsage
	case errors.As(err, &p) && p.Status == http.StatusNotFound:
		return exitNotFound
	case errors.As(err, &p) && (p.Status == http.StatusConflict || p.Status == http.StatusPreconditionFailed):
		return exitConflict
	case errors.Is(err, context.DeadlineExceeded):
		return exitTimeout
	default:
		return exitError
	}
}

// explain says to a person what went wrong, where, and what to do.
func (a *app) explain(err error) {
	var b strings.Builder
	var p *api.Problem
	var u *usageError
	switch {
	case errors.As(err, &p):
		explainProblem(&b, err, p)
	case errors.As(err, &u):
		fmt.Fprintf(&b, "cairn: %v\nhint: %s\n", err, u.help)
	default:
		fmt.Fprintf(&b, "cairn: %v\n", err)
	}
	_, _ = fmt.Fprint(a.err, b.String()) // there is nowhere left to complain
}

func explainProblem(b *strings.Builder, err error, p *api.Problem) {
	// What was being done is said before the problem.
	doing, _, _ := strings.Cut(err.Error(), p.Error())
	fmt.Fprintf(b, "cairn: %s%s (%s)\n", doing, printable(p.Detail), p.Code)
	if p.Field != "" && len(p.Errors) == 0 {
		fmt.Fprintf(b, "field: %s\n", p.Field)
	}
	for _, f := range p.Errors {
		fmt.Fprintf(b, "field: %s: %s\n", f.Field, printable(f.Detail))
	}
	if p.Hint != "" {
		fmt.Fprintf(b, "hint: %s\n", p.Hint)
	}
}
