package agent

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cairn-cloud/cairn/api"
)

// anyInstance draws an instance of a small cloud.
func anyInstance(t *rapid.T, id string) api.HostInstance {
	i := testInstance(id)
	i.Epoch = rapid.Int64Range(1, 2).Draw(t, id+" epoch")
	i.Power = rapid.SampledFrom([]api.Power{api.PowerOn, api.PowerOff}).Draw(t, id+" power")
	i.Deleting = rapid.IntRange(0, 3).Draw(t, id+" deleting") == 0
	i.Reboots = rapid.Int64Range(0, 2).Draw(t, id+" reboots")
	i.HardReboot = rapid.Bool().Draw(t, id+" hard")
	i.StopGraceSeconds = rapid.SampledFrom([]int{0, 60}).Draw(t, id+" grace")
	i.Image.SHA256 = rapid.SampledFrom([]string{"aa", "bb"}).Draw(t, id+" image")
	if rapid.Bool().Draw(t, id+" no ports") {
		i.Ports = nil
	}
	return i
}

func anyDesired(t *rapid.T) api.HostDesired {
	var is []api.HostInstance
	for _, id := range []string{"ins_a", "ins_b", "ins_c"} {
		if rapid.Bool().Draw(t, id) {
			is = append(is, anyInstance(t, id))
		}
	}
	return testDesired(is...)
}

// checkAsWanted is what a converged host must be.
func checkAsWanted(t *rapid.T, w *world, want api.HostDesired) {
	for id, i := range want.Instances {
		d, defined := w.domains[id]
		switch {
		case defined && i.Epoch < d.Mark.Epoch: // older than what is there
		case i.Deleting && (defined || w.disks[id] != DiskState{}):
			t.Fatalf("%s is left though deleted", id)
		case i.Deleting:
		case !defined || d.Mark.Epoch != i.Epoch:
			t.Fatalf("%s is not defined under its epoch: %+v", id, d)
		case i.Power == api.PowerOn != (d.State == DomainRunning) && d.Mark.Power != MarkHalted:
			t.Fatalf("%s is to be %s and is %s", id, i.Power, d.State)
		case d.State == DomainRunning && d.Mark.Reboots < i.Reboots:
			t.Fatalf("%s has not rebooted: %+v", id, d.Mark)
		}
	}
	for id := range w.domains {
		if _, ok := want.Instances[id]; !ok {
			t.Fatalf("the domain %s is left", id)
		}
	}
	for id := range w.disks {
		if _, ok := want.Instances[id]; !ok {
			t.Fatalf("files of %s are left", id)
		}
	}
}

// disturb does to the host what guests, faults and operators do.
func disturb(t *rapid.T, w *world, memory map[string]Memory) {
	for id, d := range w.domains {
		switch rapid.IntRange(0, 5).Draw(t, "what happens to "+id) {
		case 0:
			w.stop(id, StopCrash)
		case 1:
			w.stop(id, StopShutdown)
		case 2: // the host and the hypervisor were restarted
			d.State, d.Reason = DomainStopped, StopUnknown
			w.domains[id] = d
		case 3: // the agent was restarted
			delete(memory, id)
		}
	}
}

func TestPlan_convergesAndThenIsEmpty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, memory, now := newWorld(), map[string]Memory{}, testStart
		w.images["bb"] = rapid.Bool().Draw(t, "an image is there")
		if !w.images["bb"] {
			delete(w.images, "bb")
		}
		if rapid.Bool().Draw(t, "guests are deaf") {
			w.onAsk = func(*world, string) {}
		}
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			want := anyDesired(t)
			now = converge(t, w, want, memory, now)
			if left := Plan(want, w.observed(memory), now); len(left) != 0 {
				t.Fatalf("the plan of a host that is as wanted:\n%s", golden(left))
			}
			checkAsWanted(t, w, want)
			disturb(t, w, memory)
			now = now.Add(time.Hour)
			now = converge(t, w, want, memory, now)
			checkAsWanted(t, w, want)
		}
	})
}

func TestPlan_touchesNothingThatIsNotNamedBeforeAllWasSaid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, memory := newWorld(), map[string]Memory{}
		converge(t, w, anyDesired(t), memory, testStart)
		want := anyDesired(t)
		have := w.observed(memory)
		have.Synced = false
		for _, a := range Plan(want, have, testStart) {
			if _, named := want.Instances[a.Target()]; !named && a.Target() != "" {
				t.Fatalf("%s, though not all was said", a)
			}
		}
	})
}

func TestPlan_isTheSameForTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, memory := newWorld(), map[string]Memory{}
		converge(t, w, anyDesired(t), memory, testStart)
		want := anyDesired(t)
		first := golden(Plan(want, w.observed(memory), testStart))
		for range 5 {
			if again := golden(Plan(want, w.observed(memory), testStart)); again != first {
				t.Fatalf("two plans of one state:\n%s\n%s", first, again)
			}
		}
	})
}
