package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/backup"
	"github.com/cairn-cloud/cairn/controller/store"
)

func (a *app) backupCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "backup FILE", Short: "Write a backup of the whole cloud", Args: oneArg,
		Long: "Writes a backup of the whole cloud to a new file (mode 0600), while everything goes on: all that was acknowledged before, at one revision, and the CA.\n" +
			"It holds the CA's key, and so is worth the whole cloud. The bytes of images are not in it.",
	}
	n := a.connectionFlags(c)
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		defer n.close()
		cl, err := n.dial()
		if err != nil {
			return err
		}
		if _, err := os.Stat(args[0]); err == nil {
			return fmt.Errorf("write the backup: there is something at %s already", args[0])
		}
		f, err := os.CreateTemp(filepath.Dir(args[0]), ".backup-*") // mode 0600
		if err != nil {
			return fmt.Errorf("write the backup: %w", err)
		}
		defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
		if err := errors.Join(cl.Backup(c.Context(), f), f.Sync(), f.Close()); err != nil {
			return err
		}
		if _, err := backup.Verify(f.Name()); err != nil {
			return err
		}
		return os.Link(f.Name(), args[0]) // which overwrites nothing
	}
	return c
}

func (a *app) restoreCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "restore FILE", Short: "Make a controller's data directory from a backup", Args: oneArg,
		Long: "Makes the data directory of a single controller from a backup, where there is no store yet. Start the controller on it then; others join it anew.\n" +
			"The restored cloud is held: it changes nothing and tells hosts nothing until `cairn controller check --accept`.",
	}
	data := c.Flags().String("data", defaultData, "the data directory")
	c.RunE = func(c *cobra.Command, args []string) error {
		info, err := backup.Restore(c.Context(), args[0], *data, store.Options{Now: a.now, Rand: rand.Reader})
		if err != nil {
			return err
		}
		a.progress("The backup of %s is restored. Start the controller, then see `cairn controller check`.\n", info.Time.Format("2006-01-02 15:04:05 UTC"))
		return nil
	}
	return c
}

func (a *app) checkCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "check", Short: "Compare a restored cloud with what its hosts report", Args: noArgs,
		Long: "Shows where hosts have something else than a restored cloud says, and what becomes of it; --accept lets the cloud go on with that.\n" +
			"Until then it is held: it changes nothing and tells hosts nothing, whose guests run on.",
	}
	n := a.connectionFlags(c)
	format := c.Flags().StringP("output", "o", "table", "table, json or yaml")
	accept := c.Flags().Bool("accept", false, "let the cloud go on")
	force := c.Flags().Bool("force", false, "with --accept: also where hosts are silent, which must be off and stay so")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := checkFormat(*format); err != nil {
			return usage(c, err)
		}
		defer n.close()
		cl, err := n.dial()
		if err != nil {
			return err
		}
		var found api.Check
		if *accept {
			found, err = cl.Accept(c.Context(), *force)
		} else {
			found, err = cl.Check(c.Context())
		}
		if err != nil {
			return err
		}
		if *format != "table" {
			return a.printValue(*format, found)
		}
		return a.printCheck(found, *accept)
	}
	return c
}

func (a *app) printCheck(found api.Check, accepted bool) error {
	switch {
	case !found.Held:
		a.progress("The cloud is not held.\n")
		return nil
	case accepted:
		a.progress("The cloud goes on.\n")
	default:
		a.progress("The cloud was restored at %s and is held.\nHosts that have reported: %s\nHosts that have not: %s\n",
			found.Since.Format("2006-01-02 15:04:05 UTC"), first(strings.Join(found.Heard, ", "), "none"), first(strings.Join(found.Silent, ", "), "none"))
	}
	if len(found.Differences) == 0 {
		a.progress("What they have is what the backup says.\n")
		return nil
	}
	rows := [][]string{{"INSTANCE", "HOST", "FOUND", "WHEN ACCEPTED"}}
	for _, d := range found.Differences {
		rows = append(rows, []string{printable(first(d.Name, d.Instance)), printable(d.Host), printable(d.Found), d.Accepted})
	}
	return a.write(layout(rows, false))
}
