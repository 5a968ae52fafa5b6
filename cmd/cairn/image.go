package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// fill sends the bytes of an image that was just made. Without a file and a
// URL there is nothing to wait for: the bytes come later.
func (n *connection) fill(ctx context.Context, project, file string, r client.Result) (client.Result, error) {
	image, _ := r.Object.(*api.Image)
	switch {
	case image == nil || image.Spec.SourceURL != "":
		return r, nil
	case file == "":
		n.app.progress("the image waits for its bytes: cairn image upload %s FILE\n", image.Name)
		r.Operation = ""
		return r, nil
	}
	return r, n.upload(ctx, project, image.ID, image.Name, file)
}

// upload sends a file, and shows how far it is on the standard error.
func (n *connection) upload(ctx context.Context, project, image, name, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("upload image %s: %w", name, err)
	}
	defer f.Close()
	live, shown := terminal(n.app.err), -1
	err = n.client.Upload(ctx, project, image, f, func(sent, total int64) {
		percent := 100
		if total > 0 {
			percent = int(sent * 100 / total)
		}
		if live && percent != shown {
			n.app.progress("\r\x1b[Kupload %s: %d%% of %d MiB", name, percent, total>>20)
			shown = percent
		}
	})
	if live {
		n.app.progress("\r\x1b[K")
	}
	return err
}

func uploadCommand(n *connection, k api.Kind) *cobra.Command {
	c := &cobra.Command{Use: "upload NAME FILE", Short: "Send the bytes of an image; goes on where an earlier one broke off", Args: func(c *cobra.Command, args []string) error {
		if len(args) != 2 {
			return usage(c, fmt.Errorf("%s takes the image's name and a file", c.CommandPath()))
		}
		return nil
	}}
	ch := &change{n: n, kind: k, format: outputFlag(c)}
	ch.wait.add(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return ch.do(c, func(ctx context.Context, cl *client.Client, project string) (client.Result, error) {
			r, err := cl.Get(ctx, k, project, args[0])
			if err != nil {
				return r, err
			}
			m := r.Object.GetMeta()
			r.Operation = api.OperationID(m.ID, m.Generation)
			return r, n.upload(ctx, project, m.ID, m.Name, args[1])
		})
	}
	return c
}
