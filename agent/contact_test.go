package agent

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// fakeDog stands where the kernel's watchdog is.
type fakeDog struct {
	mu    sync.Mutex
	armed bool
	pets  int
	last  time.Time
}

func (d *fakeDog) Arm() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed, d.last = true, time.Now()
	return nil
}

func (d *fakeDog) Pet() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pets, d.last = d.pets+1, time.Now()
	return nil
}

func (d *fakeDog) Disarm() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed = false
	return nil
}

func (d *fakeDog) Leave() error           { return nil }
func (d *fakeDog) Timeout() time.Duration { return 30 * time.Second }

// bites tells whether it resets the machine now.
func (d *fakeDog) bites() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.armed && time.Since(d.last) > d.Timeout()
}

// newWatchedRig is a rig whose host has a watchdog.
func newWatchedRig(t *testing.T) *rig {
	r := newRig(t)
	r.stop()
	r.dog = &fakeDog{}
	r.start()
	return r
}

func exclusive(id string) api.HostInstance {
	i := testInstance(id)
	i.Exclusive = true
	return i
}

func (r *rig) runs(id string) bool {
	r.world.mu.Lock()
	defer r.world.mu.Unlock()
	return r.world.domains[id].State == DomainRunning
}

// saying is a desired state as the stream says it at a revision.
func saying(revision int64, is ...api.HostInstance) message {
	items := all(testDesired(is...))
	for n := range items {
		if items[n].Op == "synced" {
			items[n].Revision = revision
		}
	}
	return message{items: items}
}

// TestExclusive_startsOnlyOnWhatIsKnownSinceTheHostCameAlive: what ran here before may
// have been started elsewhere while this host was silent.
func TestExclusive_startsOnlyOnWhatIsKnownSinceTheHostCameAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer func() { r.stop() }()
		r.plane.answer(5)
		later(heartbeatEvery)
		r.send(saying(4, exclusive("ins_a"), testInstance("ins_b")))
		later(10 * time.Second)
		if r.runs("ins_a") || !r.runs("ins_b") {
			t.Fatalf("on a state older than the host's life, exclusive runs: %t, other: %t", r.runs("ins_a"), r.runs("ins_b"))
		}
		r.send(saying(6, exclusive("ins_a"), testInstance("ins_b")))
		later(10 * time.Second)
		if !r.runs("ins_a") {
			t.Fatal("it is not started on a state of its host's life")
		}

		// The machine is switched off, and finds no control plane when it comes up.
		r.stop()
		r.plane.answer(0)
		r.world.mu.Lock()
		for id, d := range r.world.domains {
			d.State, d.Reason = DomainStopped, StopUnknown
			r.world.domains[id] = d
		}
		r.world.mu.Unlock()
		r.start()
		later(10 * time.Minute)
		if r.runs("ins_a") || !r.runs("ins_b") {
			t.Errorf("without contact, exclusive runs: %t, other: %t", r.runs("ins_a"), r.runs("ins_b"))
		}
		r.plane.answer(20)
		r.send(saying(21, exclusive("ins_a"), testInstance("ins_b")))
		later(time.Minute)
		if !r.runs("ins_a") {
			t.Error("with contact it is not started")
		}
	})
}

// TestExclusive_withoutAWatchdogRunsOnWhenCutOff: somebody else says that the host is off.
func TestExclusive_withoutAWatchdogRunsOnWhenCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer func() { r.stop() }()
		r.send(saying(6, exclusive("ins_a")))
		later(time.Minute)
		r.plane.answer(0)
		later(time.Hour)
		if !r.runs("ins_a") {
			t.Error("it was stopped, and nothing says that it may be")
		}
	})
}

// TestWatchdog_aHostThatIsCutOffRunsNothingExclusive: by the time that its
// status says, and again once there is contact.
func TestWatchdog_aHostThatIsCutOffRunsNothingExclusive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newWatchedRig(t)
		defer func() { r.stop() }()
		r.send(saying(6, exclusive("ins_a"), testInstance("ins_b")))
		later(time.Minute)
		r.plane.mu.Lock()
		said := r.plane.said["host/hst_a"].Host.SelfFencing
		r.plane.mu.Unlock()
		if said != 88 || !r.runs("ins_a") {
			t.Fatalf("the host says %d seconds; it runs: %t", said, r.runs("ins_a"))
		}
		r.plane.answer(0)
		later(cutOffAfter + heartbeatEvery)
		if r.runs("ins_a") || !r.runs("ins_b") {
			t.Errorf("cut off, exclusive runs: %t, other: %t", r.runs("ins_a"), r.runs("ins_b"))
		}
		later(time.Hour)
		if r.dog.bites() {
			t.Error("the machine is reset although nothing exclusive runs on it")
		}
		r.plane.answer(9)
		r.send(saying(9, exclusive("ins_a"), testInstance("ins_b")))
		later(time.Minute)
		if !r.runs("ins_a") {
			t.Error("with contact it is not started again")
		}
	})
}

// TestWatchdog_bitesWhereTheGuestDoesNotStop, also where the agent is
// started again meanwhile.
func TestWatchdog_bitesWhereTheGuestDoesNotStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newWatchedRig(t)
		defer func() { r.stop() }()
		r.send(saying(6, exclusive("ins_a")))
		later(time.Minute)
		r.world.mu.Lock()
		r.world.fail = func(_ int, call string) error {
			if call == "destroy ins_a" {
				return errFake
			}
			return nil
		}
		r.world.mu.Unlock()
		r.plane.answer(0)
		later(30 * time.Second)
		r.stop()
		r.start()
		later(cutOffAfter)
		if !r.dog.bites() {
			t.Error("an hour of silence, and the machine runs on")
		}
	})
}

func TestWatchdog_isDisarmedWhereNothingNeedsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newWatchedRig(t)
		r.send(saying(6, testInstance("ins_b")))
		later(time.Minute)
		if !r.dog.armed {
			t.Fatal("it is not armed")
		}
		r.stop()
		if r.dog.armed {
			t.Error("an agent that was stopped leaves it armed with nothing exclusive on the host")
		}
	})
}

// TestReport_isSentAgainAtOnceWhenTheControlPlaneIsBack: nobody waits for the end of
// a pause that was meant for one that is away.
func TestReport_isSentAgainAtOnceWhenTheControlPlaneIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer func() { r.stop() }()
		down := func(yes bool) {
			r.plane.mu.Lock()
			defer r.plane.mu.Unlock()
			r.plane.down = yes
		}
		down(true)
		r.send(saying(6, testInstance("ins_b")))
		later(10 * time.Minute)
		down(false)
		r.send(saying(7, testInstance("ins_b")))
		later(time.Second)
		if s := r.state("ins_b"); s != api.StateRunning {
			t.Errorf("a second after the control plane is back it has heard %q", s)
		}
	})
}
