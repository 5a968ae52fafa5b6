package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

func TestDrift_isShownWithItsTimeAndOrphansBeneath(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	n := &connection{app: &app{out: &out, now: func() time.Time { return now }}}
	var r driftReport
	i := &api.Instance{}
	i.Name, i.Placement.HostName = "web", "h1"
	i.Status.Drift = []api.Drift{{Field: "memory_mib", Desired: "2048", Actual: "1024", Since: now.Add(-3 * time.Hour), Repair: "at its next start"}}
	r.add(i)
	h := &api.Host{}
	h.Name = "h1"
	h.Status.Drift = []api.Drift{{Field: "table inet cairn", Desired: "there", Actual: "absent", Since: now.Add(-time.Second)}}
	h.Status.Orphans = []api.Orphan{{ID: "ins_x", Name: "acme/old", Domain: "paused", MemoryMiB: 512, FirstSeen: now.Add(-time.Hour), RemoveAt: now.Add(167 * time.Hour)}}
	r.add(h)
	if err := n.printDrift("table", r); err != nil {
		t.Fatal(err)
	}
	const want = `KIND      RESOURCE  FIELD             DESIRED  ACTUAL  FOR  HOST  REPAIR
instance  web       memory_mib        2048     1024    3h   h1    at its next start
host      h1        table inet cairn  there    absent  1s   h1    at once

HOST  ORPHAN  WAS       DOMAIN  MEMORY MIB  DISK MIB  FOUND    REMOVED IN
h1    ins_x   acme/old  paused  512         -         60m ago  6d
`
	if out.String() != want {
		t.Errorf("it prints\n%s\nwant\n%s", &out, want)
	}
}
