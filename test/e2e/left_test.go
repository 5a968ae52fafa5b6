//go:build lab

package e2e

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"github.com/cairn-cloud/cairn/network"
)

// keysOfEmptyCloud are the store's keys before anything was made.
var keysOfEmptyCloud map[string]bool

func rememberKeys(b *bed) { keysOfEmptyCloud = b.keys() }

// nothingIsLeft: after all was deleted, no host has a domain, disk, link,
// namespace or rule, and the store no key, that was not there at the beginning.
func nothingIsLeft(b *bed) {
	for _, g := range guests {
		b.cairn("instance", "delete", g.name, "--wait=false")
	}
	for _, g := range guests {
		b.until(g.name+" is gone", func() (bool, string) {
			out := b.cairn("instance", "list", "-o", "field=name")
			return !slices.Contains(strings.Fields(out), g.name), out
		})
	}
	for _, n := range []string{"front", "back"} {
		b.cairn("subnet", "delete", n+"-1")
		b.cairn("network", "delete", n)
	}
	b.cairn("image", "delete", "tiny")
	b.cairn("ssh-key", "delete", "e2e")
	for _, h := range hostNames() {
		b.cairn("host", "update", h, "--labels", "name-")
		for what, command := range map[string]string{
			"domains":    "virsh list --all --name",
			"disks":      "ls -A " + filepath.Join(labDir, "hosts", h, "state", "instances"),
			"links":      `ip -o link | awk -F': ' '{print $2}' | grep -vE '^(lo|eth0)' || true`,
			"namespaces": "ls -A /run/netns 2>/dev/null || true",
			"rules":      "nft list ruleset",
			"QEMUs":      "pgrep -a qemu || true",
		} {
			b.until(h+" has no "+what, func() (bool, string) {
				out := b.on(h, "sh", "-c", command)
				return out == "", out
			})
		}
	}
	now := b.keys()
	for k := range now {
		if !keysOfEmptyCloud[k] {
			b.Errorf("the key %s is left in the store", k)
		}
	}
	for k := range keysOfEmptyCloud {
		if !now[k] {
			b.Errorf("the key %s of the empty cloud is gone", k)
		}
	}
}

// mayStay are keys that say who writes and what was asked for, and go by
// themselves: a request that is sent again within a day is known by its key.
var mayStay = regexp.MustCompile(`^/cairn/(idem|writer|controllers|alive|election)/|^/cairn/(spec|status)/event/`)

// keys lists the store's keys that nobody holds under a lease, by looking into
// the controller's own etcd while it does not run.
func (b *bed) keys() map[string]bool {
	b.Helper()
	if err := b.lab.Kill("controller"); err != nil {
		b.Fatal(err)
	}
	cfg := embed.NewConfig()
	cfg.Dir = filepath.Join(labDir, "etcd", "etcd")
	cfg.ListenClientUrls, cfg.ListenPeerUrls = nil, nil
	cfg.LogLevel, cfg.Logger = "error", "zap"
	cfg.LogOutputs = []string{filepath.Join(labDir, "looked.log")}
	srv, err := embed.StartEtcd(cfg)
	if err != nil {
		b.Fatal(err)
	}
	select {
	case <-srv.Server.ReadyNotify():
	case <-time.After(patience):
		b.Fatal("the store's etcd does not start")
	}
	c := v3client.New(srv.Server)
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	r, err := c.Get(ctx, "/cairn/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		b.Fatal(err)
	}
	out := map[string]bool{}
	for _, kv := range r.Kvs {
		if kv.Lease == 0 && !mayStay.Match(kv.Key) {
			out[string(kv.Key)] = true
		}
	}
	_ = c.Close()
	srv.Close()
	b.up()
	return out
}

// machineState is what there is on the machine that a lab might leave.
type machineState map[string]bool

func seenOnMachine(t *testing.T) machineState {
	t.Helper()
	s := machineState{}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if strings.HasPrefix(l.Name, "cl-"+labName) {
			s["link "+l.Name] = true
		}
	}
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, labDir) {
			s["mount "+strings.TrimSpace(line)] = true
		}
	}
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		if b, err := os.ReadFile(p); err == nil && strings.Contains(string(b), labDir) {
			s[fmt.Sprintf("process %s: %q", filepath.Dir(p), b)] = true
		}
	}
	names, _ := filepath.Glob("/run/netns/cairn-*")
	for _, n := range names {
		s["namespace "+n] = true
	}
	files, _ := filepath.Glob(labDir + "*")
	for _, f := range files {
		s["file "+f] = true
	}
	rules, err := exec.Command("nft", "list", "tables").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(rules)) {
		if strings.Contains(line, "cairn") {
			s["rules "+strings.TrimSpace(line)] = true
		}
	}
	return s
}

// compare demands that nothing has come.
func (s machineState) compare(t *testing.T) {
	t.Helper()
	now := seenOnMachine(t)
	for _, what := range slices.Sorted(maps.Keys(now)) {
		if !s[what] {
			t.Errorf("left on the machine: %s", what)
		}
	}
}

// execute runs a program of this machine.
func (b *bed) execute(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// routerOf is the name of a network's router namespace.
func (b *bed) routerOf(networkName string) string {
	b.Helper()
	var vni uint32
	if _, err := fmt.Sscan(b.field("network", networkName, "spec.vni"), &vni); err != nil {
		b.Fatal(err)
	}
	return network.Namespace(vni)
}

func regexpQuote(s string) string { return regexp.QuoteMeta(s) }
