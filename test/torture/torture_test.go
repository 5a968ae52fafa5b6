package torture

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// kills is how often a controller is killed; see `make torture`.
func kills(t *testing.T) int {
	t.Helper()
	text := os.Getenv("CAIRN_KILLS")
	if text == "" {
		return 30
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("CAIRN_KILLS: %v", err)
	}
	return n
}

// TestControllers_surviveEachOther: whichever is killed, stopped or has no disk
// left, the others go on, it comes back, and every client sees one history.
func TestControllers_surviveEachOther(t *testing.T) {
	disk := smallDisk(t)
	c := newCluster(t, disk)
	c.well()
	t.Logf("three controllers run")
	h := &history{start: time.Now(), etags: map[[2]string]int64{}}
	ctx, stop := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for id := range 6 {
		u := &caller{history: h, t: t, id: id, dice: rand.New(rand.NewPCG(uint64(id), 1)), read: map[string]seen{}, c: c.client(c.servers(id)...)}
		callers.Go(func() { u.run(ctx) })
	}
	defer callers.Wait()
	defer stop()

	dice := rand.New(rand.NewPCG(1, 2))
	for range kills(t) {
		n := c.nodes[dice.IntN(len(c.nodes))]
		n.kill()
		n.start()
	}
	c.well()
	t.Logf("%.0f s: the killed are back", time.Since(h.start).Seconds())

	// A leader that sleeps longer than its lease is none any more when it wakes. Who
	// leads then is open: an etcd that leads and wakes may end leases that it has not
	// heard of for as long, and so cause one more election. That the one that slept
	// writes nothing under its old lease is for the history to show.
	old := c.leader("")
	old.signal(syscall.SIGSTOP)
	next := c.leader(old.name)
	old.signal(syscall.SIGCONT)
	c.well()
	t.Logf("%.0f s: %s led and slept, %s took over, and %s leads now", time.Since(h.start).Seconds(), old.name, next.name, c.leader("").name)

	last := c.nodes[2]
	filler := fill(t, disk)
	select {
	case <-last.ended:
	case <-time.After(patience):
		t.Errorf("%s runs on without a disk", last.name)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	last.start()
	c.well()
	t.Logf("%.0f s: the one without a disk is back", time.Since(h.start).Seconds())
	stop()
	callers.Wait()
	h.judge(t)
}

// smallDisk mounts a file system that is soon full; it goes with the test.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1g"); err != nil {
		t.Fatalf("mount a file system that is soon full, for which it needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// fill takes all that is left of a disk, and returns the file that has it.
func fill(t *testing.T, disk string) string {
	t.Helper()
	path := filepath.Join(disk, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1 << 20, 4 << 10, 1} {
		for b := make([]byte, size); err == nil; {
			_, err = f.Write(b)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		err = nil
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}
