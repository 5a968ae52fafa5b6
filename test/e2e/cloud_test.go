//go:build lab

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCloud is the life of a cloud, in the order in which things happen to it.
func TestCloud(t *testing.T) {
	before := seenOnMachine(t)
	t.Cleanup(func() { before.compare(t) }) // after the lab is down
	b := openBed(t, labName, labHosts)
	b.up()
	b.up() // and again: what runs is left alone
	b.part("names", hostsKnowTheirNames)
	b.part("empty", rememberKeys)
	b.part("make", makeGuests)
	b.part("networks", networksReachAndDoNot)
	b.part("guests", guestsKnowWhoTheyAre)
	b.part("dns", namesResolve)
	b.part("scheduler", schedulerPlaces)
	b.part("power", powerButton)
	b.part("debian", debianComesUp)
	b.part("kill", everyPartIsKilled)
	b.part("alone", hostsStandAlone)
	b.part("delete", nothingIsLeft)
}

// hostsKnowTheirNames: without asking a name server, which they cannot reach;
// every start of a guest would wait for its answer.
func hostsKnowTheirNames(b *bed) {
	for _, h := range hostNames() {
		if out := b.on(h, "getent", "-s", "files", "ahosts", h); !strings.Contains(out, h) {
			b.Errorf("%s finds itself at %q", h, out)
		}
	}
}

// guest is an instance of the test.
type guest struct{ name, host, network, address, pings string }

// peers are the other guests of a guest's network, by name, and one by its full name.
func peers(g guest) (out []string) {
	for _, o := range guests {
		if o.network == g.network && o.name != g.name {
			out = append(out, o.name)
		}
	}
	return append(out, out[0]+"."+g.network+".system.internal")
}

// Two networks with the same addresses. The address .13 is in the first only,
// and .23 in the second only.
var guests = []guest{
	{"f1", "h1", "front", "10.10.0.11", "10.10.0.12,10.10.0.13,10.10.0.23"},
	{"f2", "h2", "front", "10.10.0.12", "10.10.0.11,10.10.0.13"},
	{"f3", "h3", "front", "10.10.0.13", "10.10.0.11,10.10.0.23"},
	{"b1", "h1", "back", "10.10.0.11", "10.10.0.12,10.10.0.23,10.10.0.13"},
	{"b2", "h2", "back", "10.10.0.12", "10.10.0.11,10.10.0.13"},
	{"b3", "h3", "back", "10.10.0.23", "10.10.0.12,10.10.0.13"},
}

func publicKey(b *bed) string {
	b.Helper()
	k, err := os.ReadFile(keyFile + ".pub")
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(string(k))
}

// keyFile is the key of the test's user; it goes with the lab.
const keyFile = labDir + "/e2e-key"

func makeGuests(b *bed) {
	b.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "e2e", "-f", keyFile)
	b.cairn("ssh-key", "create", "e2e", "--public-key-file", keyFile+".pub")
	b.cairn("image", "create", "tiny", "--file", image(b.T, "tiny.qcow2"))
	for _, h := range hostNames() {
		b.cairn("host", "update", h, "--labels", "name="+h)
	}
	for _, n := range []string{"front", "back"} {
		b.cairn("network", "create", n)
		b.cairn("subnet", "create", n+"-1", "--network", n, "--cidr", "10.10.0.0/24")
	}
	for _, g := range guests {
		b.cairn("instance", "create", g.name, "--type", "t1-nano", "--image", "tiny", "--network", g.network+"="+g.address,
			"--ssh-key", "e2e", "--required-label", "name="+g.host, "--user-data", "ping="+g.pings+","+strings.Join(peers(g), ","), "--wait=false")
	}
	for _, g := range guests {
		b.runs(g.name)
		if h := b.field("instance", g.name, "placement.host_name"); h != g.host {
			b.Errorf("%s is on %s, and asked for %s", g.name, h, g.host)
		}
	}
}

// networksReachAndDoNot: guests of a network reach one another across hosts,
// and never those of another network that has the same addresses.
func networksReachAndDoNot(b *bed) {
	in := map[string]map[string]bool{}
	for _, g := range guests {
		if in[g.network] == nil {
			in[g.network] = map[string]bool{}
		}
		in[g.network][g.address] = true
	}
	for _, g := range guests {
		for _, to := range strings.Split(g.pings, ",") {
			if in[g.network][to] {
				b.says(g.name, "ping "+to+" ok")
			} else {
				b.says(g.name, "ping "+to+" failed")
			}
		}
	}
	for _, g := range guests {
		for _, to := range strings.Split(g.pings, ",") {
			if !in[g.network][to] && strings.Contains(b.console(g.name), "ping "+to+" ok") {
				b.Errorf("%s in %s reached %s, which is in another network", g.name, g.network, to)
			}
		}
	}
}

// guestsKnowWhoTheyAre: the name, the address and the key arrive, and the
// metadata service knows who asks.
func guestsKnowWhoTheyAre(b *bed) {
	for _, g := range guests {
		b.says(g.name, "name="+g.name)
		b.says(g.name, `address=`+strings.ReplaceAll(g.address, ".", `\.`)+`/24`)
		b.says(g.name, "mtu=1500")
		b.says(g.name, "metadata="+b.field("instance", g.name, "id"))
		b.says(g.name, "key="+regexpQuote(publicKey(b)))
		b.says(g.name, "ready")
	}
}

// namesResolve: guests reach one another by name, across hosts, and know no name of
// another network.
func namesResolve(b *bed) {
	for _, g := range guests {
		for _, name := range peers(g) {
			b.says(g.name, "ping "+regexpQuote(name)+" ok")
		}
	}
	b.cairn("instance", "create", "asks", "--type", "t1-nano", "--image", "tiny", "--network", "front", "--required-label", "name=h3",
		"--user-data", "#!/bin/sh\nfor n in f1 b1 f1.front.system.internal b1.back.system.internal; do nslookup $n 2>&1 | sed \"s/^/cairn-guest: $n /\"; done; nslookup 10.10.0.12 | sed 's/^/cairn-guest: back /'; echo cairn-guest: asked")
	b.says("asks", "asked")
	log := b.console("asks")
	for _, want := range []string{"f1.front.system.internal Address: 10.10.0.11", "back 12.0.10.10.in-addr.arpa\tname = f2.front.system.internal"} {
		if !strings.Contains(log, want) {
			b.Errorf("no %q in what it was told:\n%s", want, log)
		}
	}
	for _, other := range []string{"b1", "b1.back.system.internal"} {
		if strings.Contains(log, other+" Address: 10.10.0.11") {
			b.Errorf("it was told %s, which is in another network:\n%s", other, log)
		}
	}
	b.cairn("instance", "delete", "asks")
}

// schedulerPlaces: without a wish, the scheduler chooses, and says why; what
// fits nowhere says so, and is placed when there is room.
func schedulerPlaces(b *bed) {
	b.cairn("instance", "create", "any", "--type", "t1-nano", "--image", "tiny", "--network", "front")
	if why := b.field("instance", "any", "placement.reason"); why == "" {
		b.Error("the scheduler does not say why")
	}
	b.cairn("instance", "create", "picky", "--type", "t1-nano", "--image", "tiny", "--network", "front", "--required-label", "name=h9", "--wait=false")
	b.until("picky says why it waits", func() (bool, string) {
		out := b.cairn("instance", "get", "picky", "-o", "json")
		return strings.Contains(out, `"pending"`) && strings.Contains(out, fmt.Sprintf(`"hosts": %d`, labHosts)), out
	})
	b.cairn("host", "update", "h3", "--labels", "name=h9")
	b.runs("picky")
	b.cairn("host", "update", "h3", "--labels", "name=h3")
	b.cairn("instance", "delete", "picky")
	b.cairn("instance", "delete", "any")
}

// powerButton: stop presses the ACPI button, start boots again, reboot asks
// the guest, and a guest that does not run has no boot of its own.
func powerButton(b *bed) {
	b.cairn("instance", "create", "button", "--type", "t1-nano", "--image", "tiny", "--network", "front")
	b.says("button", "ready")
	b.cairn("instance", "stop", "button")
	if s := b.field("instance", "button", "status.state"); s != "stopped" {
		b.Errorf("after a stop it is %s", s)
	}
	b.cairn("instance", "start", "button")
	b.until("button boots a second time", func() (bool, string) {
		log := b.console("button")
		return boots(log) == 2, log
	})
	b.cairn("instance", "reboot", "button", "--hard")
	b.until("button boots a third time", func() (bool, string) {
		log := b.console("button")
		return boots(log) == 3, log
	})
	b.cairn("instance", "delete", "button")
	b.refused(3, "instance", "get", "button")
}

// run runs a program of this machine.
func (b *bed) run(args ...string) string {
	b.Helper()
	out, err := b.execute(args...)
	if err != nil {
		b.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// tellLogs puts the ends of the lab's logs into the test's.
func (b *bed) tellLogs() {
	files, _ := filepath.Glob(filepath.Join(dirOf(b.name), "*.log"))
	more, _ := filepath.Glob(filepath.Join(dirOf(b.name), "hosts", "*", "*.log"))
	for _, f := range append(files, more...) {
		text, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		b.Logf("%s ends with:\n%s", f, text[max(0, len(text)-4000):])
	}
}
