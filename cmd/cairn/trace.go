package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// traceCommand says why a packet passes or does not.
func traceCommand(n *connection, _ api.Kind) *cobra.Command {
	var from, to string
	var tcp, udp uint16
	var ping bool
	c := &cobra.Command{
		Use: "trace --from INSTANCE --to ADDRESS|INSTANCE {--tcp PORT | --udp PORT | --ping}", Short: "Say hop by hop why a packet passes or not", Args: noArgs,
		Long: "Follows the first packet of a connection from an instance, or from a port, through what the hosts are made to be: every link that it takes, and\n" +
			"every rule that decides. Nothing is sent. The exit code is 0 where the packet passes, and 1 where it does not.",
	}
	f := c.Flags()
	f.StringVar(&from, "from", "", "the instance that sends by its first NIC, or a port, by name or ID")
	f.StringVar(&to, "to", "", "an address, or an instance by name or ID: the first address of its first NIC")
	f.Uint16Var(&tcp, "tcp", 0, "to this TCP port")
	f.Uint16Var(&udp, "udp", 0, "to this UDP port")
	f.BoolVar(&ping, "ping", false, "an echo request")
	format := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := checkFormat(*format); err != nil {
			return usage(c, err)
		}
		if from == "" || to == "" {
			return usage(c, errors.New("give --from and --to"))
		}
		given := c.Flags().Changed
		if count(given("tcp"), given("udp"), ping) != 1 {
			return usage(c, errors.New("give one of --tcp PORT, --udp PORT and --ping"))
		}
		if given("tcp") && tcp == 0 || given("udp") && udp == 0 {
			return usage(c, errors.New("there is no port 0: give one from 1 to 65535"))
		}
		defer n.close()
		k, _ := api.KindByName(api.KindPort)
		cl, project, err := n.open(c.Context(), k)
		if err != nil {
			return err
		}
		q := api.TraceQuery{Protocol: "ping"}
		switch {
		case given("tcp"):
			q.Protocol, q.Port = "tcp", tcp
		case given("udp"):
			q.Protocol, q.Port = "udp", udp
		}
		if q.To, err = netip.ParseAddr(to); err != nil {
			if q.To, err = addressOf(c.Context(), cl, project, to); err != nil {
				return err
			}
		}
		port, err := portOf(c.Context(), cl, project, from)
		if err != nil {
			return err
		}
		t, err := cl.Trace(c.Context(), project, port, q)
		if err != nil {
			return err
		}
		if err := n.printTrace(*format, t); err != nil {
			return err
		}
		if !t.Passes {
			return errors.New("the packet does not pass")
		}
		return nil
	}
	return c
}

func count(all ...bool) (n int) {
	for _, is := range all {
		if is {
			n++
		}
	}
	return n
}

// portOf finds the port that a name or ID means: an instance's first, or the port itself.
func portOf(ctx context.Context, cl *client.Client, project, ref string) (string, error) {
	k, _ := api.KindByName(api.KindInstance)
	r, err := cl.Get(ctx, k, project, ref)
	if p := (*api.Problem)(nil); errors.As(err, &p) && p.Status == http.StatusNotFound {
		return ref, nil // a port, or nothing at all, which the server says
	}
	if err != nil {
		return "", err
	}
	nics := r.Object.(*api.Instance).Spec.NICs
	if len(nics) == 0 {
		return "", fmt.Errorf("instance %s has no NIC", ref)
	}
	return nics[0].Port, nil
}

// addressOf is the first address of an instance.
func addressOf(ctx context.Context, cl *client.Client, project, ref string) (netip.Addr, error) {
	k, _ := api.KindByName(api.KindInstance)
	r, err := cl.Get(ctx, k, project, ref)
	if err != nil {
		return netip.Addr{}, err
	}
	addresses := r.Object.(*api.Instance).Status.Addresses
	if len(addresses) == 0 {
		return netip.Addr{}, fmt.Errorf("instance %s has no address yet", ref)
	}
	return netip.ParseAddr(addresses[0])
}

func (n *connection) printTrace(format string, t api.Trace) error {
	if format != "table" && format != "wide" {
		return n.app.printValue(format, t)
	}
	host := ""
	for _, h := range t.Hops {
		if h.Host != host {
			host = h.Host
			if err := n.app.printf("host %s\n", host); err != nil {
				return err
			}
		}
		if err := n.app.printf("  %s: %s\n", h.Where, h.What); err != nil {
			return err
		}
	}
	word := "dropped"
	if t.Passes {
		word = "passes"
	}
	return n.app.printf("%s: %s\n", word, t.End)
}
