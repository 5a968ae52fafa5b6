package controller

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/backup"
	"github.com/cairn-cloud/cairn/controller/pki"
	"github.com/cairn-cloud/cairn/controller/store"
	"github.com/cairn-cloud/cairn/controller/store/storetest"
)

// backupTo writes a backup as `cairn controller backup` gets it.
func (c *cloud) backupTo(path string) {
	c.Helper()
	f, err := os.Create(path)
	if err != nil {
		c.Fatal(err)
	}
	if err := c.b.Backup(c.ctx, f); err != nil {
		c.Fatal(err)
	}
	if err := f.Close(); err != nil {
		c.Fatal(err)
	}
}

func (c *cloud) placedAt(name, host string) string {
	c.Helper()
	id := c.create(instance(name)).GetMeta().ID
	c.until(name+" is placed", func(v api.View) bool { return placed(v.Get(api.KindInstance, id)) })
	if at := c.getInstance(id).Placement.Host; at != host {
		c.Fatalf("%s is on %s", name, at)
	}
	return id
}

// hostReport is what a host says of itself.
func hostReport(host string) api.Report {
	s := &api.HostStatus{Address: "192.0.2.1", Architecture: "x86_64", CPUs: 8, MemoryMiB: 9216, DiskGiB: 105}
	s.State, s.ObservedGeneration = api.StateReady, 1
	return api.Report{Kind: api.KindHost, ID: host, Host: s}
}

func instanceReport(id string, epoch int64) api.Report {
	s := &api.InstanceStatus{}
	s.State, s.ObservedGeneration = api.StateRunning, 1
	return api.Report{Kind: api.KindInstance, ID: id, Epoch: epoch, Instance: s}
}

// The whole way: a backup, changes after it, a loss, a restore. The restored cloud
// is held until a person has seen what the hosts have; they have seen revisions that are lost.
func TestRestore_isHeldAndComparedWithTheHosts(t *testing.T) {
	dir, data, file := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "cloud.backup")
	c := newCloudOn(t, storetest.In(t, dir))
	c.subnet("sub", "10.0.0.0/24")
	h1 := c.host("h1", 8, 8192, 100)
	c.place()
	stays, moves, goes := c.placedAt("stays", h1), c.placedAt("moves", h1), c.placedAt("goes", h1)
	c.idle()
	h2 := c.host("h2", 8, 8192, 100)
	c.backupTo(file)
	lost := c.create(instance("lost")).GetMeta().ID
	seen := c.view().Revision()
	if err := c.store.Close(); err != nil {
		t.Fatal(err)
	}

	o := store.Options{Now: time.Now, Rand: rand.Reader}
	if _, err := backup.Restore(t.Context(), file, data, o); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Restore(t.Context(), file, data, o); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("restored over a store: %v", err)
	}
	s := storetest.In(t, filepath.Join(data, "etcd"))
	project := c.project
	c = joinCloud(t, s, filepath.Join(data, "pki"))
	c.project = project
	c.run()
	if c.getInstance(stays) == nil || c.getInstance(lost) != nil {
		t.Error("the restored store is not that of the backup")
	}
	if rev := c.view().Revision(); rev <= seen {
		t.Errorf("the restored store is at revision %d, and somebody has seen %d", rev, seen)
	}

	// Held: nothing is changed, hosts are told nothing, and what they say is kept.
	_, err := c.try(c.write(), instance("new"))
	refused(t, err, 503, "held", "")
	for _, err := range c.b.Desired(t.Context(), h1, 0, nil) {
		refused(t, err, 503, "held", "")
		break
	}
	for host, reports := range map[string][]api.Report{
		h1: {hostReport(h1), instanceReport(stays, 1), instanceReport(lost, 1)},
		h2: {instanceReport(moves, 2)},
	} {
		if _, err := c.b.Report(t.Context(), host, seen, reports); err != nil {
			t.Errorf("a host that has seen what is lost reports: %v", err)
		}
		if _, err := c.b.Heartbeat(t.Context(), host); err != nil {
			t.Errorf("a host of a cloud that is held lives: %v", err)
		}
	}
	_, err = c.b.Accept(t.Context(), false)
	refused(t, err, 409, "hosts_silent", "")
	if err := c.say(h2, []api.Report{hostReport(h2)}); err != nil {
		t.Fatal(err)
	}
	check, err := c.b.Check(t.Context())
	if err != nil || !check.Held || len(check.Heard) != 2 || len(check.Silent) != 0 {
		t.Fatalf("%+v, %v", check, err)
	}
	got := map[string]string{}
	for _, d := range check.Differences {
		got[d.Instance] = d.Host + ": " + d.Found
	}
	for id, want := range map[string]string{lost: "h1: the host has it", moves: "h2: it is there under epoch 2", goes: "h1: the backup has it"} {
		if !strings.HasPrefix(got[id], want) {
			t.Errorf("the check says %q, not %q", got[id], want)
		}
	}
	if len(got) != 3 {
		t.Errorf("the differences are %v", got)
	}

	if _, err := c.b.Accept(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	i := c.getInstance(moves)
	if p := i.Placement; p.Host != h2 || p.Epoch != 2 || i.Status.State != api.StateRunning {
		t.Errorf("what was found on h2 is %+v, %s", p, i.Status.State)
	}
	if s := c.getInstance(stays).Status.State; s != api.StateRunning {
		t.Errorf("what h1 said while it was held is forgotten: %s", s)
	}
	id := c.create(instance("new")).GetMeta().ID
	c.until("the cloud goes on", func(v api.View) bool { return placed(v.Get(api.KindInstance, id)) })
	if check, err := c.b.Check(t.Context()); err != nil || check.Held {
		t.Errorf("%+v, %v", check, err)
	}
}

func TestRestore_refusesWhatIsNotWhole(t *testing.T) {
	c := newCloudOn(t, storetest.In(t, t.TempDir()))
	file := filepath.Join(t.TempDir(), "cloud.backup")
	c.backupTo(file)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Verify(file); err != nil {
		t.Fatal(err)
	}
	damaged := append([]byte{}, b...)
	damaged[len(damaged)/2] ^= 1
	for name, content := range map[string][]byte{"cut": b[:len(b)-100], "damaged": damaged, "another file": []byte("hello")} {
		data := t.TempDir()
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := backup.Restore(t.Context(), file, data, store.Options{Now: time.Now, Rand: rand.Reader}); err == nil {
			t.Errorf("%s: it was restored", name)
		}
		if left, _ := os.ReadDir(data); len(left) != 0 || pki.Exists(filepath.Join(data, "pki")) {
			t.Errorf("%s: something was left: %v", name, left)
		}
	}
}
