package linux

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// received is what a link has got.
func (w *world) received(ns netns.NsHandle, link string) (s netlink.LinkStatistics) {
	w.t.Helper()
	w.in(ns, func(h *netlink.Handle) error {
		l, err := h.LinkByName(link)
		if err == nil {
			s = *l.Attrs().Statistics
		}
		return err
	})
	return s
}

// limit gives ports of a network, by their place, limits on both hosts.
func (r room) limit(limits map[int]network.Limits) {
	r.t.Helper()
	r.change(func(want *network.Desired) {
		ports := want.Networks[0].Ports
		for i := range ports {
			ports[i].Limits = limits[i]
		}
	})
}

// exceeds floods a guest by another of its subnet, and tells whether ever more
// arrived than a megabit a second, and the burst before it, would have let through.
func (r room) exceeds(from, to *guest) bool {
	r.t.Helper()
	f := etherFrame(to.port.MAC, from.port.MAC, unix.ETH_P_IP, ipPacket(from.address, to.address, unix.IPPROTO_UDP, udpPacket(5000, 53, bytes.Repeat([]byte("flood"), 280))))
	before, start := r.received(to.ns, "eth0").RxBytes, time.Now()
	got := func() float64 { return float64(r.received(to.ns, "eth0").RxBytes - before) }
	for range 20 {
		for range 100 {
			from.inject(f)
		}
		if got() > 1<<17+network.Megabit*time.Since(start).Seconds()+float64(len(f)) {
			return true
		}
	}
	for got() < 1<<16 { // the burst passes
		if time.Since(start) > soon {
			r.t.Fatalf("only %g bytes arrive", got())
		}
		runtime.Gosched()
	}
	return false
}

func TestLimits_holdOneWayAndNotTheOther(t *testing.T) {
	r := newRoom(t)
	for _, c := range []struct {
		name       string
		limits     map[int]network.Limits
		toB, fromB bool // whether it exceeds a megabit
	}{
		{"none", nil, true, true},
		{"to a guest", map[int]network.Limits{1: {ToGuest: network.Megabit}}, false, true},
		{"from a guest", map[int]network.Limits{1: {FromGuest: network.Megabit}}, true, false},
		{"both", map[int]network.Limits{1: {ToGuest: network.Megabit, FromGuest: network.Megabit}}, false, false},
		{"of the other", map[int]network.Limits{0: {FromGuest: network.Megabit}}, false, true},
		{"wide ones", map[int]network.Limits{1: {ToGuest: 100_000 * network.Megabit, FromGuest: 100_000 * network.Megabit}}, true, true},
		{"none any more", nil, true, true},
	} {
		r.limit(c.limits)
		if got := r.exceeds(r.a, r.b); got != c.toB {
			t.Errorf("with limits %s, more reaches the guest: %t", c.name, got)
		}
		if got := r.exceeds(r.b, r.a); got != c.fromB {
			t.Errorf("with limits %s, more comes from the guest: %t", c.name, got)
		}
		r.b.reaches(r.c.address)
		r.a.reaches(r.b.address)
	}
	for name := range r.two.seen.Load().Host.Links {
		if name[:2] == "ci" {
			t.Errorf("there is left %s", name)
		}
	}
}

// What libvirt does to a tap when it starts a guest is put right where there is a
// limit, is nothing where there is none, and is no drift.
func TestLimits_comeBackAfterTheStartOfAGuest(t *testing.T) {
	r := newRoom(t)
	r.limit(map[int]network.Limits{1: {ToGuest: network.Megabit}})
	ns := r.two.Network.host.ns
	for _, g := range []*guest{r.b, r.c} {
		tap := network.Tap(g.port.ID)
		run(t, ns, "sh", "-c", "tc qdisc del dev "+tap+" root; tc qdisc add dev "+tap+" root handle 0: noqueue")
	}
	if rest := r.two.rest(*r.two.want); len(rest) != 1 || !strings.Contains(rest[0], "limit "+network.Tap(r.b.port.ID)+" to 1 Mbit/s") {
		t.Errorf("there is left to do %q", rest)
	}
	if found, err := r.two.Apply(t.Context(), *r.two.want); err != nil || len(found) > 0 {
		t.Errorf("it is drift: %+v (%v)", found, err)
	}
	if rest := r.two.rest(*r.two.want); len(rest) > 0 {
		t.Errorf("there is left to do %q", rest)
	}
	if r.exceeds(r.a, r.b) {
		t.Error("more reaches the guest")
	}
}

// What goes the long way round is judged as ever.
func TestLimits_areNoWayAroundTheRules(t *testing.T) {
	r := newRoom(t)
	r.group(map[string][]network.SecurityRule{"sgr_server": {ingress(17, 53, 53)}}, map[int][]string{1: {"sgr_server"}})
	r.limit(map[int]network.Limits{0: {FromGuest: 8 * network.Megabit}, 1: {ToGuest: 8 * network.Megabit}})
	dns, ssh := r.talk(r.a, 5000, r.b, 53), r.talk(r.a, 5001, r.b, 22)
	seen := r.b.frames()
	r.a.inject(etherFrame(r.b.port.MAC, r.a.port.MAC, unix.ETH_P_IP, ipPacket(r.c.address, r.b.address, unix.IPPROTO_UDP, udpPacket(5000, 53, []byte("a lie")))))
	ssh.say("not allowed")
	dns.say("allowed")
	dns.heard(dns.to, "allowed")
	silent(t, ssh.to)
	seen.until(func(f []byte) bool {
		if bytes.Contains(f, []byte("a lie")) {
			t.Errorf("there arrives %q", f)
		}
		return bytes.Contains(f, []byte("allowed"))
	})
}
