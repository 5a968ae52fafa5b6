package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// orphaned is a host on which ins_b runs and is known no more, and was found to be
// so at testStart.
func orphaned(t *testing.T) (*world, map[string]Memory) {
	t.Helper()
	w, memory := converged(t, testDesired(testInstance("ins_a"), testInstance("ins_b")))
	applyTo(t, w, Plan(testDesired(testInstance("ins_a")), w.observed(memory), testStart), memory, testStart)
	w.calls = nil
	return w, memory
}

func TestPlan_orphans(t *testing.T) {
	again := testInstance("ins_b")
	later := again
	later.Epoch = 3
	for _, c := range []struct {
		name  string
		after time.Duration
		with  func(w *world, want *api.HostDesired)
		want  []api.HostInstance
		plan  string
	}{
		{name: "it stands still and is kept", after: OrphanGrace - 1},
		{
			name: "somebody lets it go on",
			with: func(w *world, _ *api.HostDesired) { w.set("ins_b", func(d *Domain) { d.State = DomainRunning }) },
			plan: "ins_b: suspend\n",
		},
		{
			name: "its time has come", after: OrphanGrace,
			plan: "ins_b: pull the plug: nobody owns it, and its time has come\nins_b: undefine\nins_b: remove disks\nins_b: end the quarantine: it is removed\n",
		},
		{
			name: "removed by hand",
			with: func(_ *world, want *api.HostDesired) { want.Host.RemoveOrphans = []string{"ins_b"} },
			plan: "ins_b: pull the plug: nobody owns it, and its time has come\nins_b: undefine\nins_b: remove disks\nins_b: end the quarantine: it is removed\n",
		},
		{
			name: "an operator has removed it",
			with: func(w *world, _ *api.HostDesired) { delete(w.domains, "ins_b"); delete(w.disks, "ins_b") },
			plan: "ins_b: end the quarantine: it is gone\n",
		},
		{
			name: "owned again under the same placement", want: []api.HostInstance{again},
			plan: "ins_b: end the quarantine: it is owned again\nins_b: resume\n",
		},
		{
			name: "owned again under a later placement: it may have run elsewhere since", want: []api.HostInstance{later},
			plan: "ins_b: pull the plug: it ran under a placement that has passed\nins_b: undefine\nins_b: set aside its files of epoch 1\nins_b: create root disk of 1 GiB\nins_b: write config drive\nins_b: define\nins_b: start\n",
		},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			w, memory := orphaned(t)
			want := testDesired(append([]api.HostInstance{testInstance("ins_a")}, c.want...)...)
			if c.with != nil {
				c.with(w, &want)
			}
			var got []string
			for _, a := range Plan(want, w.observed(memory), testStart.Add(c.after)) {
				if a.Target() != "" {
					got = append(got, a.String()+"\n")
				}
			}
			if plan := strings.Join(got, ""); plan != c.plan {
				t.Errorf("plan:\n%swant:\n%s", plan, c.plan)
			}
		})
	}
}

func TestPlan_whatWasSetAsideWaitsForItsTimeWhileItsInstanceRuns(t *testing.T) {
	w, memory := orphaned(t)
	later := testInstance("ins_b")
	later.Epoch = 3
	want := testDesired(testInstance("ins_a"), later)
	now := testStart
	for len(Plan(want, w.observed(memory), now)) > 0 {
		applyTo(t, w, Plan(want, w.observed(memory), now), memory, now)
	}
	if o := w.orphans["ins_b-1"]; !o.Aside || o.Instance != "ins_b" || !o.FirstSeen.Equal(testStart) {
		t.Fatalf("in quarantine: %+v", w.orphans)
	}
	if at := wakeAt(want, w.observed(memory), now); !at.Equal(testStart.Add(OrphanGrace)) {
		t.Errorf("it is looked at again at %s", at)
	}
	if got := golden(Plan(want, w.observed(memory), testStart.Add(OrphanGrace))); got != "ins_b-1: end the quarantine: it is removed\n" {
		t.Errorf("plan:\n%s", got)
	}
}

func TestOrphansSeen_listsWhatHoldsMemoryFirst(t *testing.T) {
	have := Observed{Grace: time.Hour, Orphans: map[string]Orphan{}, Domains: map[string]Domain{}}
	for _, id := range []string{"ins_c", "ins_a", "ins_b"} {
		have.Orphans[id] = Orphan{ID: id, Instance: id, FirstSeen: testStart}
	}
	have.Domains["ins_b"] = Domain{State: DomainPaused, Config: &DomainSpec{MemoryMiB: 512}}
	have.Domains["ins_c"] = Domain{State: DomainStopped, Config: &DomainSpec{MemoryMiB: 512}}
	list, n := orphansSeen(testDesired(), have)
	var ids []string
	for _, o := range list {
		ids = append(ids, o.ID)
	}
	if !slices.Equal(ids, []string{"ins_b", "ins_a", "ins_c"}) || n != 3 {
		t.Errorf("%d: %v", n, ids)
	}
	if o := list[0]; o.MemoryMiB != 512 || o.Domain != "paused" || !o.RemoveAt.Equal(testStart.Add(time.Hour)) {
		t.Errorf("%+v", o)
	}
}

func TestAgent_keepsAndShowsWhatNobodyOwns(t *testing.T) {
	bubble(t, func(r *rig) {
		r.stop()
		r.grace = time.Hour
		r.start()
		r.send(message{items: all(testDesired(testInstance("ins_a"), testInstance("ins_b")))})
		r.send(message{streamErr: errFake})
		r.send(message{items: all(testDesired(testInstance("ins_a")))})
		if have := r.world.observed(nil); have.Domains["ins_b"].State != DomainPaused || len(have.Disks) != 2 {
			t.Errorf("it is %+v: %v", have.Domains["ins_b"], r.world.called())
		}
		h := r.host()
		if h.OrphanCount != 1 || h.Orphans[0].Instance != "ins_b" || h.Orphans[0].Project == "" || h.Orphans[0].Domain != "paused" {
			t.Errorf("the host is reported %+v", h)
		}
		if n := countEvents(r.events(), "hst_a OrphanFound"); n != 1 {
			t.Errorf("events: %v", r.events())
		}
		before := r.reports()
		later(r.grace - time.Minute)
		if n := r.reports() - before; n != 0 {
			t.Errorf("%d reports of what did not change", n)
		}
		later(time.Minute)
		if len(r.world.domains) != 1 || len(r.world.disks) != 1 || len(r.world.orphans) != 0 {
			t.Errorf("after its time: %v, %v, %v", r.world.domains, r.world.disks, r.world.orphans)
		}
		if h := r.host(); h.OrphanCount != 0 {
			t.Errorf("the host is reported %+v", h)
		}
		r.expect("ins_a", api.StateRunning)
	})
}

func TestAgent_removesAnOrphanByHand(t *testing.T) {
	bubble(t, func(r *rig) {
		r.send(message{items: all(testDesired(testInstance("ins_a")))})
		r.send(message{streamErr: errFake})
		r.send(message{items: all(testDesired())})
		r.send(message{items: []api.DesiredItem{{Op: "set", Kind: api.KindHost, ID: "hst_a", Host: &api.HostSpec{RemoveOrphans: []string{"ins_a"}}}}})
		if len(r.world.domains)+len(r.world.disks)+len(r.world.orphans) != 0 {
			t.Errorf("left: %v, %v, %v", r.world.domains, r.world.disks, r.world.orphans)
		}
		if n := countEvents(r.events(), "hst_a OrphanEnded"); n != 1 {
			t.Errorf("events: %v", r.events())
		}
	})
}
