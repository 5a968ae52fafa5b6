package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// rig is an agent that runs in a bubble of time.
type rig struct {
	grace time.Duration // of orphans; 0: the default
	t     *testing.T
	world *world
	plane *plane
	dir   Layout
	stop  func()
	dog   *fakeDog // nil: there is no watchdog
}

// start runs an agent on the world; what it has on the disk stays between runs.
func (r *rig) start() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	id := &Identity{HostID: "hst_a"}
	id.cert.Store(farCertificate())
	o := Options{
		Layout: r.dir, Name: "h1", Identity: id, ControlPlane: r.plane, Drivers: r.world.drivers(), Underlay: testUnderlay,
		OrphanGrace: r.grace, Log: slog.New(slog.DiscardHandler), Now: time.Now, Rand: func() float64 { return 0.5 },
	}
	if r.dog != nil {
		o.Watchdog = r.dog
	}
	a, err := New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	}
	synctest.Wait()
}

// farCertificate does not want renewing while a test runs.
func farCertificate() *tls.Certificate { return certificateOf(100 * 365 * 24 * time.Hour) }

func newRig(t *testing.T) *rig {
	w := newWorld()
	w.events = make(chan DomainEvent, 1000)
	r := &rig{t: t, world: w, plane: newPlane(), dir: Layout(t.TempDir())}
	r.start()
	return r
}

func (r *rig) send(m message) {
	r.plane.stream <- m
	synctest.Wait()
}

// later lets so much of the bubble's time pass.
func later(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (r *rig) state(id string) api.State {
	r.plane.mu.Lock()
	defer r.plane.mu.Unlock()
	if i := r.plane.said["instance/"+id].Instance; i != nil {
		return i.State
	}
	return ""
}

func (r *rig) condition(id, typ string) api.Condition {
	r.plane.mu.Lock()
	defer r.plane.mu.Unlock()
	if i := r.plane.said["instance/"+id].Instance; i != nil {
		if c := i.Condition(typ); c != nil {
			return *c
		}
	}
	return api.Condition{}
}

func (r *rig) expect(id string, s api.State) {
	r.t.Helper()
	if got := r.state(id); got != s {
		r.t.Errorf("%s is reported %q, want %q; the drivers were called: %v", id, got, s, r.world.called())
	}
}

// bubble runs f with a rig, and stops the agent.
func bubble(t *testing.T, f func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		f(r)
		r.stop()
	})
}

func TestAgent_runsWhatTheStreamSaysWithoutWaiting(t *testing.T) {
	bubble(t, func(r *rig) {
		began := time.Now()
		r.send(message{items: all(testDesired(testInstance("ins_a")))})
		r.expect("ins_a", api.StateRunning)
		if d := time.Since(began); d != 0 {
			t.Errorf("it took %s of waiting, want none", d)
		}
		p := r.plane.said["port/prt_ins_a"].Port
		if p == nil || p.State != api.StateActive || p.Host != "hst_a" || p.ObservedGeneration != 1 {
			t.Errorf("the port is reported %+v", p)
		}
		if h := r.plane.said["host/hst_a"].Host; h == nil || h.CPUs != 2 || h.Address != "192.0.2.1" {
			t.Errorf("the host is reported %+v", h)
		}
	})
}

func TestAgent_reportsDifferencesOnly(t *testing.T) {
	bubble(t, func(r *rig) {
		r.send(message{items: all(testDesired(testInstance("ins_a")))})
		before := r.plane.reports
		later(time.Hour) // full passes, too
		if r.plane.reports != before {
			t.Errorf("%d reports of what did not change", r.plane.reports-before)
		}
		if r.plane.beats < 360 {
			t.Errorf("%d heartbeats in an hour", r.plane.beats)
		}
		r.send(message{streamErr: errFake})
		if got := r.plane.reports - before; got != 3 {
			t.Errorf("%d objects were reported again after the stream broke, want host, instance and port", got)
		}
	})
}

func TestAgent_adoptsWhatRunsAfterARestart(t *testing.T) {
	bubble(t, func(r *rig) {
		r.send(message{items: all(testDesired(testInstance("ins_a"), testInstance("ins_b")))})
		r.stop()
		r.world.calls = nil
		r.start() // the control plane says nothing
		for _, c := range r.world.called() {
			if c != "network" && c != "guests" {
				t.Errorf("after the restart: %s", c)
			}
		}
		if !slices.Equal(r.world.called(), []string{"network", "guests"}) {
			t.Errorf("the network and its services are not kept up: %v", r.world.called())
		}
		r.send(message{items: all(testDesired(testInstance("ins_a"), testInstance("ins_b")))})
		if got := r.world.called(); len(got) != 2 {
			t.Errorf("once all was said again: %v", got[2:])
		}
		r.expect("ins_a", api.StateRunning)
	})
}

func TestAgent_bringsInstancesBackWithoutTheControlPlane(t *testing.T) {
	bubble(t, func(r *rig) {
		r.send(message{items: all(testDesired(testInstance("ins_a")))})
		r.stop()
		d := r.world.domains["ins_a"]
		d.State = DomainStopped // the host was switched off
		r.world.domains["ins_a"], r.world.network = d, nil
		r.start()
		if r.world.domains["ins_a"].State != DomainRunning {
			t.Errorf("it is not back: %v", r.world.called())
		}
	})
}

func TestAgent_dropsNothingBeforeAllWasSaid(t *testing.T) {
	bubble(t, func(r *rig) {
		r.send(message{items: all(testDesired(testInstance("ins_a"), testInstance("ins_b")))})
		r.send(message{streamErr: errFake})
		one := all(testDesired(testInstance("ins_a")))
		r.send(message{items: one[:len(one)-1]})
		later(time.Hour)
		if r.world.domains["ins_b"].State != DomainRunning {
			t.Fatalf("ins_b was stopped before all was said: %v", r.world.called())
		}
		r.send(message{items: one[len(one)-1:]})
		if r.world.domains["ins_b"].State != DomainPaused {
			t.Errorf("ins_b still runs after all was said: %v", r.world.called())
		}
	})
}

func TestAgent_dropsNothingForAControlPlaneThatIsBehind(t *testing.T) {
	bubble(t, func(r *rig) {
		r.send(message{items: all(testDesired(testInstance("ins_a")))})
		r.stop()
		r.start()
		empty := testDesired()
		empty.Revision = 3
		r.send(message{items: all(empty)})
		if r.world.domains["ins_a"].State != DomainRunning {
			t.Errorf("a control plane at an earlier revision made it drop what it forgot: %v", r.world.called())
		}
	})
}

func TestAgent_deletesAndSaysGone(t *testing.T) {
	bubble(t, func(r *rig) {
		i := testInstance("ins_a")
		r.send(message{items: all(testDesired(i))})
		i.Deleting = true
		r.send(setInstance(i))
		r.expect("ins_a", api.StateGone)
		if len(r.world.domains)+len(r.world.disks) != 0 {
			t.Errorf("left: %v %v", r.world.domains, r.world.disks)
		}
	})
}

func TestAgent_startsACrashedGuestAgainLaterAndLater(t *testing.T) {
	bubble(t, func(r *rig) {
		r.send(message{items: all(testDesired(testInstance("ins_a")))})
		for n, wait := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
			r.crash("ins_a")
			r.expect("ins_a", api.StateStarting)
			if c := r.condition("ins_a", Running); c.OK || c.Reason != "Crashed" {
				t.Errorf("crash %d: %+v", n, c)
			}
			later(wait - time.Millisecond)
			r.expect("ins_a", api.StateStarting)
			later(time.Millisecond)
			r.expect("ins_a", api.StateRunning)
		}
		if n := countEvents(r.plane.events, "ins_a Crashed"); n != 3 {
			t.Errorf("%d events of a crash, want 3: %v", n, r.plane.events)
		}
		later(steady)
		r.crash("ins_a")
		later(time.Second)
		r.expect("ins_a", api.StateRunning)
	})
}

func (r *rig) crash(id string) {
	r.world.mu.Lock()
	r.world.stop(id, StopCrash)
	r.world.mu.Unlock()
	synctest.Wait()
}

func countEvents(es []string, what string) (n int) {
	for _, e := range es {
		if e == what {
			n++
		}
	}
	return n
}

func TestAgent_leavesAGuestOffThatSwitchedItselfOff(t *testing.T) {
	bubble(t, func(r *rig) {
		i := testInstance("ins_a")
		r.send(message{items: all(testDesired(i))})
		r.world.mu.Lock()
		r.world.stop("ins_a", StopShutdown)
		r.world.mu.Unlock()
		later(time.Hour)
		r.expect("ins_a", api.StateStopped)
		if c := r.condition("ins_a", Running); c.OK || c.Reason != "GuestShutdown" {
			t.Errorf("%+v", c)
		}
		i.Reboots, i.Generation = 1, 2 // what a start asks for
		r.send(setInstance(i))
		r.expect("ins_a", api.StateRunning)
	})
}

func TestAgent_pullsThePlugAfterTheGraceTime(t *testing.T) {
	bubble(t, func(r *rig) {
		i := testInstance("ins_a")
		r.world.onAsk = func(*world, string) {}
		r.send(message{items: all(testDesired(i))})
		i.Power, i.Generation = api.PowerOff, 2
		r.send(setInstance(i))
		r.expect("ins_a", api.StateStopping)
		later(59 * time.Second)
		r.expect("ins_a", api.StateStopping)
		later(time.Second)
		r.expect("ins_a", api.StateStopped)
		if g := r.plane.said["instance/ins_a"].Instance.ObservedGeneration; g != 2 {
			t.Errorf("observed generation %d, want 2", g)
		}
	})
}

func TestAgent_aStopThatWasTakenBackDoesNotShortenTheNext(t *testing.T) {
	bubble(t, func(r *rig) {
		i := testInstance("ins_a")
		r.world.onAsk = func(*world, string) {}
		r.send(message{items: all(testDesired(i))})
		for _, p := range []api.Power{api.PowerOff, api.PowerOn} {
			i.Power = p
			i.Generation++
			r.send(setInstance(i))
		}
		later(time.Hour)
		r.expect("ins_a", api.StateRunning)
		i.Power = api.PowerOff
		i.Generation++
		r.send(setInstance(i))
		later(59 * time.Second)
		r.expect("ins_a", api.StateStopping)
		later(time.Second)
		r.expect("ins_a", api.StateStopped)
	})
}

func TestAgent_rebootsOnce(t *testing.T) {
	for name, hard := range map[string]bool{"soft": false, "hard": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				i := testInstance("ins_a")
				r.send(message{items: all(testDesired(i))})
				i.Reboots, i.Generation, i.HardReboot = 1, 2, hard
				r.send(setInstance(i))
				r.stop()
				r.start()
				later(time.Hour)
				n := 0
				for _, c := range r.world.called() {
					if strings.HasPrefix(c, "reboot") {
						n++
					}
				}
				if n != 1 {
					t.Errorf("%d reboots, want 1: %v", n, r.world.called())
				}
				s := r.plane.said["instance/ins_a"].Instance
				if s.Reboots != 1 || s.ObservedGeneration != 2 || s.State != api.StateRunning {
					t.Errorf("reported %+v", s)
				}
			})
		})
	}
}

func TestAgent_saysWhatFailsAndTriesOn(t *testing.T) {
	bubble(t, func(r *rig) {
		broken := true
		r.world.fail = func(_ int, call string) error {
			if broken && call == "fetch img_a" {
				return errors.New("the line broke")
			}
			return nil
		}
		i := testInstance("ins_a")
		r.send(message{items: all(testDesired(i))})
		r.expect("ins_a", api.StateStarting)
		if c := r.condition("ins_a", ImageReady); c.OK || c.Reason != "FetchFailed" || !strings.Contains(c.Message, "the line broke") {
			t.Errorf("%+v", c)
		}
		later(10 * time.Minute)
		r.expect("ins_a", api.StateFailed)
		r.world.mu.Lock()
		broken = false
		r.world.mu.Unlock()
		later(2 * time.Minute)
		r.expect("ins_a", api.StateRunning)
		if c := r.condition("ins_a", ImageReady); !c.OK {
			t.Errorf("%+v", c)
		}
	})
}

func TestAgent_aSlowImageHoldsUpNobody(t *testing.T) {
	bubble(t, func(r *rig) {
		r.send(message{items: all(testDesired(testInstance("ins_a")))})
		r.world.mu.Lock()
		r.world.fetch = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		r.world.mu.Unlock()
		slow := testInstance("ins_s")
		slow.Image = api.HostImage{ID: "img_s", SHA256: "bb", Format: "raw"}
		r.send(setInstance(slow))
		off := testInstance("ins_a")
		off.Power = api.PowerOff
		r.send(setInstance(off))
		r.expect("ins_a", api.StateStopped)
		off.Deleting = true
		r.send(setInstance(off))
		r.expect("ins_a", api.StateGone)
	})
}

func TestAgent_reportsWhatAnAbsentControlPlaneMissed(t *testing.T) {
	bubble(t, func(r *rig) {
		r.plane.mu.Lock()
		r.plane.down = true
		r.plane.mu.Unlock()
		r.send(message{items: all(testDesired(testInstance("ins_a")))})
		r.crash("ins_a")
		later(10 * time.Second)
		r.plane.mu.Lock()
		r.plane.down = false
		r.plane.mu.Unlock()
		later(2 * lastRetry)
		r.expect("ins_a", api.StateRunning)
		if n := countEvents(r.plane.events, "ins_a Crashed"); n != 1 {
			t.Errorf("events: %v", r.plane.events)
		}
	})
}
