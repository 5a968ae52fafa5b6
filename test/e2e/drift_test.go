//go:build lab

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/network"
)

// driftHost is the host on which other hands do things.
const driftHost = "h1"

// driftGuests are those of the test, by name: only the first is ever disturbed.
var driftGuests = []string{"struck", "beside", "behind"}

// stranger is the ID of an instance that no record has.
const stranger = "ins_zzzzzzzzzzzzzzzzzzzz"

// TestDrift is what other hands do to a host, with real parts: each is seen by its
// event, put right alone and told, and no other guest notices.
func TestDrift(t *testing.T) {
	b := openBed(t, "drift", 1)
	b.up()
	b.cairn("image", "create", "tiny", "--file", image(t, "tiny.qcow2"))
	b.cairn("network", "create", "net")
	b.cairn("subnet", "create", "sub", "--network", "net", "--cidr", "10.30.0.0/24")
	for n, g := range driftGuests {
		b.cairn("instance", "create", g, "--type", "t1-nano", "--image", "tiny", "--network", fmt.Sprintf("net=10.30.0.1%d", n), "--wait=false")
	}
	for _, g := range driftGuests {
		b.runs(g)
		b.says(g, "ready")
	}
	foreign := b.placeForeign()
	before := b.driftProcesses()
	b.part("power", virshDestroyAndSuspend)
	before["struck"] = b.driftProcesses()["struck"] // it is another, as it must be
	b.part("definition", definitionIsChanged)
	b.part("tap", tapIsDeleted)
	b.part("table", tableIsFlushed)
	b.part("limit", limitIsRemoved)
	b.part("link", linkOfNobody)
	b.part("orphan", orphanIsKeptAndRemoved)
	if now := b.driftProcesses(); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("the guests' processes are %v, and were %v", now, before)
	}
	for g, want := range map[string]int{"struck": 2, "beside": 1, "behind": 1} {
		if n := boots(b.console(g)); n != want {
			t.Errorf("%s has booted %d times, not %d", g, n, want)
		}
	}
	if now := b.foreign(); now != foreign {
		t.Errorf("what is not Cairn's was\n%s\nand is\n%s", foreign, now)
	}
	if out := b.cairn("drift", "-o", "json"); strings.Contains(out, "field") || strings.Contains(out, "orphan") {
		t.Errorf("at the end there is still drift: %s", out)
	}
}

func (b *bed) driftProcesses() map[string]string {
	b.Helper()
	out := map[string]string{}
	for _, g := range driftGuests {
		out[g] = b.on(driftHost, "pgrep", "-f", "guest="+b.field("instance", g, "id")+",")
	}
	return out
}

// told waits for an event of a resource whose message matches, and logs how long
// after the beginning it was.
func (b *bed) told(since time.Time, object, reason, message string) {
	b.Helper()
	re := regexp.MustCompile(message)
	b.until(fmt.Sprintf("%s says %s: %s", object, reason, message), func() (bool, string) {
		var events []struct {
			Spec struct {
				Object  string    `json:"object_name"`
				Reason  string    `json:"reason"`
				Message string    `json:"message"`
				Time    time.Time `json:"time"`
			} `json:"spec"`
		}
		out := b.cairn("event", "list", "-A", "-o", "json")
		if err := json.Unmarshal([]byte(out), &events); err != nil {
			b.Fatal(err)
		}
		for _, e := range events {
			if s := e.Spec; s.Object == object && s.Reason == reason && s.Time.After(since) && re.MatchString(s.Message) {
				b.Logf("after %s: %s: %s", s.Time.Sub(since).Round(time.Millisecond), object, s.Message)
				return true, ""
			}
		}
		return false, out
	})
}

func (b *bed) tap(instance string) string {
	b.Helper()
	return network.Tap(b.port(instance))
}

func (b *bed) port(instance string) string {
	b.Helper()
	port := regexp.MustCompile(`"port": "(prt_\w+)"`).FindStringSubmatch(b.cairn("instance", "get", instance, "-o", "json"))
	if port == nil {
		b.Fatalf("%s has no port", instance)
	}
	return port[1]
}

// reaches tells whether the router on the host reaches the address.
func (b *bed) reaches(address string) {
	b.Helper()
	router := b.on(driftHost, "sh", "-c", "ip netns list | grep -o '^cairn-[0-9a-f]*'")
	b.until(address+" answers", func() (bool, string) {
		out, err := b.tryOn(driftHost, "ip", "netns", "exec", router, "ping", "-c", "1", "-W", "1", address)
		return err == nil, out
	})
}

// placeForeign puts things on the host that Cairn has not made.
func (b *bed) placeForeign() string {
	b.Helper()
	const domain = `<domain type="qemu"><name>theirs</name><memory unit="MiB">32</memory><os><type arch="x86_64">hvm</type></os></domain>`
	file := filepath.Join(dirOf(b.name), "theirs.xml")
	if err := os.WriteFile(file, []byte(domain), 0o600); err != nil {
		b.Fatal(err)
	}
	b.on(driftHost, "virsh", "define", file)
	b.on(driftHost, "virsh", "start", "theirs")
	b.on(driftHost, "ip", "link", "add", "theirs0", "type", "bridge")
	return b.foreign()
}

func (b *bed) foreign() string {
	b.Helper()
	return b.on(driftHost, "virsh", "domstate", "theirs") + " " + b.on(driftHost, "pgrep", "-f", "guest=theirs,") + " " + b.on(driftHost, "sh", "-c", "ip -o link show theirs0 | cut -d: -f1,2")
}

func virshDestroyAndSuspend(b *bed) {
	id, at := b.field("instance", "struck", "id"), time.Now()
	b.on(driftHost, "virsh", "destroy", id)
	b.told(at, "struck", "DriftRepaired", "^power was off, is on$")
	b.until("it boots again", func() (bool, string) {
		log := b.console("struck")
		return boots(log) == 2 && strings.Count(log, "cairn-guest: ready") == 2, log
	})
	at = time.Now()
	b.on(driftHost, "virsh", "suspend", id)
	b.told(at, "struck", "DriftRepaired", "^power was paused, is on$")
	b.reaches("10.30.0.10")
}

func definitionIsChanged(b *bed) {
	id := b.field("instance", "beside", "id")
	file := filepath.Join(dirOf(b.name), "changed.xml")
	x := b.on(driftHost, "virsh", "dumpxml", "--inactive", id)
	x = regexp.MustCompile(`<(memory|currentMemory) unit='KiB'>\d+<`).ReplaceAllString(x, "<$1 unit='KiB'>262144<")
	if err := os.WriteFile(file, []byte(x), 0o600); err != nil {
		b.Fatal(err)
	}
	at := time.Now()
	b.on(driftHost, "virsh", "define", file)
	b.told(at, "beside", "DriftRepaired", `^definition: memory_mib was 256, is \d+$`)
	at = time.Now()
	b.on(driftHost, "virsh", "undefine", b.field("instance", "behind", "id"))
	b.told(at, "behind", "DriftRepaired", "^definition was absent, is there$")
}

func tapIsDeleted(b *bed) {
	tap := b.tap("beside")
	b.reaches("10.30.0.11")
	at := time.Now()
	b.on(driftHost, "ip", "link", "del", tap)
	b.told(at, "beside", "DriftRepaired", "^link "+tap+" was absent, is there$")
	b.told(at, "beside", "DriftRepaired", tap+" was unplugged, is plugged in$")
	b.reaches("10.30.0.11")
	b.Logf("after %s the guest answers by its new tap", time.Since(at).Round(time.Millisecond))
}

func tableIsFlushed(b *bed) {
	before := b.on(driftHost, "nft", "-a", "list", "tables")
	at := time.Now()
	b.on(driftHost, "nft", "flush", "ruleset")
	b.told(at, driftHost, "DriftRepaired", "^table .* cairn was absent, is there$")
	if now := b.on(driftHost, "nft", "-a", "list", "tables"); len(strings.Fields(now)) != len(strings.Fields(before)) {
		b.Errorf("the tables were\n%s\nand are\n%s", before, now)
	}
	b.reaches("10.30.0.12")
}

func limitIsRemoved(b *bed) {
	tap, port := b.tap("beside"), b.port("beside")
	b.cairn("port", "update", port, "--bandwidth-ingress-mbps", "50", "--bandwidth-egress-mbps", "20")
	b.until("the limits are in place", func() (bool, string) {
		out := b.field("port", port, "status.bandwidth")
		return out == "egress_mbps=20,ingress_mbps=50", out
	})
	at := time.Now()
	b.on(driftHost, "tc", "qdisc", "del", "dev", tap, "root")
	b.told(at, "beside", "DriftRepaired", "^rate of "+tap+" was absent, is 50 Mbit/s$")
	b.reaches("10.30.0.11")
	out := b.cairn("host", "network", driftHost)
	for _, line := range []string{"  host: rate of " + tap + " is 50 Mbit/s\n", "  host: detour of " + tap + " by ci"} {
		if !strings.Contains(out, line) {
			b.Errorf("the host's network does not have %q:\n%s", line, out)
		}
	}
	if other := regexp.MustCompile(`(?m)^([-+]|differs).*`).FindAllString(out, -1); other != nil {
		b.Errorf("the host's network differs: %q", other)
	}
}

func linkOfNobody(b *bed) {
	at := time.Now()
	// Of the mark alone the kernel tells nobody while the link is off.
	b.on(driftHost, "sh", "-c", "ip tuntap add ctzzzzzzzzzzzz mode tap && ip link set ctzzzzzzzzzzzz alias cairn up")
	b.told(at, driftHost, "DriftRepaired", "^link ctzzzzzzzzzzzz was there, is absent$")
	if out, err := b.tryOn(driftHost, "ip", "link", "show", "ctzzzzzzzzzzzz"); err == nil {
		b.Errorf("it is still there: %s", out)
	}
}

func orphanIsKeptAndRemoved(b *bed) {
	id := b.field("instance", "behind", "id")
	instances := filepath.Join(dirOf(b.name), "hosts", driftHost, "state", "instances")
	b.run("cp", "-r", filepath.Join(instances, id), filepath.Join(instances, stranger))
	x := strings.ReplaceAll(b.on(driftHost, "virsh", "dumpxml", "--inactive", id), id, stranger)
	x = regexp.MustCompile(`(?s)<uuid>.*?</uuid>|<interface .*?</interface>`).ReplaceAllString(x, "")
	file := filepath.Join(dirOf(b.name), "stranger.xml")
	if err := os.WriteFile(file, []byte(x), 0o600); err != nil {
		b.Fatal(err)
	}
	at := time.Now()
	b.on(driftHost, "virsh", "create", file)
	b.told(at, driftHost, "OrphanFound", stranger)
	b.until("it stands still", func() (bool, string) {
		s := b.on(driftHost, "virsh", "domstate", stranger)
		return s == "paused", s
	})
	b.until("it is listed", func() (bool, string) {
		out := b.cairn("drift")
		return regexp.MustCompile(`(?m)^h1 +` + stranger + ` +\S+/behind +paused +\d+ +\d+ `).MatchString(out), out
	})
	if _, err := os.Stat(filepath.Join(instances, stranger, "root.qcow2")); err != nil {
		b.Error(err)
	}
	b.cairn("host", "remove-orphan", driftHost, "--orphan", stranger)
	b.told(at, driftHost, "OrphanEnded", stranger)
	if out, err := b.tryOn(driftHost, "virsh", "domstate", stranger); err == nil {
		b.Errorf("its domain is still there: %s", out)
	}
	if _, err := os.Stat(filepath.Join(instances, stranger)); !os.IsNotExist(err) {
		b.Errorf("its files are still there: %v", err)
	}
}
