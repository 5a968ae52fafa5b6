package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"
)

// logFlag adds --log-level, and returns what makes the logger once flags are parsed.
func (a *app) logFlag(c *cobra.Command) func() (*slog.Logger, error) {
	level := c.Flags().String("log-level", "info", "debug, info, warn or error")
	return func() (*slog.Logger, error) {
		var l slog.Level
		if err := l.UnmarshalText([]byte(*level)); err != nil {
			return nil, usage(c, fmt.Errorf("--log-level %s: give debug, info, warn or error", *level))
		}
		return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: l})), nil
	}
}
