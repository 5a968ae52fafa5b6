package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairn-cloud/cairn/api"
)

// hostNetworkCommand shows a host's whole network, as it is to be and as it is.
func hostNetworkCommand(n *connection, k api.Kind) *cobra.Command {
	c := &cobra.Command{
		Use: "network HOST", Short: "Show a host's whole network, and what of it is not as it is wanted", Args: oneArg,
		Long: "Shows every link, entry, address, route, setting, rule and element that Cairn has on a host, as its agent finds it. A line that begins with + is\n" +
			"there and is not wanted, one with - is wanted and not there. What differs is put right by itself; at the end is what does now.",
	}
	format := outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := checkFormat(*format); err != nil {
			return usage(c, err)
		}
		defer n.close()
		cl, _, err := n.open(c.Context(), k)
		if err != nil {
			return err
		}
		r, err := cl.HostNetwork(c.Context(), args[0])
		if err != nil {
			return err
		}
		if *format != "table" && *format != "wide" {
			return n.app.printValue(*format, r)
		}
		return n.app.write(networkText(r))
	}
	return c
}

// networkText is both lists as one, which are sorted, and what differs.
func networkText(r api.NetworkReport) string {
	all := slices.Concat(r.Desired, r.Actual)
	for _, lines := range [][]string{all, r.Desired, r.Actual} {
		slices.Sort(lines)
	}
	var out strings.Builder
	for _, line := range slices.Compact(all) {
		_, wanted := slices.BinarySearch(r.Desired, line)
		_, there := slices.BinarySearch(r.Actual, line)
		mark := " "
		if !there {
			mark = "-"
		} else if !wanted {
			mark = "+"
		}
		fmt.Fprintf(&out, "%s %s\n", mark, printable(line))
	}
	for _, d := range r.Drift {
		fmt.Fprintf(&out, "differs: %s is %s, and is to be %s\n", printable(d.Field), printable(d.Actual), printable(d.Desired))
	}
	return out.String()
}
