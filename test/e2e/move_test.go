//go:build lab

package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

// moved is the guest that is moved. It writes to its disk, and goes on to say how
// long it is up and what it reads from there.
const movedScript = `#!/bin/busybox sh
dd if=/dev/urandom of=/dev/vda bs=1M seek=700 count=40 conv=notrunc 2>/dev/null
sync
while :; do
	echo 3 >/proc/sys/vm/drop_caches
	echo "cairn-guest: up=$(cut -d. -f1 /proc/uptime) sum=$(dd if=/dev/vda bs=1M skip=700 count=40 2>/dev/null | md5sum | cut -c1-32)"
	sleep 2
done
`

// pinging pings it ten times a second, and says after each hundred how many of
// them were lost.
const pingingScript = `#!/bin/busybox sh
while :; do
	n=$(ping -i 0.1 -c 100 10.40.0.11 | sed -n 's/.* \([0-9]*\) packets received.*/\1/p')
	echo "cairn-guest: lost=$((100 - n))"
done
`

// TestMove is live migration with real parts.
func TestMove(t *testing.T) {
	b := openBed(t, "move", 3)
	b.up()
	b.cairn("image", "create", "tiny", "--file", image(t, "tiny.qcow2"))
	b.cairn("network", "create", "net")
	b.cairn("subnet", "create", "sub", "--network", "net", "--cidr", "10.40.0.0/24")
	b.cairn("host", "update", "h3", "--labels", "name=h3")
	b.cairn("instance", "create", "moved", "--type", "t1-nano", "--image", "tiny", "--network", "net=10.40.0.11", "--user-data", movedScript, "--wait=false")
	b.runs("moved")
	b.says("moved", `up=\d+ sum=[0-9a-f]{32}`)
	b.cairn("instance", "create", "pinging", "--type", "t1-nano", "--image", "tiny", "--network", "net=10.40.0.12", "--required-label", "name=h3", "--user-data", pingingScript, "--wait=false")
	b.runs("pinging")
	b.says("pinging", "lost=0")
	b.part("there and back", thereAndBack)
	b.part("breaks", breaksOffAndHeals)
}

// thereAndBack: no more than two packets of ten a second are lost, the guest has
// not booted, and its disk came along. A way is tried again, as what is lost is also
// the load's doing on a machine that emulates its guests.
func thereAndBack(b *bed) {
	home := b.field("instance", "moved", "placement.host_name")
	away := map[string]string{"h1": "h2", "h2": "h1", "h3": "h1"}[home]
	const tries = 3
	best := map[string]int{away: math.MaxInt, home: math.MaxInt}
	for range tries {
		for _, to := range []string{away, home} {
			best[to] = min(best[to], moveTo(b, to))
		}
		if max(best[away], best[home]) <= 2 {
			return
		}
	}
	b.Errorf("the least packets that were lost on a way, of %d: %v", tries, best)
}

// moveTo moves the guest, and returns how many packets were lost.
func moveTo(b *bed, to string) (total int) {
	b.Helper()
	up, sum := b.lastUp()
	heard := len(b.lost())
	b.cairn("instance", "migrate", "moved", "--to", to)
	b.until("two hundred pings more", func() (bool, string) { return len(b.lost()) >= heard+2, b.console("pinging") })
	for _, n := range b.lost()[heard:] {
		total += n
	}
	b.Logf("to %s: %d packets lost", to, total)
	b.stands(to, up, sum)
	return total
}

// lost is what the pinging guest has said of each hundred packets.
func (b *bed) lost() (out []int) {
	b.Helper()
	for _, m := range regexp.MustCompile(`(?m)^cairn-guest: lost=(\d+)\r?$`).FindAllStringSubmatch(b.console("pinging"), -1) {
		n, _ := strconv.Atoi(m[1])
		out = append(out, n)
	}
	return out
}

// lastUp is what the moved guest said last.
func (b *bed) lastUp() (up int, sum string) {
	b.Helper()
	all := regexp.MustCompile(`(?m)^cairn-guest: up=(\d+) sum=([0-9a-f]{32})\r?$`).FindAllStringSubmatch(b.console("moved"), -1)
	if len(all) == 0 {
		b.Fatal("the moved guest has said nothing")
	}
	last := all[len(all)-1]
	up, _ = strconv.Atoi(last[1])
	return up, last[2]
}

// stands demands that the guest runs on that host alone, goes on from what it was, and
// has its disk.
func (b *bed) stands(on string, up int, sum string) {
	b.Helper()
	id := b.field("instance", "moved", "id")
	b.until("it is on one host", func() (bool, string) {
		var where []string
		for _, h := range []string{"h1", "h2", "h3"} {
			if out := b.on(h, "virsh", "list", "--name"); strings.Contains(out, id) {
				where = append(where, h)
			}
		}
		return len(where) == 1 && where[0] == on, fmt.Sprint(where)
	})
	b.until("it goes on", func() (bool, string) {
		now, is := b.lastUp()
		return now > up && is == sum, fmt.Sprintf("up %d, and was %d; it reads %s, and wrote %s", now, up, is, sum)
	})
	if n := boots(b.console("moved")); n != 1 {
		b.Errorf("it has booted %d times", n)
	}
}

// breaksOffAndHeals: whatever happens half-way, the guest runs on one host and has
// not noticed, and the move has ended, one way or the other.
func breaksOffAndHeals(b *bed) {
	for _, x := range []struct {
		what string
		do   func(from, to string)
		mend func(from, to string)
	}{
		{what: "given up", do: func(string, string) { b.cairn("instance", "migrate", "moved", "--cancel", "--wait=false") }},
		{what: "the agent of its host is killed", do: func(from, _ string) { b.kill(from, "agent") }},
		{what: "the agent of the target is killed", do: func(_, to string) { b.kill(to, "agent") }},
		{what: "libvirtd of its host is killed", do: func(from, _ string) { b.kill(from, "libvirtd") }},
		{what: "libvirtd of the target is killed", do: func(_, to string) { b.kill(to, "libvirtd") }},
		{what: "the line between the two is cut", do: func(from, to string) {
			b.on(to, "nft", "add table inet cut; add chain inet cut in { type filter hook input priority -400; }; add rule inet cut in tcp dport 7444 ip saddr "+b.field("host", from, "status.address")+" drop")
		}, mend: func(_, to string) { b.on(to, "nft", "delete table inet cut") }},
		{what: "the controller is killed", do: func(string, string) { b.kill("controller", "controller") }},
	} {
		b.part(x.what, func(b *bed) {
			from := b.field("instance", "moved", "placement.host_name")
			to := map[string]string{"h1": "h2", "h2": "h1", "h3": "h1"}[from]
			up, sum := b.lastUp()
			b.slow(from, to, true)
			b.cairn("instance", "migrate", "moved", "--to", to, "--wait=false")
			b.until("it is copied", func() (bool, string) {
				i := b.moving()
				if i.Placement.Target == nil {
					b.Fatalf("the move has ended before it was disturbed: %+v", i.Status.Condition("Migrated"))
				}
				return i.Status.Migration != nil && i.Status.Migration.Outgoing == api.OutgoingCopying, fmt.Sprintf("%+v", i.Status.Migration)
			})
			x.do(from, to)
			b.slow(from, to, false) // what follows need not take long
			b.until("the move has ended", func() (bool, string) {
				out, err := b.command("instance", "get", "moved", "-o", "json").CombinedOutput()
				return err == nil && !strings.Contains(string(out), `"target"`), string(out)
			})
			if x.mend != nil {
				x.mend(from, to)
			}
			i := b.moving()
			c := i.Status.Condition("Migrated")
			b.Logf("from %s to %s: %s %s: %s", from, to, i.Placement.HostName, c.Reason, c.Message)
			b.stands(i.Placement.HostName, up, sum)
			b.until("nothing is left on the other", func() (bool, string) {
				h := map[string]string{from: to, to: from}[i.Placement.HostName]
				out, err := b.tryOn(h, "ls", dirOf(b.name)+"/hosts/"+h+"/state/instances/"+i.ID)
				return err != nil, out
			})
		})
	}
}

func (b *bed) moving() (i api.Instance) {
	b.Helper()
	if err := json.Unmarshal([]byte(b.cairn("instance", "get", "moved", "-o", "json")), &i); err != nil {
		b.Fatal(err)
	}
	return i
}

// slow makes a host's line to the others slow, so that what is copied takes seconds.
func (b *bed) slow(host, to string, on bool) {
	b.Helper()
	_, behind, _ := strings.Cut(b.on(host, "ip", "-o", "route", "get", b.field("host", to, "status.address")), " dev ")
	dev, _, _ := strings.Cut(behind, " ")
	if on {
		b.on(host, "tc", "qdisc", "add", "dev", dev, "root", "tbf", "rate", "120mbit", "burst", "256k", "latency", "400ms")
	} else {
		b.on(host, "tc", "qdisc", "del", "dev", dev, "root")
	}
}
