//go:build lab

package e2e

import (
	"os"
	"path/filepath"
	"strings"
)

// everyPartIsKilled: kill -9 of each part in turn; all converges, and no guest
// notices.
func everyPartIsKilled(b *bed) {
	before := b.processes()
	b.cairn("instance", "create", "probe", "--type", "t1-nano", "--image", "tiny", "--network", "front", "--required-label", "name=h1")
	for _, x := range []struct{ machine, program string }{{"h1", "agent"}, {"controller", "controller"}, {"h1", "libvirtd"}} {
		b.kill(x.machine, x.program)
		// What needs the part is done all the same.
		b.cairn("instance", "stop", "probe", "--grace-seconds", "0")
		b.cairn("instance", "start", "probe")
	}
	// All at once, and in the middle of work.
	b.cairn("instance", "create", "late", "--type", "t1-nano", "--image", "tiny", "--network", "back", "--required-label", "name=h2", "--wait=false")
	for _, h := range hostNames() {
		b.kill(h, "agent")
		b.kill(h, "libvirtd")
	}
	b.kill("controller", "controller")
	b.runs("late")
	b.cairn("instance", "delete", "late")
	b.cairn("instance", "delete", "probe")
	b.undisturbed(before)
}

// kill ends a program of a machine at once.
func (b *bed) kill(machine, program string) {
	b.Helper()
	pattern := map[string]string{"agent": "^[^ ]*cairn agent ", "controller": "^[^ ]*cairn controller ", "libvirtd": "^libvirtd "}[program]
	pids := strings.Fields(b.on(machine, "pgrep", "-f", pattern))
	if len(pids) != 1 {
		b.Fatalf("the processes of %s on %s are %v", program, machine, pids)
	}
	b.on(machine, "kill", "-9", pids[0])
	b.until(program+" on "+machine+" is another process", func() (bool, string) {
		out, _ := b.tryOn(machine, "pgrep", "-f", pattern)
		return out != "" && out != pids[0], out
	})
}

// processes are QEMU's, by instance.
func (b *bed) processes() map[string]string {
	b.Helper()
	out := map[string]string{}
	for _, g := range guests {
		out[g.name] = b.on(g.host, "pgrep", "-f", "guest="+b.field("instance", g.name, "id")+",")
	}
	return out
}

// undisturbed demands that no guest has rebooted or is another process.
func (b *bed) undisturbed(before map[string]string) {
	b.Helper()
	now := b.processes()
	for _, g := range guests {
		if now[g.name] != before[g.name] {
			b.Errorf("%s is process %s, and was %s", g.name, now[g.name], before[g.name])
		}
		if n := boots(b.console(g.name)); n != 1 {
			b.Errorf("%s has booted %d times", g.name, n)
		}
	}
}

// hostsStandAlone: without the control plane guests run on, DHCP, DNS and metadata
// answer, and an agent that starts anew adopts what runs.
func hostsStandAlone(b *bed) {
	ids := map[string]string{}
	for _, g := range guests {
		ids[g.name] = b.field("instance", g.name, "id")
	}
	b.cairn("instance", "create", "again", "--type", "t1-nano", "--image", "tiny", "--network", "front", "--required-label", "name=h2", "--user-data", "ping=10.10.0.11,f1")
	b.says("again", "ready")
	again := b.field("instance", "again", "id")
	before := b.processes()
	if err := b.lab.Kill("controller"); err != nil {
		b.Fatal(err)
	}
	for _, h := range hostNames() {
		b.kill(h, "agent")
	}
	// A guest that boots now gets its address and its metadata from its host, and
	// reaches a guest on another host, also by its name.
	b.on("h2", "virsh", "reset", again)
	b.until("it boots without a control plane", func() (bool, string) {
		log := consoleFile(b, "h2", again)
		_, second, found := strings.Cut(after(log, "cairn-guest: boot="), "cairn-guest: boot=")
		return found && strings.Contains(second, "metadata="+again) && strings.Contains(second, "ready") && strings.Contains(second, "ping 10.10.0.11 ok") && strings.Contains(second, "ping f1 ok"), log
	})
	for _, g := range guests {
		if n := boots(consoleFile(b, g.host, ids[g.name])); n != 1 {
			b.Errorf("%s has booted %d times", g.name, n)
		}
	}
	b.up()
	b.cairn("instance", "delete", "again")
	b.undisturbed(before)
}

// after is what follows the first of it, with it.
func after(s, what string) string {
	i := strings.Index(s, what)
	if i < 0 {
		return ""
	}
	return s[i+len(what):]
}

// consoleFile is a console's log as it lies on the host.
func consoleFile(b *bed, host, id string) string {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(labDir, "hosts", host, "state", "instances", id, "console.log"))
	if err != nil {
		b.Fatal(err)
	}
	return string(text)
}
