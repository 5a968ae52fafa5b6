//go:build lab

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestHosts is how hosts leave: one is drained while its guests run on, and one
// loses its power.
func TestHosts(t *testing.T) {
	b := openBed(t, "hosts", 2)
	b.up()
	b.cairn("image", "create", "tiny", "--file", image(t, "tiny.qcow2"))
	b.cairn("network", "create", "net")
	b.cairn("subnet", "create", "sub", "--network", "net", "--cidr", "10.40.0.0/24")
	b.cairn("host", "update", "h2", "--schedulable=false")
	for name, loss := range map[string]string{"stays": "wait", "anew": "recreate"} {
		b.cairn("instance", "create", name, "--type", "t1-nano", "--image", "tiny", "--network", "net", "--on-host-loss", loss, "--wait=false")
	}
	b.cairn("host", "update", "h2", "--schedulable=true")
	for _, name := range []string{"stays", "anew"} {
		b.runsOn(name, "h1")
		b.says(name, "ready")
	}
	b.part("drain", hostIsDrained)
	b.part("lost", hostIsLost)
}

func (b *bed) runsOn(instance, host string) {
	b.Helper()
	b.until(fmt.Sprintf("%s runs on %s", instance, host), func() (bool, string) {
		s := b.field("instance", instance, "status.state") + " on " + b.field("instance", instance, "placement.host_name")
		return s == "running on "+host, s
	})
}

func (b *bed) hostBecomes(host, state string) {
	b.Helper()
	b.until(host+" is "+state, func() (bool, string) {
		return b.field("host", host, "status.state") == state, b.cairn("host", "get", host, "-o", "yaml")
	})
}

// hostIsDrained: what runs goes on elsewhere, with its disks, and comes back.
func hostIsDrained(b *bed) {
	b.cairn("host", "drain", "h1", "--parallel", "1", "--wait=false")
	b.hostBecomes("h1", "maintenance")
	if out := b.on("h1", "virsh", "list", "--all", "--name"); out != "" {
		b.Errorf("in maintenance h1 has the domains %s", out)
	}
	for _, name := range []string{"stays", "anew"} {
		b.runsOn(name, "h2")
	}
	b.cairn("host", "activate", "h1", "--wait=false")
	b.hostBecomes("h1", "ready")
	b.cairn("host", "drain", "h2", "--wait=false")
	b.hostBecomes("h2", "maintenance")
	for _, name := range []string{"stays", "anew"} {
		b.runsOn(name, "h1")
		if n := boots(b.console(name)); n > 1 {
			b.Errorf("%s has booted %d times", name, n)
		}
	}
	b.cairn("host", "activate", "h2", "--wait=false")
	b.hostBecomes("h2", "ready")
}

// hostIsLost: nothing starts elsewhere before it is known to be off, and then only
// what is to. It comes back, and runs what is still its.
func hostIsLost(b *bed) {
	b.cairn("host", "update", "h1", "--lost-after-seconds", "10")
	if out := b.refused(4, "host", "fence", "h1"); !strings.Contains(out, "host_alive") {
		b.Errorf("a host that reports was fenced, or it is not said why not: %s", out)
	}
	if err := b.lab.Kill("h1"); err != nil {
		b.Fatal(err)
	}
	b.hostBecomes("h1", "lost")
	for _, name := range []string{"stays", "anew"} {
		if h := b.field("instance", name, "placement.host_name"); h != "h1" {
			b.Errorf("%s is on %s before its host is known to be off", name, h)
		}
	}
	b.cairn("host", "fence", "h1", "--message", "the test has pulled its plug", "--wait=false")
	b.runsOn("anew", "h2")
	b.says("anew", "ready")
	b.up()
	b.hostBecomes("h1", "ready")
	b.runsOn("stays", "h1")
	b.runsOn("anew", "h2")
	id := b.field("instance", "anew", "id")
	if out := b.on("h1", "virsh", "list", "--name", "--state-running"); strings.Contains(out, id) {
		b.Error("what was started elsewhere runs on the host that came back, too")
	}
}
