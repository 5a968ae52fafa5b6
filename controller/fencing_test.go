package controller

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// clockwork makes timers that the test lets go off.
type clockwork struct {
	mu     sync.Mutex
	timers map[time.Duration]chan time.Time
	asked  chan time.Duration
}

func newClockwork() *clockwork {
	return &clockwork{timers: map[time.Duration]chan time.Time{}, asked: make(chan time.Duration, 100)}
}

func (w *clockwork) timer(d time.Duration) (<-chan time.Time, func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := make(chan time.Time, 1)
	w.timers[d] = c
	w.asked <- d
	return c, func() {}
}

func (w *clockwork) goOff(t *testing.T, d time.Duration) {
	t.Helper()
	for {
		select {
		case asked := <-w.asked:
			if asked != d {
				continue
			}
			w.mu.Lock()
			w.timers[d] <- time.Now()
			w.mu.Unlock()
			return
		case <-time.After(patience):
			t.Fatalf("nobody waits for %s", d)
		}
	}
}

// switchboard stands where the fence programs and BMCs are.
type switchboard struct {
	calls   chan string // names of hosts
	results chan error
}

func newSwitchboard() *switchboard {
	return &switchboard{calls: make(chan string), results: make(chan error)}
}

func (s *switchboard) Can(*api.Host) bool { return true }
func (s *switchboard) Fence(_ context.Context, h *api.Host) (string, error) {
	s.calls <- h.Name
	return "by the switchboard", <-s.results
}

// fenced runs the fencing alone, as if this process led.
func (c *cloud) fencing(w *clockwork, s Fencer) {
	c.Helper()
	f := newFencing(c.c)
	f.timer, f.fencer = w.timer, s
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.run(ctx); err != nil {
			c.Errorf("fencing ended: %v", err)
		}
	})
	c.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

func (c *cloud) silence(host string) {
	c.Helper()
	if _, err := c.store.SetAlive(c.ctx, host, false); err != nil {
		c.Fatal(err)
	}
	c.until("it is silent", func(v api.View) bool { return !v.Alive(host) })
}

func TestFence_onlyWhoIsSilentAndOnlyForThatSilence(t *testing.T) {
	c := newCloud(t)
	id := c.host("h1", 4, 4096, 100)
	refused(t, c.act(id, "fence", nil), 409, "host_alive", "")
	c.silence(id)
	for range 2 { // asked for again, it is the same
		if err := c.act(id, "fence", nil); err != nil {
			t.Fatal(err)
		}
	}
	h := c.view().Get(api.KindHost, id).(*api.Host)
	if h.Status.State != api.StateLost || h.Fence == nil || h.Fence.By != api.FencedByAdministrator {
		t.Errorf("state %s, fence %+v", h.Status.State, h.Fence)
	}
	if _, err := c.b.Heartbeat(c.ctx, id); err != nil {
		t.Fatal(err)
	}
	c.until("it is back", func(v api.View) bool {
		h := v.Get(api.KindHost, id).(*api.Host)
		return h.Status.State == api.StateReady && h.Fence == nil
	})
	c.silence(id)
	if c.view().Fence(id) != nil {
		t.Error("the fence of an earlier silence holds again")
	}
}

func TestFencing_aLostHostIsSwitchedOff(t *testing.T) {
	c := newCloud(t)
	w, s := newClockwork(), newSwitchboard()
	id := c.host("h1", 4, 4096, 100)
	c.host("h2", 4, 4096, 100)
	c.fencing(w, s)
	c.silence(id)
	w.goOff(t, 2*time.Minute)
	<-s.calls
	if v := c.view(); v.Fence(id) != nil || v.Get(api.KindHost, id).(*api.Host).Status.State != api.StateLost {
		t.Errorf("it is %s, fence %+v", v.Get(api.KindHost, id).(*api.Host).Status.State, v.Fence(id))
	}
	s.results <- errors.New("no power to cut")
	w.goOff(t, time.Second)
	<-s.calls
	s.results <- nil
	c.until("it is fenced", func(v api.View) bool { return v.Fence(id) != nil && v.Fence(id).By == api.FencedByHook })
	for _, reason := range []string{"HostLost", "FencingFailed", "HostFenced"} {
		if n := eventsOf(c.view(), id, reason); n != 1 {
			t.Errorf("%d events say %s", n, reason)
		}
	}
}

func TestFencing_whoComesBackIsLeftAlone(t *testing.T) {
	c := newCloud(t)
	w, s := newClockwork(), newSwitchboard()
	id := c.host("h1", 4, 4096, 100)
	c.fencing(w, s)
	c.silence(id)
	if d := <-w.asked; d != 2*time.Minute {
		t.Fatalf("it waits %s", d)
	}
	if _, err := c.b.Heartbeat(c.ctx, id); err != nil {
		t.Fatal(err)
	}
	c.until("it is back", func(v api.View) bool { return v.Alive(id) })
	c.silence(id)
	w.goOff(t, 2*time.Minute) // of the second silence: that of the first is nobody's any more
	<-s.calls
	s.results <- nil
	c.until("it is fenced", func(v api.View) bool { return v.Fence(id) != nil })
}

func TestFencing_notWhereManyAreSilent(t *testing.T) {
	c := newCloud(t)
	w, s := newClockwork(), newSwitchboard()
	ids := []string{c.host("h1", 4, 4096, 100), c.host("h2", 4, 4096, 100), c.host("h3", 4, 4096, 100)}
	for _, id := range ids[:2] {
		c.silence(id)
	}
	c.fencing(w, s)
	w.goOff(t, 2*time.Minute)
	w.goOff(t, time.Second) // the first retry: nothing was switched off
	select {
	case name := <-s.calls:
		t.Errorf("%s was switched off, with two of three hosts silent", name)
	default:
	}
}

func TestFencing_aHostThatFencesItself(t *testing.T) {
	c := newCloud(t)
	w := newClockwork()
	id := c.host("h1", 4, 4096, 100)
	s := &api.HostStatus{Architecture: "x86_64", CPUs: 4, MemoryMiB: 4096, DiskGiB: 100, SelfFencing: 90}
	s.State = api.StateReady
	if err := c.say(id, []api.Report{{Kind: api.KindHost, ID: id, Host: s}}); err != nil {
		t.Fatal(err)
	}
	c.fencing(w, nil)
	c.silence(id)
	w.goOff(t, 90*time.Second+selfFencingMargin)
	c.until("it is fenced", func(v api.View) bool { f := v.Fence(id); return f != nil && f.By == api.FencedByItself })
}

// TestHostLoss_whatBecomesOfInstances: nothing starts elsewhere before the host is
// known to be off, and then only what is to.
func TestHostLoss_whatBecomesOfInstances(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	h1 := c.host("h1", 8, 8192, 100)
	c.share(h1)
	c.place()
	made := map[api.OnHostLoss]string{}
	for _, l := range []api.OnHostLoss{api.OnHostLossWait, api.OnHostLossRestart, api.OnHostLossRecreate} {
		i := instance(string(l))
		i.Spec.OnHostLoss = l
		made[l] = c.create(i).GetMeta().ID
	}
	deleting := c.create(instance("deleting")).GetMeta().ID
	for _, id := range append([]string{deleting}, made[api.OnHostLossWait], made[api.OnHostLossRestart], made[api.OnHostLossRecreate]) {
		c.until("it is placed", func(v api.View) bool { return placed(v.Get(api.KindInstance, id)) })
	}
	h2, h3 := c.host("h2", 8, 8192, 100), c.host("h3", 8, 8192, 100)
	c.share(h3)
	if _, err := c.b.Delete(c.ctx, c.write(), api.KindInstance, deleting, false); err != nil {
		t.Fatal(err)
	}
	c.silence(h1)
	for l, id := range made {
		if p := c.getInstance(id).Placement; p.Host != h1 || p.Epoch != 1 {
			t.Errorf("%s: it left %+v before its host was known to be off", l, p)
		}
	}
	if err := c.act(h1, "fence", nil); err != nil {
		t.Fatal(err)
	}
	for _, l := range []api.OnHostLoss{api.OnHostLossRestart, api.OnHostLossRecreate} {
		c.until(string(l), func(v api.View) bool {
			p := v.Get(api.KindInstance, made[l]).(*api.Instance).Placement
			return p.Host != h1 && p.Epoch == 2 && p.From == h1
		})
	}
	if p := c.getInstance(made[api.OnHostLossRestart]).Placement; p.Host != h3 {
		t.Errorf("its disk is not on the host where it is restarted: %+v, and that is %s, not %s", p, h3, h2)
	}
	if p := c.getInstance(made[api.OnHostLossWait]).Placement; p.Host != h1 {
		t.Errorf("what is to wait is at %+v", p)
	}
	if left, fenced := leftHost(c.view(), c.getInstance(deleting)); !left || len(fenced) != 1 {
		t.Errorf("what is deleted waits for a host that is off: %v, %v", left, fenced)
	}
	c.idle()
	c.sound()
}

func eventsOf(v api.View, object, reason string) int {
	return count(v, api.KindEvent, func(o api.Object) bool {
		e := o.(*api.Event).Spec
		return e.Object == object && e.Reason == reason
	})
}
