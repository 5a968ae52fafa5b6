package agent

import (
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

// TestNextStep_neverLetsGoWhatIsHere tells of all that there can be on two hosts.
func TestNextStep_neverLetsGoWhatIsHere(t *testing.T) {
	const unknown = DomainState("?")
	for _, c := range []struct {
		here, there DomainState
		stay        bool
		want        MigrationStep
	}{
		{DomainRunning, DomainNone, false, StepSend},
		{DomainRunning, DomainNone, true, StepStay},
		{DomainRunning, DomainMoving, false, StepStay},
		{DomainRunning, DomainPaused, false, StepStay},
		{DomainRunning, DomainStopped, false, StepStay},
		{DomainRunning, unknown, false, StepStay}, // nobody else lets it go on there
		{DomainPaused, DomainNone, false, StepStay},
		{DomainPaused, DomainPaused, false, StepStay},
		{DomainPaused, unknown, false, StepStay},
		{DomainStarting, DomainNone, false, StepStay},
		{DomainMoving, DomainNone, false, StepAsk},
		{DomainMoving, DomainPaused, true, StepAsk},
		{DomainMoving, unknown, true, StepAsk},
		{DomainNone, DomainPaused, false, StepLetGo},
		{DomainNone, DomainPaused, true, StepLetGo}, // who has left does not come back
		{DomainNone, DomainRunning, false, StepDone},
		{DomainNone, DomainStopped, false, StepDone},
		{DomainNone, DomainNone, false, StepStay},
		{DomainNone, DomainMoving, false, StepStay},
		{DomainNone, unknown, true, StepAsk}, // it may run there
		{DomainStopped, DomainRunning, false, StepDone},
		{DomainStopped, DomainPaused, false, StepStay},
		{DomainStopped, DomainNone, false, StepStay},
		{DomainStopped, unknown, false, StepAsk}, // it may run there
	} {
		there := &c.there
		if c.there == unknown {
			there = nil
		}
		got, why := NextStep(c.here, there, c.stay)
		if got != c.want || (why == nil) != (got == StepSend || got == StepLetGo || got == StepDone) {
			t.Errorf("here %q, there %q, stay %t: %s, %v; want %s", c.here, c.there, c.stay, got, why, c.want)
		}
	}
}

// TestPlan_cold: what is moved cold is off, says so, and stays off whatever is
// said of the move, until the control plane has decided where it is.
func TestPlan_cold(t *testing.T) {
	w, memory := converged(t, testDesired(testInstance("ins_a")))
	want := func(cancelled bool) api.HostDesired {
		d := leaving(cancelled)
		i := d.Instances["ins_a"]
		o := *i.Outgoing
		o.Cold, o.Disks = true, false
		i.Outgoing, i.StopGraceSeconds = &o, 0
		d.Instances["ins_a"] = i
		return d
	}
	says := func(cancelled bool) api.Outgoing {
		return migration(want(cancelled), w.observed(memory), want(cancelled).Instances["ins_a"]).Outgoing
	}
	if got := says(false); got != api.OutgoingCopying {
		t.Errorf("while it runs it is said to be %s", got)
	}
	converge(t, w, want(false), memory, testStart)
	if d := w.domains["ins_a"]; d.State != DomainStopped || says(false) != api.OutgoingHandedOver {
		t.Errorf("it is %s, and said to be %s", d.State, says(false))
	}
	converge(t, w, want(true), memory, testStart)
	if d := w.domains["ins_a"]; d.State != DomainStopped || says(true) != api.OutgoingFailed {
		t.Errorf("given up, it is %s, and said to be %s", d.State, says(true))
	}
	converge(t, w, testDesired(testInstance("ins_a")), memory, testStart)
	if d := w.domains["ins_a"]; d.State != DomainRunning {
		t.Errorf("once it is here for sure, it is %s", d.State)
	}
}

// TestPlan_whatAMoveLeavesIsRemovedAtOnce, and all else that nobody owns is kept.
func TestPlan_whatAMoveLeavesIsRemovedAtOnce(t *testing.T) {
	const removed = "ins_a: remove disks\n"
	domain := func(epoch int64, s DomainState) *Domain {
		return &Domain{Mark: Mark{Instance: "ins_a", Epoch: epoch}, State: s}
	}
	for _, c := range []struct {
		name   string
		away   int64
		domain *Domain
		want   string
	}{
		{"it has left", 2, nil, removed},
		{"it has left, and its definition has not", 2, domain(1, DomainStopped), "ins_a: undefine\n" + removed},
		{"it did not come", 2, domain(2, DomainMoving), "ins_a: pull the plug: it is on another host\nins_a: undefine\n" + removed},
		{"it came whole, and went on where it was", 2, domain(2, DomainPaused), "ins_a: pull the plug: it is on another host\nins_a: undefine\n" + removed},
		{"it runs", 2, domain(2, DomainRunning), "ins_a: suspend\nins_a: note that nobody owns it\n"},
		{"it was here", 0, nil, "ins_a: note that nobody owns it\n"},
	} {
		w := newWorld()
		w.disks["ins_a"] = DiskState{Root: true, Image: "x", Away: c.away}
		if c.domain != nil {
			w.domains["ins_a"] = *c.domain
		}
		if got := ofInstances(Plan(testDesired(), w.observed(map[string]Memory{}), testStart)); got != c.want {
			t.Errorf("%s:\n%swant\n%s", c.name, got, c.want)
		}
	}
}

// TestPlan_whatCameIsItsOwn: once it is placed here, its disks are no leftovers.
func TestPlan_whatCameIsItsOwn(t *testing.T) {
	w, memory := newWorld(), map[string]Memory{}
	converge(t, w, coming(2), memory, testStart)
	i := testInstance("ins_a")
	i.Epoch = 2
	w.domains["ins_a"] = Domain{Mark: Mark{Instance: "ins_a", Epoch: 2}, State: DomainPaused}
	converge(t, w, testDesired(i), memory, testStart)
	if w.disks["ins_a"].Away != 0 || w.domains["ins_a"].State != DomainRunning {
		t.Errorf("its disks are %+v, and it is %+v", w.disks["ins_a"], w.domains["ins_a"])
	}
}
