//go:build lab

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
	"github.com/cairn-cloud/cairn/deploy/lab"
)

// TestTorture is a cloud of three controllers and three hosts under load, of which
// anything is killed at any time: CAIRN_KILLS times, 30 by default. Then what
// must be so is looked for where it is: in libvirt, in the hosts' links and rules, and in the
// control plane's own books.
func TestTorture(t *testing.T) {
	b := openBed(t, "torture", labHosts)
	b.controllers = lab.MaxControllers
	b.up()
	x := newTorture(b)
	x.furnish()
	x.torment()
	x.recover()
	x.sound()
	x.deleteAll()
}

type torture struct {
	*bed
	c     *client.Client
	seed  uint64
	kills int

	mu   sync.Mutex
	made map[string]bool // instances by name that were acknowledged, and whether they are to be there
}

func newTorture(b *bed) *torture {
	b.Helper()
	x := &torture{bed: b, seed: uint64(time.Now().UnixNano()), kills: 30, made: map[string]bool{}}
	if n, err := strconv.Atoi(os.Getenv("CAIRN_KILLS")); err == nil {
		x.kills = n
	}
	if n, err := strconv.ParseUint(os.Getenv("CAIRN_SEED"), 10, 64); err == nil {
		x.seed = n
	}
	b.Logf("CAIRN_SEED=%d CAIRN_KILLS=%d", x.seed, x.kills)
	token, err := os.ReadFile(filepath.Join(b.lab.Dir(), "admin.token"))
	if err != nil {
		b.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(b.lab.Dir(), "ca.crt"))
	if err != nil {
		b.Fatal(err)
	}
	x.c, err = client.New(client.Options{Server: strings.Join(x.lab.Servers(), ","), Token: strings.TrimSpace(string(token)), CA: ca})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(x.c.Close)
	return x
}

func (x *torture) dice(who uint64) *rand.Rand { return rand.New(rand.NewPCG(x.seed, who)) }

func (x *torture) furnish() {
	x.cairn("image", "create", "tiny", "--file", image(x.T, "tiny.qcow2"))
	x.cairn("network", "create", "net")
	x.cairn("subnet", "create", "sub", "--network", "net", "--cidr", "10.20.0.0/24")
}

// torment lets users act while things are killed.
func (x *torture) torment() {
	ctx, stop := context.WithCancel(x.Context())
	var users sync.WaitGroup
	for n := range 2 {
		users.Go(func() { x.user(ctx, n) })
	}
	defer users.Wait()
	defer stop()
	d := x.dice(100)
	for range x.kills {
		x.strike(d)
		x.pause(ctx, time.Duration(d.IntN(2000))*time.Millisecond)
	}
}

func (x *torture) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// user makes, stops, starts, moves and deletes instances of its own.
func (x *torture) user(ctx context.Context, n int) {
	d := x.dice(uint64(n))
	k, _ := api.KindByName(api.KindInstance)
	var mine []string
	for made := 0; ctx.Err() == nil; x.pause(ctx, time.Duration(1000+d.IntN(2000))*time.Millisecond) {
		switch what := d.IntN(10); {
		case len(mine) == 0 || what < 4 && len(mine) < 3:
			made++
			i := &api.Instance{}
			i.Project, i.Name = api.SystemProject, fmt.Sprintf("u%d-%d", n, made)
			i.Spec.Type, i.Spec.Image, i.Spec.NICs = "t1-nano", "tiny", []api.NIC{{Network: "net"}}
			if _, err := x.c.Create(ctx, i, client.WriteOptions{}); err == nil {
				x.promise(i.Name, true)
				mine = append(mine, i.Name)
			}
		case what < 6:
			at := d.IntN(len(mine))
			name := mine[at]
			if _, err := x.c.Delete(ctx, k, api.SystemProject, name, client.WriteOptions{}); err == nil {
				x.promise(name, false)
				mine = slices.Delete(mine, at, at+1)
			}
		default:
			// Whatever comes of it: it may be refused, and may have no answer.
			action := []string{"stop", "start", "reboot", "migrate"}[d.IntN(4)]
			_, _ = x.c.Action(ctx, k, api.SystemProject, mine[d.IntN(len(mine))], action, nil, client.WriteOptions{})
		}
	}
}

func (x *torture) promise(name string, there bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.made[name] = there
}

// strike kills something, or cuts it off, or lets it stand still for a while.
func (x *torture) strike(d *rand.Rand) {
	controllers := []string{"controller", "controller2", "controller3"}
	host := hostNames()[d.IntN(labHosts)]
	ctl := controllers[d.IntN(len(controllers))]
	switch what := d.IntN(20); {
	case what < 5:
		x.signal(ctl, "-KILL", "^[^ ]*cairn controller ")
	case what < 9:
		x.signal(host, "-KILL", "^[^ ]*cairn agent ")
	case what < 12:
		x.signal(host, "-KILL", "^libvirtd ")
	case what < 15:
		x.signal(host, "-KILL", "^/usr/bin/qemu-system")
	case what < 16:
		leader := x.leader()
		x.signal(leader, "-STOP", "^[^ ]*cairn controller ")
		x.pause(x.Context(), 15*time.Second) // longer than its lease
		x.signal(leader, "-CONT", "^[^ ]*cairn controller ")
	case what < 18:
		x.Logf("%s is cut off", host)
		cable := "cl-" + x.name + "-" + host
		x.run("ip", "link", "set", cable, "down")
		x.pause(x.Context(), time.Duration(1+d.IntN(8))*time.Second)
		x.run("ip", "link", "set", cable, "up")
	case what < 19:
		x.Logf("the plug of %s is pulled", host)
		if err := x.lab.Kill(host); err != nil {
			x.Error(err)
		}
		x.again()
	default:
		if ctl != "controller" { // the first one's machine is this one
			x.Logf("the plug of %s is pulled", ctl)
			if err := x.lab.Kill(ctl); err != nil {
				x.Error(err)
			}
			x.again()
		}
	}
}

// again starts what was switched off.
func (x *torture) again() {
	ctx, cancel := context.WithTimeout(x.Context(), patience)
	defer cancel()
	if err := x.lab.Up(ctx, lab.UpOptions{Hosts: labHosts, Controllers: x.controllers, Virtualization: "qemu"}); err != nil {
		x.Logf("not all is up again yet: %v", err) // something else may be down
	}
}

// signal sends a signal to a process of a machine, where there is one.
func (x *torture) signal(machine, signal, pattern string) {
	out, _ := x.tryOn(machine, "pgrep", "-f", pattern)
	pids := strings.Fields(out)
	if len(pids) == 0 {
		return
	}
	x.Logf("kill %s on %s: %s", signal, machine, pattern)
	_, _ = x.tryOn(machine, "kill", signal, pids[0]) // it may just have ended
}

// leader is the controller that leads, or the first.
func (x *torture) leader() string {
	out, err := x.command("controller", "list", "-o", "json").Output()
	if err == nil {
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, `"leads": true`) {
				break
			}
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), `"name": "`); ok {
				err, out = nil, []byte(strings.TrimSuffix(name, `",`))
			}
		}
	}
	if name := strings.TrimSpace(string(out)); err == nil && strings.HasPrefix(name, "controller") {
		return name
	}
	return "controller"
}

// recover waits until all is as it is wanted.
func (x *torture) recover() {
	x.again()
	x.within(2*patience, "all is as it is wanted", func() (bool, string) {
		hosts, instances, err := x.list()
		if err != nil {
			return false, err.Error()
		}
		var not []string
		for _, h := range hosts {
			if h.Status.State != api.StateReady {
				not = append(not, fmt.Sprintf("%s is %s", h.Name, h.Status.State))
			}
		}
		for _, i := range instances {
			want := map[api.Power]api.State{api.PowerOn: api.StateRunning, api.PowerOff: api.StateStopped}[i.Spec.Power]
			halted := i.Status.Condition("Running")
			switch {
			case halted != nil && halted.Reason == "GuestShutdown": // it switched itself off
			case i.Deleting() || i.Status.State != want || i.Status.ObservedGeneration != i.Generation || i.Placement.Target != nil:
				not = append(not, fmt.Sprintf("%s is %s, and should be %s; %+v", i.Name, i.Status.State, want, i.Status.Conditions))
			}
		}
		return len(not) == 0, strings.Join(not, "\n")
	})
}

func (x *torture) list() (hosts []*api.Host, instances []*api.Instance, err error) {
	ctx, cancel := context.WithTimeout(x.Context(), 20*time.Second)
	defer cancel()
	k, _ := api.KindByName(api.KindHost)
	all, _, err := x.c.ListAll(ctx, k, client.ListOptions{})
	if err != nil {
		return nil, nil, err
	}
	for _, o := range all {
		hosts = append(hosts, o.(*api.Host))
	}
	k, _ = api.KindByName(api.KindInstance)
	if all, _, err = x.c.ListAll(ctx, k, client.ListOptions{Project: api.SystemProject}); err != nil {
		return nil, nil, err
	}
	for _, o := range all {
		instances = append(instances, o.(*api.Instance))
	}
	return hosts, instances, nil
}

// sound compares the control plane's books with one another and with what there is.
func (x *torture) sound() {
	hosts, instances, err := x.list()
	if err != nil {
		x.Fatal(err)
	}
	there := map[string]bool{}
	addresses := map[string]string{}
	for _, i := range instances {
		there[i.Name] = true
		for _, a := range i.Status.Addresses {
			if other := addresses[a]; other != "" {
				x.Errorf("%s and %s both have %s", other, i.Name, a)
			}
			addresses[a] = i.Name
		}
	}
	for name, want := range x.made {
		if there[name] != want {
			x.Errorf("%s was acknowledged; it is there: %t, and should be: %t", name, there[name], want)
		}
	}
	for _, h := range hosts {
		x.soundHost(h, instances)
	}
}

// soundHost looks at libvirt, the processes, the links and the rules of a host.
func (x *torture) soundHost(h *api.Host, instances []*api.Instance) {
	x.Helper()
	defined, running, reserved := []string{}, []string{}, int64(0)
	for _, i := range instances {
		if i.Placement.Host != h.ID {
			continue
		}
		reserved += i.Spec.Size.MemoryMiB
		defined = append(defined, i.ID)
		if i.Status.State == api.StateRunning {
			running = append(running, i.ID)
		}
	}
	if got := h.Status.Reserved["memory_mib"]; got != reserved {
		x.Errorf("%s has %d MiB reserved, and instances of %d MiB", h.Name, got, reserved)
	}
	var quarantined []string
	for _, o := range h.Status.Orphans {
		quarantined = append(quarantined, o.Instance)
	}
	sorted := func(s string) []string {
		f := slices.DeleteFunc(strings.Fields(s), func(id string) bool { return slices.Contains(quarantined, id) })
		slices.Sort(f)
		return f
	}
	slices.Sort(defined)
	slices.Sort(running)
	if got := sorted(x.on(h.Name, "virsh", "list", "--all", "--name")); !slices.Equal(got, defined) {
		x.Errorf("%s has the domains %v, and the instances %v", h.Name, got, defined)
	}
	if got := sorted(x.on(h.Name, "virsh", "list", "--name", "--state-running")); !slices.Equal(got, running) {
		x.Errorf("on %s run %v, and should run %v", h.Name, got, running)
	}
	qemus := strings.Fields(x.on(h.Name, "sh", "-c", "pgrep -c qemu-system || true"))
	if len(quarantined) == 0 && (len(qemus) != 1 || qemus[0] != strconv.Itoa(len(running))) {
		x.Errorf("%s has %v QEMUs, and %d instances that run", h.Name, qemus, len(running))
	}
	// Each instance has one port, which is a tap with rules of its own.
	taps := strings.Fields(x.on(h.Name, "sh", "-c", `ip -o link | grep -oE ' ct[a-z0-9]+' | sort -u || true`))
	if len(quarantined) == 0 && len(taps) != len(defined) {
		x.Errorf("%s has the taps %v, and %d instances", h.Name, taps, len(defined))
	}
	rules := x.on(h.Name, "nft", "list", "ruleset")
	for _, tap := range taps {
		if !strings.Contains(rules, tap) {
			x.Errorf("%s has no rule about %s", h.Name, tap)
		}
	}
}

// deleteAll ends everything, and nothing is left on the hosts.
func (x *torture) deleteAll() {
	_, instances, err := x.list()
	if err != nil {
		x.Fatal(err)
	}
	for _, i := range instances {
		x.cairn("instance", "delete", i.Name, "--wait=false")
	}
	x.until("all instances are gone", func() (bool, string) {
		out := x.cairn("instance", "list", "-o", "field=name")
		return out == "", out
	})
	for _, h := range hostNames() {
		for what, command := range map[string]string{
			"domains": "virsh list --all --name",
			"taps":    `ip -o link | grep -oE ' ct[a-z0-9]+' || true`,
			"QEMUs":   "pgrep -a qemu || true",
		} {
			if orphans := x.field("host", h, "status.orphan_count"); orphans != "" && orphans != "0" {
				continue // they are kept for a while, and listed
			}
			x.until(h+" has no "+what, func() (bool, string) {
				out := x.on(h, "sh", "-c", command)
				return out == "", out
			})
		}
	}
}
