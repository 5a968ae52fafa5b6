package bench

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// Names of what Tenant and Image make.
const (
	NetworkName = "net"
	ImageName   = "image"
)

// Tenant makes a project with a network of one subnet, and with room for all
// that a benchmark asks for. It returns the project's ID.
func Tenant(ctx context.Context, c *client.Client, name string) (string, error) {
	p := &api.Project{}
	p.Name = name
	p.Spec.Quota = api.Quota{Instances: 1 << 20, VCPUs: 1 << 20, MemoryMiB: 1 << 30, DiskGiB: 1 << 30, Networks: 100, Ports: 1 << 20}
	n := &api.Network{}
	n.Name, n.Project = NetworkName, name
	s := &api.Subnet{}
	s.Name, s.Project = "subnet", name
	s.Spec = api.SubnetSpec{Network: NetworkName, CIDR: netip.MustParsePrefix("10.0.0.0/16")}
	id := ""
	for _, o := range []api.Object{p, n, s} {
		r, err := c.Create(ctx, o, client.WriteOptions{})
		if err != nil {
			return "", fmt.Errorf("make the project %s: %w", name, err)
		}
		if id == "" {
			id = r.Object.GetMeta().ID
		}
	}
	return id, nil
}

// Image uploads an empty disk, which serves all projects.
func Image(ctx context.Context, c *client.Client, dir string) error {
	at := filepath.Join(dir, "image.qcow2")
	if out, err := exec.CommandContext(ctx, "qemu-img", "create", "-q", "-f", "qcow2", at, "1M").CombinedOutput(); err != nil {
		return fmt.Errorf("make an image: %w: %s (qemu-img is in the package qemu-utils)", err, out)
	}
	return Upload(ctx, c, at)
}

// Upload uploads a file as the image of all projects, and waits until it is ready.
func Upload(ctx context.Context, c *client.Client, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("upload the image: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	i := &api.Image{}
	i.Name, i.Project = ImageName, api.SystemProject
	made, err := c.Create(ctx, i, client.WriteOptions{})
	if err != nil {
		return fmt.Errorf("make an image: %w", err)
	}
	if err := c.Upload(ctx, api.SystemProject, made.Object.GetMeta().ID, f, nil); err != nil {
		return err
	}
	k, _ := api.KindOf(i)
	_, err = c.WaitFor(ctx, k, api.SystemProject, ImageName, func(o api.Object) (bool, error) {
		if o == nil || o.StatusPtr().GetStatus().State == api.StateFailed {
			return false, fmt.Errorf("the image %s was refused", path)
		}
		return o.StatusPtr().GetStatus().State == api.StateReady, nil
	})
	return err
}
