package linux

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// told is what Events has said.
type told struct {
	t    testing.TB
	said chan string
	lost chan error
}

// events listens as the agent does, until the test ends.
func (h *host) events() *told {
	h.t.Helper()
	e := &told{h.t, make(chan string, 100), make(chan error, 100)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for what, err := range h.Events(ctx) {
			if err != nil {
				e.lost <- err
				continue
			}
			e.said <- what
		}
	}()
	h.t.Cleanup(func() { cancel(); <-done })
	return e
}

func (e *told) next() string {
	e.t.Helper()
	select {
	case s := <-e.said:
		return s
	case err := <-e.lost:
		e.t.Fatal(err)
	case <-time.After(soon):
		e.t.Fatal("nothing is said")
	}
	return ""
}

func TestEvents_tellWhatAnotherHandChanged(t *testing.T) {
	w := newWorld(t)
	h := w.host()
	n := wide(42, h, w.host())
	n.Ports[0].Limits = network.Limits{ToGuest: network.Megabit, FromGuest: network.Megabit}
	e := h.events()
	h.apply(n)
	in := func(router bool, command string) func() {
		return func() {
			ns := h.Network.host.ns
			if router {
				var err error
				if ns, err = netns.GetFromPath(h.path("cairn-00002a")); err != nil {
					t.Fatal(err)
				}
				defer ns.Close()
			}
			run(t, ns, "sh", "-c", command)
		}
	}
	for _, c := range []struct {
		name   string
		do     func()
		expect string
	}{
		{"a tap deleted", in(false, "ip link del ctaaaaaa00002a"), "put tun ctaaaaaa00002a"},
		{"a tap switched off", in(false, "ip link set ctaaaaaa00002a down"), "switch on ctaaaaaa00002a"},
		{"a tap taken off its bridge", in(false, "ip link set ctaaaaaa00002a nomaster"), "put tun ctaaaaaa00002a"},
		{"a port that learns", in(false, "bridge link set dev ctaaaaaa00002a learning on"), "put tun ctaaaaaa00002a"},
		{"a limit removed", in(false, "tc qdisc del dev ctaaaaaa00002a root"), "limit ctaaaaaa00002a to 1 Mbit/s"},
		{"a limit raised", in(false, "tc qdisc replace dev ctaaaaaa00002a root tbf rate 1gbit burst 128kb limit 128kb"), "limit ctaaaaaa00002a to 1 Mbit/s"},
		{"a limit of another kind", in(false, "tc qdisc replace dev ciaaaaaa00002a root handle 5: pfifo"), "limit ciaaaaaa00002a to 1 Mbit/s"},
		{"a limit of no port", in(false, "tc qdisc replace dev ctbbbbbb00002a root tbf rate 1gbit burst 128kb limit 128kb"), "limit ctbbbbbb00002a no more"},
		{"a detour removed", in(false, "tc qdisc del dev ctaaaaaa00002a clsact"), "send what comes by ctaaaaaa00002a by ciaaaaaa00002a"},
		{"a detour emptied", in(false, "tc filter del dev ctaaaaaa00002a ingress"), "send what comes by ctaaaaaa00002a by ciaaaaaa00002a"},
		{"a detour of no port", in(false, "tc qdisc add dev ctbbbbbb00002a clsact; tc filter add dev ctbbbbbb00002a ingress protocol all u32 match u32 0 0 action mirred egress redirect dev eth0"), "send what comes by ctbbbbbb00002a by no other"},
		{"a detour's link", in(false, "ip link del ciaaaaaa00002a"), "put ifb ciaaaaaa00002a"},
		{"a bridge deleted", in(false, "ip link del cb00002a"), "put bridge cb00002a"},
		{"the MTU", in(false, "ip link set cx00002a mtu 1300"), "put vxlan cx00002a"},
		{"a VXLAN device made anew", in(false, "ip link del cx00002a; ip link add cx00002a type vxlan id 42 dstport 4789; ip link set cx00002a alias cairn"), "remove link cx00002a"},
		{"a forwarding entry removed", in(false, "bridge fdb del 02:00:00:00:00:03 dev cx00002a master"), "forward 02:00:00:00:00:03"},
		{"a forwarding entry more", in(false, "bridge fdb add 02:00:00:00:00:77 dev cx00002a master static"), "forward 02:00:00:00:00:77 no more"},
		{"a tunnel for everything", in(false, "bridge fdb append 00:00:00:00:00:00 dev cx00002a dst 192.0.2.99"), "tunnel 00:00:00:00:00:00 no more"},
		{"a tunnel's other end", in(false, "bridge fdb replace 02:00:00:00:00:03 dev cx00002a dst 192.0.2.99"), "tunnel 02:00:00:00:00:03"},
		{"a neighbour", in(false, "ip neigh del 10.0.1.11 dev cx00002a"), "neighbour 10.0.1.11"},
		{"a neighbour that may age", in(false, "ip neigh replace 10.0.1.11 dev cx00002a lladdr 02:00:00:00:00:03 nud reachable"), "neighbour 10.0.1.11"},
		{"an uplink's address", in(false, "ip addr del 198.18.0.0/31 dev cu00002a"), "add address 198.18.0.0/31"},
		{"all rules", in(false, "nft flush ruleset"), "put table bridge cairn"},
		{"a rule more", in(false, "nft insert rule bridge cairn tap accept"), "put table bridge cairn"},
		{"a rule less", in(false, "nft flush chain inet cairn forward"), "put table inet cairn"},
		{"a chain's policy", in(false, "nft 'add chain inet cairn input { policy drop; }'"), "put table inet cairn"},
		{"an element of a set", in(false, "nft flush set bridge cairn macs"), "add to set macs"},
		{"the host's forwarding", in(false, "echo 0 > /proc/sys/net/ipv4/ip_forward"), "set net/ipv4/ip_forward to 1"},
		{"a router's neighbour", in(true, "ip neigh del 10.0.1.10 dev gw"), "neighbour 10.0.1.10"},
		{"a router's address", in(true, "ip addr del 10.0.1.1/24 dev gw"), "add address 10.0.1.1/24"},
		{"a router's route", in(true, "ip route del default"), "route 0.0.0.0/0"},
		{"a router's rules", in(true, "nft flush ruleset"), "cairn-00002a: put table inet cairn"},
		{"a router's forwarding", in(true, "echo 0 > /proc/sys/net/ipv4/ip_forward"), "cairn-00002a: set net/ipv4/ip_forward to 1"},
		{"a router's MAC", in(true, "ip link set gw address 02:00:00:00:00:99"), "put veth gw"},
		{"a router's cable", in(true, "ip link del dev up"), "put veth cu00002a"},
		{"a router's name", func() {
			if err := errors.Join(unix.Unmount(h.path("cairn-00002a"), unix.MNT_DETACH), os.Remove(h.path("cairn-00002a"))); err != nil {
				t.Fatal(err)
			}
		}, "cairn-00002a: make the namespace"},
	} {
		c.do()
		// What it says first may be half of what was done; it goes on to the end of it.
		said := e.next()
		for !strings.Contains(said, c.expect) {
			said = e.next()
		}
		if _, err := h.Apply(t.Context(), h.desired(n)); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if rest := h.rest(h.desired(n)); len(rest) > 0 {
			t.Fatalf("%s: it is not put right: %q", c.name, rest)
		}
		for len(e.said) > 0 {
			<-e.said // of the time before it was put right
		}
	}
}

// Apply makes hundreds of events, and other things happen on a host; none of
// them is told. What is told first is what was changed afterwards.
func TestEvents_areSilentAboutOurselvesAndOthers(t *testing.T) {
	w := newWorld(t)
	h := w.host()
	e := h.events()
	n := wide(42, h, w.host())
	ns := h.Network.host.ns
	for range 3 {
		h.apply(n, wide(43, h, h))
		h.apply()
		h.apply(n)
	}
	a := h.guest(n, n.Ports[0])
	a.reaches(beyond)
	run(t, ns, "sh", "-c", "ip link add other type veth peer name another; ip link set other up; ip addr add 10.9.9.9/24 dev other; ip neigh add 10.9.9.1 lladdr 02:00:00:00:00:01 dev other; nft add table inet other; ip link del other")
	run(t, ns, "ip", "neigh", "del", "10.0.1.11", "dev", "cx00002a")
	if said := e.next(); !strings.Contains(said, "neighbour 10.0.1.11") {
		t.Errorf("it says %q", said)
	}
}

func TestEvents_thatWereLostAreAnError(t *testing.T) {
	w := newWorld(t)
	h := w.host()
	h.eventBuffer = 1 // the kernel's least, which holds one event or two
	e := h.events()
	var ports []network.Port
	for i := range byte(200) {
		ports = append(ports, nic("aaaaaaaaaaaa", i+1, "10.0.1.10", nil, h))
		ports[i].Addresses[0] = netip.AddrFrom4([4]byte{10, 0, 1, i + 2})
	}
	h.apply(blue(42, ports...))
	select {
	case err := <-e.lost:
		if !errors.Is(err, unix.ENOBUFS) {
			t.Error(err)
		}
	case <-time.After(soon):
		t.Error("nothing is said of events that were lost")
	}
}
