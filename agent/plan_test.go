package agent

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// converged is a world in which want is true, and what the agent remembers.
func converged(t *testing.T, want api.HostDesired) (*world, map[string]Memory) {
	t.Helper()
	w, memory := newWorld(), map[string]Memory{}
	converge(t, w, want, memory, testStart)
	w.calls = nil
	return w, memory
}

// converge plans and does until there is nothing more to do.
func converge(t fataler, w *world, want api.HostDesired, memory map[string]Memory, now time.Time) time.Time {
	t.Helper()
	for range 100 {
		have := w.observed(memory)
		remember(want, have, memory, now)
		actions := Plan(want, have, now)
		if len(actions) == 0 {
			next := wakeAt(want, have, now)
			if next.IsZero() {
				return now
			}
			now = next
			continue
		}
		applyTo(t, w, actions, memory, now)
	}
	t.Fatalf("still not done after 100 plans; the next one:\n%s", golden(Plan(want, w.observed(memory), now)))
	return now
}

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

func remember(want api.HostDesired, have Observed, memory map[string]Memory, now time.Time) {
	for id := range want.Instances {
		d, ok := have.Domains[id]
		memory[id], _ = memory[id].settle(d, ok, now, 0.5)
	}
	have.Memory = memory
}

// applyTo does a plan as the loop does, in order; a failure ends its target's part.
func applyTo(t fataler, w *world, actions []Action, memory map[string]Memory, now time.Time) {
	t.Helper()
	broken := map[string]bool{}
	for _, a := range actions {
		id := a.Target()
		if broken[id] {
			continue
		}
		if r, ok := a.(remembered); ok {
			memory[id] = r.remember(memory[id])
		}
		err := a.Do(context.Background(), w.drivers())
		if g, ok := a.(Migrate); ok {
			var known bool
			if memory[id], known = g.ended(memory[id], err); known {
				continue
			}
		}
		if err != nil {
			broken[id] = true
			m := memory[id]
			if r, ok := a.(remembered); ok {
				m = r.forget(m)
			}
			memory[id] = m.failed(Failure{Condition: Running, Message: err.Error()}, now, 0.5)
		}
	}
}

func golden(actions []Action) string {
	var b strings.Builder
	for _, a := range actions {
		b.WriteString(a.String() + "\n")
	}
	return b.String()
}

func TestPlan(t *testing.T) {
	on := testInstance("ins_a")
	change := func(f func(*api.HostInstance)) api.HostInstance {
		i := on
		f(&i)
		return i
	}
	off := change(func(i *api.HostInstance) { i.Power, i.Generation = api.PowerOff, 2 })
	rebooted := change(func(i *api.HostInstance) { i.Reboots, i.Generation = 1, 2 })
	for _, c := range []struct {
		name string
		from []api.HostInstance // what is true before
		with func(w *world, m map[string]Memory, h *Observed)
		want []api.HostInstance
		plan string
	}{
		{
			name: "nothing changed", from: []api.HostInstance{on}, want: []api.HostInstance{on},
		},
		{
			name: "a new instance", want: []api.HostInstance{on},
			plan: "host: apply network: 1 networks, 1 ports, 1 of them here\nhost: serve guests\nins_a: fetch image img_a\nins_a: create root disk of 1 GiB\nins_a: write config drive\nins_a: define\nins_a: start\n",
		},
		{
			name: "a new instance that is to be off", want: []api.HostInstance{off},
			plan: "host: apply network: 1 networks, 1 ports, 1 of them here\nhost: serve guests\nins_a: fetch image img_a\nins_a: create root disk of 1 GiB\nins_a: write config drive\nins_a: define\n",
		},
		{
			name: "nothing is known", want: []api.HostInstance{on}, with: func(_ *world, _ map[string]Memory, h *Observed) { h.Known = false },
		},
		{
			name: "stop", from: []api.HostInstance{on}, want: []api.HostInstance{off},
			plan: "host: serve guests\nins_a: press the power button\n",
		},
		{
			name: "stop, pressed before", from: []api.HostInstance{on}, want: []api.HostInstance{off},
			with: func(_ *world, m map[string]Memory, h *Observed) {
				m["ins_a"] = Memory{ShutdownAt: testStart.Add(-59 * time.Second), PressedAt: testStart.Add(-9 * time.Second)}
			},
			plan: "host: serve guests\n",
		},
		{
			name: "stop, the guest may not have heard", from: []api.HostInstance{on}, want: []api.HostInstance{off},
			with: func(_ *world, m map[string]Memory, h *Observed) {
				m["ins_a"] = Memory{ShutdownAt: testStart.Add(-20 * time.Second), PressedAt: testStart.Add(-10 * time.Second)}
			},
			plan: "host: serve guests\nins_a: press the power button\n",
		},
		{
			name: "stop, the guest does not listen", from: []api.HostInstance{on}, want: []api.HostInstance{off},
			with: func(_ *world, m map[string]Memory, h *Observed) {
				m["ins_a"] = Memory{ShutdownAt: testStart.Add(-60 * time.Second)}
			},
			plan: "host: serve guests\nins_a: pull the plug: its guest did not stop in time\n",
		},
		{
			name: "stop at once", from: []api.HostInstance{on}, want: []api.HostInstance{change(func(i *api.HostInstance) { i.Power, i.StopGraceSeconds = api.PowerOff, 0 })},
			plan: "host: serve guests\nins_a: note: it is to be off\nins_a: pull the plug: it is to stop at once\n",
		},
		{
			name: "reboot", from: []api.HostInstance{on}, want: []api.HostInstance{rebooted},
			plan: "host: serve guests\nins_a: press the power button to reboot\n",
		},
		{
			name: "reboot, the guest is through it", from: []api.HostInstance{on}, want: []api.HostInstance{rebooted},
			with: func(w *world, m map[string]Memory, h *Observed) {
				askReboot(h)
				m["ins_a"] = Memory{RebootAt: testStart, Rebooted: true}
			},
			plan: "host: serve guests\nins_a: note: it has rebooted\n",
		},
		{
			name: "reboot, the guest does not listen", from: []api.HostInstance{on}, want: []api.HostInstance{rebooted},
			with: func(w *world, m map[string]Memory, h *Observed) {
				askReboot(h)
				m["ins_a"] = Memory{RebootAt: testStart.Add(-time.Minute)}
			},
			plan: "host: serve guests\nins_a: reset\n",
		},
		{
			name: "reboot, asked for before the agent was restarted", from: []api.HostInstance{on}, want: []api.HostInstance{rebooted},
			with: func(w *world, m map[string]Memory, h *Observed) { askReboot(h) },
			plan: "host: serve guests\nins_a: note: it has rebooted\n",
		},
		{
			name: "hard reboot", from: []api.HostInstance{on}, want: []api.HostInstance{change(func(i *api.HostInstance) { i.Reboots, i.HardReboot = 1, true })},
			plan: "host: serve guests\nins_a: reset\n",
		},
		{
			name: "reboot of one that is stopped", from: []api.HostInstance{off}, want: []api.HostInstance{rebooted},
			plan: "host: serve guests\nins_a: start\n",
		},
		{
			name: "its guest switched itself off", from: []api.HostInstance{on}, want: []api.HostInstance{on},
			with: func(w *world, _ map[string]Memory, h *Observed) { stopped(h, StopShutdown) },
			plan: "ins_a: note: the guest switched itself off\n",
		},
		{
			name: "a start after its guest switched itself off", from: []api.HostInstance{on}, want: []api.HostInstance{rebooted},
			with: func(w *world, _ map[string]Memory, h *Observed) { stopped(h, StopShutdown) },
			plan: "host: serve guests\nins_a: start\n",
		},
		{
			name: "the host was switched off", from: []api.HostInstance{on}, want: []api.HostInstance{on},
			with: func(w *world, _ map[string]Memory, h *Observed) { stopped(h, StopUnknown); h.Synced = false },
			plan: "ins_a: start\n",
		},
		{
			name: "it is just being started", from: []api.HostInstance{on}, want: []api.HostInstance{rebooted},
			with: func(w *world, _ map[string]Memory, h *Observed) {
				d := h.Domains["ins_a"]
				d.State = DomainStarting
				h.Domains["ins_a"] = d
			},
			plan: "host: serve guests\n",
		},
		{
			name: "its guest crashed", from: []api.HostInstance{on}, want: []api.HostInstance{on},
			with: func(w *world, m map[string]Memory, h *Observed) {
				stopped(h, StopCrash)
				m["ins_a"] = Memory{StartNotBefore: testStart.Add(time.Second)}
			},
		},
		{
			name: "its guest crashed, a while ago", from: []api.HostInstance{on}, want: []api.HostInstance{on},
			with: func(w *world, m map[string]Memory, h *Observed) {
				stopped(h, StopCrash)
				m["ins_a"] = Memory{StartNotBefore: testStart}
			},
			plan: "ins_a: start\n",
		},
		{
			name: "delete", from: []api.HostInstance{on}, want: []api.HostInstance{change(func(i *api.HostInstance) { i.Deleting = true })},
			plan: "host: serve guests\nins_a: pull the plug: the instance is being deleted\nins_a: undefine\nins_a: remove disks\n",
		},
		{
			name: "delete, known from the disk alone", from: []api.HostInstance{on}, want: []api.HostInstance{change(func(i *api.HostInstance) { i.Deleting = true })},
			with: func(_ *world, _ map[string]Memory, h *Observed) { h.Synced = false },
			plan: "host: serve guests\nins_a: pull the plug: the instance is being deleted\nins_a: undefine\nins_a: remove disks\n",
		},
		{
			name: "placed elsewhere", from: []api.HostInstance{on, testInstance("ins_b")}, want: []api.HostInstance{on},
			plan: "host: apply network: 1 networks, 1 ports, 1 of them here\nhost: serve guests\nins_b: suspend\nins_b: note that nobody owns it\n",
		},
		{
			name: "not named, but not all was named yet", from: []api.HostInstance{on, testInstance("ins_b")}, want: []api.HostInstance{on},
			with: func(_ *world, _ map[string]Memory, h *Observed) { h.Synced = false },
			plan: "host: apply network: 1 networks, 1 ports, 1 of them here\nhost: serve guests\n",
		},
		{
			name: "a later placement", from: []api.HostInstance{on}, want: []api.HostInstance{change(func(i *api.HostInstance) { i.Epoch = 2 })},
			plan: "host: serve guests\nins_a: pull the plug: it ran under a placement that has passed\nins_a: undefine\nins_a: define\nins_a: start\n",
		},
		{
			name: "an earlier placement", from: []api.HostInstance{change(func(i *api.HostInstance) { i.Epoch = 2 })}, want: []api.HostInstance{on},
			plan: "host: serve guests\n",
		},
		{
			name: "a failure waits", want: []api.HostInstance{on},
			with: func(_ *world, m map[string]Memory, h *Observed) {
				m["ins_a"] = Memory{NotBefore: testStart.Add(time.Second)}
			},
			plan: "host: apply network: 1 networks, 1 ports, 1 of them here\nhost: serve guests\n",
		},
		{
			name: "the network failed and waits", want: []api.HostInstance{on},
			with: func(_ *world, _ map[string]Memory, h *Observed) { h.NetworkNotBefore = testStart.Add(time.Second) },
			plan: "ins_a: fetch image img_a\nins_a: create root disk of 1 GiB\nins_a: write config drive\nins_a: define\n",
		},
		{
			name: "other keys for the config drive", from: []api.HostInstance{on}, want: []api.HostInstance{change(func(i *api.HostInstance) { i.SSHKeys = []string{"ssh-ed25519 x"} })},
			plan: "host: serve guests\nins_a: write config drive\n",
		},
		{
			name: "an image that nothing uses any more", want: nil,
			with: func(_ *world, _ map[string]Memory, h *Observed) {
				h.Images["aa"], h.UnusedSince["aa"] = true, testStart.Add(-ImageGrace)
				h.Images["bb"], h.UnusedSince["bb"] = true, testStart.Add(-ImageGrace+1)
			},
			plan: "host: apply network: 1 networks, 0 ports, 0 of them here\nhost: serve guests\nhost: remove image aa\n",
		},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			w, memory := newWorld(), map[string]Memory{}
			if c.from != nil {
				w, memory = converged(t, testDesired(c.from...))
			}
			have := w.observed(memory)
			if c.with != nil {
				c.with(w, memory, &have)
			}
			if got := golden(Plan(testDesired(c.want...), have, testStart)); got != c.plan {
				t.Errorf("plan:\n%swant:\n%s", got, c.plan)
			}
		})
	}
}

func askReboot(h *Observed) {
	d := h.Domains["ins_a"]
	d.Mark.RebootAsked = 1
	h.Domains["ins_a"] = d
}

func stopped(h *Observed, why StopReason) {
	d := h.Domains["ins_a"]
	d.State, d.Reason = DomainStopped, why
	h.Domains["ins_a"] = d
}

func TestPlan_doesNotStartBeforeThePortsAreKnown(t *testing.T) {
	want := testDesired(testInstance("ins_a"))
	delete(want.Ports, "prt_ins_a")
	if got := golden(Plan(want, newWorld().observed(nil), testStart)); strings.Contains(got, "define") || !strings.Contains(got, "create root disk") {
		t.Errorf("plan:\n%s", got)
	}
}

func TestPlan_keepsImagesWhileADiskStandsOnWhatIsNotKnown(t *testing.T) {
	w := newWorld()
	w.images["aa"] = true
	w.disks["ins_z"] = DiskState{Root: true}
	have := w.observed(nil)
	have.UnusedSince["aa"] = testStart.Add(-2 * ImageGrace)
	have.Memory = map[string]Memory{"ins_z": {NotBefore: testStart.Add(time.Hour)}}
	for _, a := range Plan(testDesired(), have, testStart) {
		if _, ok := a.(RemoveImage); ok {
			t.Error("an image is removed that a disk may stand on")
		}
	}
}

// scenarios are pairs of desired states whose way from one to the other holds
// every kind of action.
func scenarios() map[string][2]api.HostDesired {
	on, off, hard := testInstance("ins_a"), testInstance("ins_a"), testInstance("ins_a")
	off.Power = api.PowerOff
	hard.Reboots, hard.HardReboot = 1, true
	soft, gone, later := on, on, on
	soft.Reboots, gone.Deleting, later.Epoch = 1, true, 2
	leaving := on
	leaving.Outgoing = &api.HostOutgoing{To: "hst_b", Underlay: netip.MustParseAddr("192.0.2.2"), Epoch: 2}
	return map[string][2]api.HostDesired{
		"leave":      {testDesired(on), testDesired(leaving)},
		"come":       {testDesired(), coming(2)},
		"come again": {coming(2), coming(4)},
		"stay away":  {coming(2), testDesired()},
		"arrived":    {coming(2), testDesired(later)},
		"create":     {testDesired(), testDesired(on, testInstance("ins_b"))},
		"stop":       {testDesired(on), testDesired(off)},
		"start":      {testDesired(off), testDesired(on)},
		"reset":      {testDesired(on), testDesired(hard)},
		"reboot":     {testDesired(on), testDesired(soft)},
		"delete":     {testDesired(on, testInstance("ins_b")), testDesired(gone, testInstance("ins_b"))},
		"drop":       {testDesired(on, testInstance("ins_b")), testDesired(testInstance("ins_b"))},
		"replace":    {testDesired(on), testDesired(later)},
	}
}

// end is a world without the times.
func end(w *world) string {
	o := w.observed(nil)
	for id, d := range o.Domains {
		d.Mark.StartedAt = time.Time{}
		o.Domains[id] = d
	}
	return digest([]any{o.Domains, o.Disks, o.Images, o.Network, o.Guests})
}

func TestActions_doneTwiceAreAsDoneOnce(t *testing.T) {
	for name, s := range scenarios() {
		t.Run(name, func(t *testing.T) {
			once, memory := converged(t, s[0])
			converge(t, once, s[1], memory, testStart)
			twice, memory := converged(t, s[0])
			for range 100 {
				have := twice.observed(memory)
				remember(s[1], have, memory, testStart)
				actions := Plan(s[1], have, testStart)
				var doubled []Action
				for _, a := range actions {
					doubled = append(doubled, a, a)
				}
				if len(actions) == 0 {
					break
				}
				applyTo(t, twice, doubled, memory, testStart)
			}
			converge(t, twice, s[1], memory, testStart)
			if end(once) != end(twice) {
				t.Errorf("done twice ends elsewhere:\n%+v\n%+v", once.observed(nil), twice.observed(nil))
			}
		})
	}
}

func TestActions_anyMayFailOnce(t *testing.T) {
	for name, s := range scenarios() {
		t.Run(name, func(t *testing.T) {
			good, memory := converged(t, s[0])
			converge(t, good, s[1], memory, testStart)
			for n := range len(good.calls) {
				w, memory := converged(t, s[0])
				w.fail = func(i int, _ string) error {
					if i == n+1 {
						return errFake
					}
					return nil
				}
				converge(t, w, s[1], memory, testStart)
				if end(w) != end(good) {
					t.Errorf("after call %d (%s) failed it ends elsewhere:\n%s\n%+v", n+1, good.calls[n], strings.Join(w.calls, "\n"), w.observed(nil))
				}
			}
		})
	}
}

func TestActions_oneInstanceDoesNotStopAnother(t *testing.T) {
	want := testDesired(testInstance("ins_a"), testInstance("ins_b"))
	w, memory := newWorld(), map[string]Memory{}
	w.fail = func(_ int, call string) error {
		if call == "root ins_a" {
			return errFake
		}
		return nil
	}
	for range 5 {
		applyTo(t, w, Plan(want, w.observed(memory), testStart), memory, testStart)
	}
	if w.domains["ins_b"].State != DomainRunning || slices.Contains(w.calls, "start ins_a") {
		t.Errorf("calls: %v", w.calls)
	}
}
