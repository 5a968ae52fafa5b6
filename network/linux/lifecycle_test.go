package linux

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// looked is what the driver sees of a host.
func (h *host) looked() network.Observed {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.Network.open()
	have, err := k.observe()
	if err := errors.Join(err, k.Close()); err != nil {
		h.t.Fatal(err)
	}
	return have
}

// rest is what is left to do.
func (h *host) rest(want network.Desired) []string {
	h.t.Helper()
	return network.Summary(network.Plan(want, h.looked()))
}

// run runs a program on a host, and returns what it prints.
func run(t testing.TB, ns netns.NsHandle, name string, args ...string) string {
	t.Helper()
	var out []byte
	err := within(ns, func() (err error) {
		out, err = exec.Command(name, args...).CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// traces lists all that a host's network consists of.
func (h *host) traces() string {
	h.t.Helper()
	ns := h.Network.host.ns
	files, err := os.ReadDir(h.o.NamespaceDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.t.Fatal(err)
	}
	return fmt.Sprintln(files) + run(h.t, ns, "nft", "list", "ruleset") + run(h.t, ns, "ip", "-br", "link") +
		run(h.t, ns, "ip", "-4", "-br", "addr") + run(h.t, ns, "ip", "route", "show", "table", "all") +
		run(h.t, ns, "bridge", "fdb") + run(h.t, ns, "cat", "/proc/sys/net/ipv4/ip_forward")
}

func TestApply_nothingWantedLeavesNothing(t *testing.T) {
	w := newWorld(t)
	a, b := w.host(), w.host()
	before := a.traces()
	a.apply(wide(42, a, b), wide(43, a, b))
	if after := a.traces(); !strings.Contains(after, "cb00002b") {
		t.Fatalf("the network is not seen by the test:\n%s", after)
	}
	a.apply()
	if after := a.traces(); after != before {
		t.Errorf("before there was\n%s\nand after\n%s", before, after)
	}
}

// wide is a network with all kinds of ports.
func wide(vni uint32, here, there *host) network.Network {
	id := func(c string) string { return strings.Repeat(c, 6) + fmt.Sprintf("%06x", vni) }
	return blue(vni, nic(id("a"), 1, "10.0.1.10", here, here), nic(id("b"), 2, "10.0.2.10", here, here),
		nic(id("c"), 3, "10.0.1.11", here, there), nic(id("d"), 4, "10.0.2.11", here, there))
}

// crash is where the agent ends between two operations: Apply begins anew.
func TestApply_goesOnAfterACrashAnywhere(t *testing.T) {
	w := newWorld(t)
	h, other := w.host(), w.host()
	small, large := h.desired(wide(42, h, other)), h.desired(wide(42, h, other))
	small.Networks[0].Ports = small.Networks[0].Ports[1:3]
	small.Networks[0].MTU = 1400
	for _, c := range []struct {
		name     string
		from, to network.Desired
	}{
		{"from nothing", network.Desired{}, large},
		{"to more", small, large},
		{"to less", large, small},
		{"to nothing", large, network.Desired{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.t = t
			apply := func(d network.Desired) network.Observed {
				t.Helper()
				if _, err := h.Apply(t.Context(), d); err != nil {
					t.Fatal(err)
				}
				return h.looked()
			}
			whole := apply(c.to)
			for n := 0; ; n++ {
				have := apply(c.from)
				ops := network.Plan(c.to, have)
				k := h.Network.open()
				for _, op := range ops[:min(n, len(ops))] {
					for range 2 { // twice is once
						if err := k.do(op); err != nil {
							t.Fatalf("%s: %v", op, err)
						}
					}
				}
				if err := k.Close(); err != nil {
					t.Fatal(err)
				}
				if got := apply(c.to); !same(got, whole) {
					t.Fatalf("after a crash behind %d operations there is\n%+v\nand not\n%+v", n, got, whole)
				}
				if rest := h.rest(c.to); len(rest) > 0 {
					t.Fatalf("after a crash behind %d operations there is left %q", n, rest)
				}
				if n >= len(ops) {
					break
				}
			}
		})
	}
}

// same compares what was seen, but for the MACs that the kernel draws by lot.
func same(a, b network.Observed) bool {
	for _, o := range []network.Observed{a, b} {
		for _, s := range append([]network.Space{o.Host}, o.Routers[network.Namespace(42)], o.Routers[network.Namespace(43)]) {
			for name, l := range s.Links {
				if name != network.GatewayLink {
					l.MAC = network.MAC{}
					s.Links[name] = l
				}
			}
		}
	}
	return reflect.DeepEqual(a, b)
}

// A crash inside of an operation leaves links without their mark, and a file
// that was to be a namespace.
func TestApply_finishesWhatWasHalfMade(t *testing.T) {
	w := newWorld(t)
	h := w.host()
	n := wide(42, h, w.host())
	h.apply(n)
	whole := h.looked()
	h.apply()
	h.in(h.Network.host.ns, func(x *netlink.Handle) error {
		a := netlink.NewLinkAttrs()
		a.Name, a.Group = "cb00002a", network.Group
		return x.LinkAdd(&netlink.Bridge{LinkAttrs: a})
	})
	if err := os.WriteFile(h.path("cairn-00002a"), nil, 0o444); err != nil {
		t.Fatal(err)
	}
	h.apply(n)
	if got := h.looked(); !same(got, whole) {
		t.Errorf("there is\n%+v\nand not\n%+v", got, whole)
	}
}

func TestApply_leavesAloneWhatIsNotOurs(t *testing.T) {
	w := newWorld(t)
	h, other := w.host(), w.host()
	h.in(h.Network.host.ns, func(x *netlink.Handle) error {
		bridge := func(name, alias string) error {
			a := netlink.NewLinkAttrs()
			a.Name = name
			l := &netlink.Bridge{LinkAttrs: a}
			if err := x.LinkAdd(l); err != nil {
				return err
			}
			return x.LinkSetAlias(l, alias)
		}
		// The names of ours, but no mark; and the mark, but no name of ours.
		return errors.Join(bridge("cb00002a", ""), bridge("cu0000ff", "mine"), bridge("br0", "cairn"), bridge("cbridge", "cairn"))
	})
	run(t, h.Network.host.ns, "nft", "add table inet cairnlike; add table ip cairn; add table inet filter")
	if err := os.MkdirAll(h.o.NamespaceDir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cairn-0000ff", "cairn-00002b"} { // others' namespaces of our kind of name
		h.foreign(name)
	}
	before := h.traces()
	_, err := h.Apply(t.Context(), h.desired(wide(42, h, other), wide(43, h, other), wide(44, h, other)))
	if err == nil || !strings.Contains(err.Error(), "there is a link cb00002a that Cairn has not made") || !strings.Contains(err.Error(), "cairn-00002b is a namespace that Cairn has not made") {
		t.Errorf("the error does not name what is in the way: %v", err)
	}
	if rest := network.Plan(h.desired(wide(44, h, other)), h.looked()); !onlyRemoves(rest, 42, 43) {
		t.Errorf("the third network is held up by the others: %q", network.Summary(rest))
	}
	h.apply()
	if after := h.traces(); after != before {
		t.Errorf("before there was\n%s\nand after\n%s", before, after)
	}
}

func onlyRemoves(ops []network.Op, vnis ...uint32) bool {
	for _, op := range ops {
		for _, vni := range append(vnis, 0) {
			if op.Subject() == vni {
				goto next
			}
		}
		return false
	next:
	}
	return true
}

// foreign makes a namespace as `ip netns add` does.
func (h *host) foreign(name string) {
	h.t.Helper()
	path := filepath.Join(h.o.NamespaceDir, name)
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		h.t.Fatal(err)
	}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), path, "", unix.MS_BIND, "")
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// A host that forwards for others goes on doing so.
func TestApply_forwardingStaysWhereItWasOn(t *testing.T) {
	w := newWorld(t)
	h := w.host()
	forwards := func() string {
		return strings.TrimSpace(run(t, h.Network.host.ns, "cat", "/proc/sys/net/ipv4/ip_forward"))
	}
	n := wide(42, h, w.host())
	h.apply(n)
	if forwards() != "1" {
		t.Fatal("the host does not forward")
	}
	run(t, h.Network.host.ns, "nft", "flush ruleset") // with what is written down there
	h.apply(n)
	h.apply()
	if forwards() != "0" {
		t.Error("the host forwards, which it did not before")
	}
	run(t, h.Network.host.ns, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
	h.apply(n)
	h.apply()
	if forwards() != "1" {
		t.Error("the host does not forward any more, which it did before")
	}
}

// The rules are printed by us as nft prints them: what a plan shows is what the
// kernel does.
func TestRules_areWhatTheySay(t *testing.T) {
	w := newWorld(t)
	h := w.host()
	h.apply(wide(42, h, w.host()))
	listed := run(t, h.Network.host.ns, "nft", "list", "ruleset")
	router, err := netns.GetFromPath(h.path("cairn-00002a"))
	if err != nil {
		t.Fatal(err)
	}
	defer router.Close()
	listed += run(t, router, "nft", "list", "ruleset")
	for _, op := range network.Plan(h.desired(wide(42, h, h)), network.Observed{State: network.State{Host: network.NewSpace()}}) {
		o, ok := op.(network.PutTable)
		if !ok {
			continue
		}
		for _, c := range o.Table.Chains {
			for _, r := range c.Rules {
				if line := fmt.Sprintf("%s comment \"%s\"", r, r.Digest()); !strings.Contains(listed, "\t"+line+"\n") {
					t.Errorf("nft does not list the rule %q", line)
				}
			}
		}
	}
	if t.Failed() {
		t.Log(listed)
	}
}

func TestApply_endsWithItsContext(t *testing.T) {
	h := newWorld(t).host()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := h.traces()
	if _, err := h.Apply(ctx, h.desired(wide(42, h, h))); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if after := h.traces(); after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
}
