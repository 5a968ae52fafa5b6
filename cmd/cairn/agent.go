package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/agent/disk"
	"github.com/cairn-cloud/cairn/agent/guest"
	"github.com/cairn-cloud/cairn/agent/libvirt"
	"github.com/cairn-cloud/cairn/agent/watchdog"
	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
	"github.com/cairn-cloud/cairn/network/linux"
)

// agentFlags say how an agent runs.
type agentFlags struct {
	servers                    []string
	state, name, joinFile      string
	underlay, uplink, storage  string
	listen                     string
	libvirtURI, virtualization string
	watchdog                   string
	size                       api.Size
	orphanGrace                time.Duration
	forwarders                 []string
}

// addHost adds the flags about the host itself, which `cairn up` has too.
func (f *agentFlags) addHost(c *cobra.Command) {
	c.Flags().StringVar(&f.state, "state", defaultState, "directory of the host's key, the image cache and the disks")
	c.Flags().StringVar(&f.name, "name", "", "name of the host (default: the machine's)")
	c.Flags().StringVar(&f.underlay, "underlay", "", "this host's address for tunnels to other hosts (default: the one of the default route)")
	c.Flags().StringVar(&f.uplink, "uplink", "", "interface or bridge on which this host announces floating IPs (default: the one of the default route)")
	c.Flags().StringVar(&f.storage, "storage", "", "name of the storage that holds the state directory's images and instances, where other hosts use the same (default: none do)")
	c.Flags().StringSliceVar(&f.forwarders, "dns-forwarder", nil, "address, or address:port, of a name server that is asked what guests ask and no network knows; may be given many times (default: those of /etc/resolv.conf, but for private names and addresses)")
	c.Flags().StringVar(&f.libvirtURI, "libvirt", "qemu:///system", "URI of libvirt")
	c.Flags().StringVar(&f.virtualization, "virtualization", "auto", "kvm; qemu, which needs no KVM and is slow; or auto: kvm where there is one")
	c.Flags().StringVar(&f.watchdog, "watchdog", "", "watchdog device, such as /dev/watchdog, that resets this machine when it is cut off and runs what may be started elsewhere (default: none)")
	c.Flags().Int64Var(&f.size.VCPUs, "cpus", 0, "hardware threads to offer (default: all)")
	c.Flags().Int64Var(&f.size.MemoryMiB, "memory-mib", 0, "memory to offer, in MiB (default: all)")
	c.Flags().DurationVar(&f.orphanGrace, "orphan-grace", agent.OrphanGrace, "how long a domain or disks that no record owns are kept in quarantine")
	c.Flags().Int64Var(&f.size.DiskGiB, "disk-gib", 0, "disk to offer, in GiB (default: all of the state directory's file system)")
}

func (a *app) agentCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "agent", Short: "Run a host's agent", Args: noArgs,
		Long: "Makes this machine a host of the cloud: it runs the instances that are placed on it, through libvirt, and builds their networks.\n" +
			"The first time it needs a join token (cairn join-token create NAME), in a file or in CAIRN_JOIN_TOKEN. Stopping it stops no guest.",
	}
	f := &agentFlags{}
	c.Flags().StringSliceVar(&f.servers, "server", nil, "URL of a controller, such as https://cairn.example:7443; may be given many times")
	c.Flags().StringVar(&f.joinFile, "join-token-file", "", "file that holds the join token; not needed once the host has joined")
	c.Flags().StringVar(&f.listen, "listen", ":7444", "address to serve consoles to controllers on")
	f.addHost(c)
	logger := a.logFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if len(f.servers) == 0 {
			return usage(c, errors.New("--server: give the URL of a controller"))
		}
		log, err := logger()
		if err != nil {
			return err
		}
		return a.runAgent(c.Context(), log, f, a.joinToken(f.joinFile))
	}
	return c
}

// joinToken reads the join token when it is asked for: a host that has joined
// needs none, and the file may be gone.
func (a *app) joinToken(file string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		if file == "" {
			return a.getenv("CAIRN_JOIN_TOKEN"), nil
		}
		b, err := a.readFile(file)
		if err != nil {
			return "", fmt.Errorf("read the join token: %w", err)
		}
		return strings.TrimSpace(string(b)), nil
	}
}

// runAgent wires an agent and runs it until ctx ends. token is asked for a
// join token if the machine is no host yet.
func (a *app) runAgent(ctx context.Context, log *slog.Logger, f *agentFlags, token func(context.Context) (string, error)) (err error) {
	layout := agent.Layout(f.state)
	if f.name == "" {
		if f.name, err = os.Hostname(); err != nil {
			return fmt.Errorf("--name: the machine has no name of its own: %w", err)
		}
		f.name = strings.ToLower(f.name)
	}
	underlay, err := f.findUnderlay()
	if err != nil {
		return err
	}
	forwarders, err := f.nameServers()
	if err != nil {
		return err
	}
	id, err := a.enrol(ctx, layout, f, token)
	if err != nil {
		return err
	}
	plane, err := id.Client(strings.Join(f.servers, ","), client.Options{UserAgent: "cairn-agent/" + version})
	if err != nil {
		return err
	}
	defer plane.Close()
	disks, err := disk.Open(layout, agent.FetchFrom(plane))
	if err != nil {
		return err
	}
	hypervisor, err := libvirt.Open(ctx, libvirt.Options{URI: f.libvirtURI, Virtualization: f.virtualization, Layout: layout, Log: log, Now: a.now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, hypervisor.Close()) }()
	links, err := linux.Open(linux.Options{Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, links.Close()) }()
	guests := guest.Open(guest.Options{Log: log, Now: a.now, Underlay: underlay, Forwarders: forwarders})
	defer guests.Close()
	o := agent.Options{
		Layout: layout, Name: f.name, Identity: id, ControlPlane: plane, Underlay: underlay,
		Drivers: agent.Drivers{Hypervisor: hypervisor, Network: links, Disks: disks, Guests: guests, Peers: agent.NewPeers(id)},
		Storage: f.storage,
		Listen:  f.listen, URL: f.consoleURL(underlay), Size: f.size, Missing: missingFeatures(), OrphanGrace: f.orphanGrace,
		Log: log, Now: a.now, Rand: rand.Float64,
	}
	if f.watchdog != "" {
		if o.Watchdog, err = watchdog.Open(f.watchdog); err != nil {
			return err
		}
	}
	host, err := agent.New(o) //nolint:contextcheck // listening takes no time that could be given up
	if err != nil {
		return err
	}
	log.Info("the agent runs", "host", id.HostID, "name", f.name, "underlay", underlay.Address)
	return host.Run(ctx)
}

func (a *app) enrol(ctx context.Context, layout agent.Layout, f *agentFlags, token func(context.Context) (string, error)) (*agent.Identity, error) {
	o := agent.EnrolOptions{Layout: layout, Server: f.servers[0], Name: f.name}
	if !agent.Enrolled(layout) {
		var err error
		if o.JoinToken, err = token(ctx); err != nil {
			return nil, err
		}
	}
	return agent.Enrol(ctx, o)
}

func (f *agentFlags) findUnderlay() (agent.Underlay, error) {
	address := netip.Addr{}
	if f.underlay != "" {
		var err error
		if address, err = netip.ParseAddr(f.underlay); err != nil {
			return agent.Underlay{}, fmt.Errorf("--underlay: %w", err)
		}
	}
	u, err := agent.FindUnderlay(address)
	if err != nil {
		return u, err
	}
	if u.Uplink, err = agent.FindUplink(f.uplink, u); err != nil {
		return u, fmt.Errorf("--uplink: %w", err)
	}
	return u, nil
}

// nameServers are those of --dns-forwarder.
func (f *agentFlags) nameServers() (out []netip.AddrPort, err error) {
	for _, s := range f.forwarders {
		at, err := netip.ParseAddrPort(s)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(s); err != nil {
				return nil, fmt.Errorf("--dns-forwarder: %q is not an address such as 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:53", s)
			}
			at = netip.AddrPortFrom(a, 53)
		}
		if err := guest.Forwardable(at.Addr()); err != nil {
			return nil, fmt.Errorf("--dns-forwarder: %w", err)
		}
		out = append(out, at)
	}
	return out, nil
}

// consoleURL is where controllers reach the agent: by the address that it
// listens on or, where that is any, by the underlay's.
func (f *agentFlags) consoleURL(u agent.Underlay) string {
	host, port, err := net.SplitHostPort(f.listen)
	if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsUnspecified() {
		host = u.Address.String()
	}
	return "https://" + net.JoinHostPort(host, port)
}

// missingFeatures are the devices that a host of guests does better with.
func missingFeatures() (out []string) {
	for _, d := range []struct{ path, feature string }{{"/dev/kvm", "kvm"}, {"/dev/vhost-net", "vhost-net"}} {
		if _, err := os.Stat(d.path); err != nil {
			out = append(out, d.feature)
		}
	}
	return out
}
