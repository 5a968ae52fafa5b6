package agent

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// meddle changes a domain by another hand.
func (r *rig) meddle(id string, f func(*Domain)) {
	r.world.mu.Lock()
	r.world.set(id, f)
	r.world.tell(id, EventChanged)
	r.world.mu.Unlock()
	synctest.Wait()
}

// repaired are the messages of what was put right.
func (r *rig) repaired(id string) []string {
	r.plane.mu.Lock()
	defer r.plane.mu.Unlock()
	return slices.Clone(r.plane.messages[id+" "+driftRepaired])
}

func TestAgent_mendsADefinitionThatAnotherHandHasChanged(t *testing.T) {
	bubble(t, func(r *rig) {
		r.send(message{items: all(testDesired(testInstance("ins_a")))})
		r.world.calls = nil
		r.meddle("ins_a", func(d *Domain) { d.Config.MemoryMiB *= 2; d.Config.NICs[0].MAC = "02:00:00:00:00:ff" })
		if got := r.world.called(); len(got) != 1 || got[0] != "define ins_a" {
			t.Errorf("it did %v", got)
		}
		if got := r.repaired("ins_a"); len(got) != 1 || !strings.Contains(got[0], "definition: memory_mib was 128, is 64") || !strings.Contains(got[0], "definition: nics[0] was ") {
			t.Errorf("it said %q", got)
		}
		if s := r.instance("ins_a"); len(s.Drift) != 0 || s.State != api.StateRunning {
			t.Errorf("it is reported %+v", s)
		}
	})
}

func TestAgent_doesNotFightOverADefinition(t *testing.T) {
	bubble(t, func(r *rig) {
		r.send(message{items: all(testDesired(testInstance("ins_a")))})
		r.world.stubborn = true // whatever is defined reads back otherwise
		r.world.calls = nil
		r.meddle("ins_a", func(d *Domain) { d.Config.VCPUs = 7 })
		later(10*time.Minute - time.Second)
		if n := len(r.world.called()); n < 5 || n > 20 {
			t.Errorf("%d calls in ten minutes", n)
		}
		s := r.instance("ins_a")
		if len(s.Drift) != 1 || s.Drift[0].Field != "definition: vcpus" || s.Drift[0].Desired != "1" || s.Drift[0].Actual != "7" {
			t.Errorf("it is reported %+v", s.Drift)
		}
		if time.Since(s.Drift[0].Since) < 9*time.Minute {
			t.Errorf("it is said to differ since %s", s.Drift[0].Since)
		}
	})
}

func TestAgent_showsWhatRunsOtherwiseUntilItsNextStart(t *testing.T) {
	bubble(t, func(r *rig) {
		i := testInstance("ins_a")
		r.send(message{items: all(testDesired(i))})
		i.Size.MemoryMiB, i.Generation = 256, 2
		r.send(setInstance(i))
		s := r.instance("ins_a")
		if len(s.Drift) != 1 || s.Drift[0].Field != "memory_mib" || s.Drift[0].Actual != "64" || s.Drift[0].Repair != nextStart {
			t.Errorf("it is reported %+v", s.Drift)
		}
		if got := r.repaired("ins_a"); len(got) != 0 {
			t.Errorf("what was asked for is told as a repair: %q", got)
		}
		r.crash("ins_a")
		later(time.Minute)
		if s := r.instance("ins_a"); len(s.Drift) != 0 {
			t.Errorf("after its next start it is reported %+v", s.Drift)
		}
	})
}

func TestAgent_putsRightWhatWasDoneToItsPower(t *testing.T) {
	for told, by := range map[string]func(*Domain){
		"power was off, is on":            func(d *Domain) { d.State, d.Reason = DomainStopped, StopDestroy },
		"power was paused, is on":         func(d *Domain) { d.State = DomainPaused },
		"definition was absent, is there": func(d *Domain) { d.Transient, d.Config = true, nil },
	} {
		bubble(t, func(r *rig) {
			r.send(message{items: all(testDesired(testInstance("ins_a"), testInstance("ins_b")))})
			r.world.calls = nil
			r.meddle("ins_a", by)
			r.expect("ins_a", api.StateRunning)
			if got := r.repaired("ins_a"); len(got) != 1 || got[0] != told {
				t.Errorf("%s: it said %q", told, got)
			}
			for _, c := range r.world.called() {
				if !strings.Contains(c, " ins_a") {
					t.Errorf("%s: it also did %s", told, c)
				}
			}
		})
	}
}

func TestAgent_plugsAGuestIntoATapThatWasMadeAnew(t *testing.T) {
	bubble(t, func(r *rig) {
		r.send(message{items: all(testDesired(testInstance("ins_a"), testInstance("ins_b")))})
		tap := network.Tap("prt_ins_a")
		r.world.mu.Lock()
		r.world.calls = nil
		r.world.found = []network.Difference{{Field: "link " + tap, Link: tap, Is: network.Absent, Want: "there"}}
		r.world.set("ins_a", func(d *Domain) { d.Unplugged = []string{tap} })
		r.world.mu.Unlock()
		r.world.links <- "a tap went"
		synctest.Wait()
		if got := r.world.called(); !slices.Equal(got, []string{"network", "guests", "plug ins_a " + tap}) {
			t.Errorf("it did %v", got)
		}
		if got := r.repaired("ins_a"); len(got) != 2 || !strings.HasPrefix(got[0], "link "+tap+" was absent") || !strings.HasSuffix(got[1], "was unplugged, is plugged in") {
			t.Errorf("it said %q", got)
		}
		if s := r.instance("ins_a"); len(s.Drift) != 0 {
			t.Errorf("it is reported %+v", s.Drift)
		}
	})
}

func TestAgent_doesNotTellOfAStopThatWasAskedFor(t *testing.T) {
	bubble(t, func(r *rig) {
		i := testInstance("ins_a")
		i.StopGraceSeconds = 0
		r.send(message{items: all(testDesired(i))})
		for _, p := range []api.Power{api.PowerOff, api.PowerOn} {
			i.Power = p
			i.Generation++
			r.send(setInstance(i))
		}
		r.expect("ins_a", api.StateRunning)
		if got := r.repaired("ins_a"); len(got) != 0 {
			t.Errorf("it said %q", got)
		}
	})
}

func TestAgent_waitsLongerAndLongerWhereAStartLeadsToNothing(t *testing.T) {
	bubble(t, func(r *rig) {
		r.world.asleep = true // every start is said to have been done
		r.send(message{items: all(testDesired(testInstance("ins_a")))})
		later(10 * time.Minute)
		starts := 0
		for _, c := range r.world.called() {
			if c == "start ins_a" {
				starts++
			}
		}
		if starts < 8 || starts > 20 {
			t.Errorf("%d starts in ten minutes", starts)
		}
		r.expect("ins_a", api.StateFailed)
		if c := r.condition("ins_a", Running); c.OK || c.Reason != "StartFailed" {
			t.Errorf("%+v", c)
		}
		r.world.mu.Lock()
		r.world.asleep = false
		r.world.mu.Unlock()
		later(2 * lastRetry)
		r.expect("ins_a", api.StateRunning)
	})
}

func TestAgent_tellsWhatOfTheNetworkItPutRight(t *testing.T) {
	bubble(t, func(r *rig) {
		r.world.found = []network.Difference{{Field: "link cx00002a", Is: "there", Want: network.Absent}, {Field: "link cb00002a", Is: network.Absent, Want: "there"}}
		r.send(message{items: all(testDesired(testInstance("ins_a")))})
		if got := r.repaired("hst_a"); len(got) != 1 || got[0] != "link cx00002a was there, is absent" {
			t.Errorf("of what was there before the agent it said %q", got)
		}
		tap := network.Tap("prt_ins_a")
		r.world.mu.Lock()
		r.world.calls = nil
		r.world.found = []network.Difference{{Field: "link " + tap, Link: tap, Is: network.Absent, Want: "there"}, {Field: "table inet cairn", Is: network.Absent, Want: "there"}}
		r.world.mu.Unlock()
		r.world.links <- "a link went"
		synctest.Wait()
		if got := r.repaired("ins_a"); len(got) != 1 || got[0] != "link "+tap+" was absent, is there" {
			t.Errorf("at the instance it said %q", got)
		}
		if got := r.repaired("hst_a"); len(got) != 2 || got[1] != "table inet cairn was absent, is there" {
			t.Errorf("at the host it said %q", got)
		}
		if got := r.world.called(); len(got) != 2 || got[0] != "network" || got[1] != "guests" {
			t.Errorf("it did %v", got)
		}
	})
}

func TestAgent_showsWhatOfTheNetworkItCannotPutRight(t *testing.T) {
	bubble(t, func(r *rig) {
		r.send(message{items: all(testDesired(testInstance("ins_a")))})
		broken := true
		r.world.mu.Lock()
		r.world.found = []network.Difference{{Field: "table inet cairn", Is: network.Absent, Want: "there"}}
		r.world.fail = func(_ int, call string) error {
			if broken && call == "network" {
				return errFake
			}
			return nil
		}
		r.world.mu.Unlock()
		r.world.links <- "a table went"
		synctest.Wait()
		h := r.host()
		if len(h.Drift) != 1 || h.Drift[0].Field != "table inet cairn" || h.Drift[0].Repair == "" {
			t.Errorf("the host is reported %+v", h.Drift)
		}
		r.world.mu.Lock()
		broken = false
		r.world.mu.Unlock()
		later(time.Minute)
		if h := r.host(); len(h.Drift) != 0 {
			t.Errorf("the host is reported %+v", h.Drift)
		}
	})
}
