package controller

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
)

// act carries out an action on a host as REST does.
func (c *cloud) act(host, action string, in func(any)) error {
	c.Helper()
	k, _ := api.KindByName(api.KindHost)
	for _, a := range k.Actions {
		if a.Name != action {
			continue
		}
		input := newInput(a)
		if in != nil {
			in(input)
		}
		_, err := c.b.Update(c.ctx, c.write(), api.KindHost, host, func(o api.Object) error { return a.Apply(o, input) })
		return err
	}
	c.Fatalf("no action %s", action)
	return nil
}

// settleHost reconciles a host as the leader does until nothing is left to do at
// once, and returns when to look again.
func (c *cloud) settleHost(host string, now time.Time) (h *api.Host, again time.Duration) {
	c.Helper()
	for range 10 {
		done := false
		c.commit(func(v *store.View) (x store.Change, err error) {
			x, again, err = reconcileHost(reconciling{v, now, c.b.place}, host)
			completeEvents(x.Events, now, newDice([32]byte{byte(v.Revision()), 1}))
			done = empty(x)
			return x, err
		})
		if done {
			break
		}
	}
	c.sound()
	return c.view().Get(api.KindHost, host).(*api.Host), again
}

func TestDrain_movesWhatRunsWithinItsBudgetAndEndsInMaintenance(t *testing.T) {
	m := newMoving(t)
	second := m.running("j", m.from)
	if err := m.act(m.from, "drain", func(in any) { setParallel(in, 1) }); err != nil {
		t.Fatal(err)
	}
	h, _ := m.settleHost(m.from, time.Now())
	if d := h.Status.Drain; h.Status.State != api.StateDraining || d == nil || d.Left != 2 || d.Moving != 1 {
		t.Fatalf("state %s, drain %+v", h.Status.State, d)
	}
	moves := func() (ids []string) {
		for _, id := range []string{m.id, second} {
			if t := m.getInstance(id).Placement.Target; t != nil && t.Host == m.to && t.Drain {
				ids = append(ids, id)
			}
		}
		return ids
	}
	for range 2 {
		now := moves()
		if len(now) != 1 {
			t.Fatalf("with a budget of one, %v move", now)
		}
		m.arrived(now[0])
		m.settleHost(m.from, time.Now())
	}
	h, _ = m.settleHost(m.from, time.Now())
	if h.Status.State != api.StateMaintenance || h.Status.Drain.Left != 0 {
		t.Errorf("state %s, drain %+v", h.Status.State, h.Status.Drain)
	}
	for _, s := range snapshot(m.view()).Hosts {
		if s.ID == m.from && s.Schedulable {
			t.Error("instances are placed on a host in maintenance")
		}
	}
	if err := m.act(m.from, "activate", nil); err != nil {
		t.Fatal(err)
	}
	if h, _ = m.settleHost(m.from, time.Now()); h.Status.State != api.StateReady || h.Status.Condition(conditionDrained) != nil {
		t.Errorf("state %s, conditions %+v", h.Status.State, h.Status.Conditions)
	}
}

func TestDrain_givenUpLeavesWhatHasNotLeft(t *testing.T) {
	m := newMoving(t)
	if err := m.act(m.from, "drain", nil); err != nil {
		t.Fatal(err)
	}
	m.settleHost(m.from, time.Now())
	if err := m.act(m.from, "activate", nil); err != nil {
		t.Fatal(err)
	}
	h, _ := m.settleHost(m.from, time.Now())
	if i := m.settle(); i.Placement.Target != nil || i.Placement.Host != m.from {
		t.Errorf("it is at %+v", i.Placement)
	}
	if h.Status.State != api.StateReady {
		t.Errorf("state %s", h.Status.State)
	}
}

func TestDrain_whatIsComingIsToldToStay(t *testing.T) {
	m := newMoving(t)
	if err := m.migrate("", false); err != nil {
		t.Fatal(err)
	}
	if err := m.act(m.to, "drain", nil); err != nil {
		t.Fatal(err)
	}
	m.settleHost(m.to, time.Now())
	if i := m.settle(); i.Placement.Target != nil || i.Placement.Host != m.from {
		t.Errorf("it is at %+v", i.Placement)
	}
	if h, _ := m.settleHost(m.to, time.Now()); h.Status.State != api.StateMaintenance {
		t.Errorf("state %s", h.Status.State)
	}
}

// TestDrain_whatCannotBeMoved tells why it stays; with a time after which it
// is stopped, it is kept off until the host is in use again.
func TestDrain_whatCannotBeMoved(t *testing.T) {
	m := newMoving(t)
	if err := m.act(m.to, "drain", nil); err != nil {
		t.Fatal(err)
	}
	m.settleHost(m.to, time.Now())
	if err := m.act(m.from, "drain", nil); err != nil {
		t.Fatal(err)
	}
	h, again := m.settleHost(m.from, time.Now())
	if d := h.Status.Drain; d.Left != 1 || len(d.Blocked) != 1 || d.Blocked[0].Name != "i" || again != blockedAgain {
		t.Fatalf("drain %+v, again in %s", d, again)
	}
	minute := 60
	if err := m.act(m.from, "drain", func(in any) { setStopAfter(in, minute) }); err != nil {
		t.Fatal(err)
	}
	if m.settleHost(m.from, time.Now()); m.getInstance(m.id).Placement.Held {
		t.Fatal("it is stopped before its time")
	}
	m.settleHost(m.from, time.Now().Add(2*time.Minute))
	if !m.getInstance(m.id).Placement.Held || m.told(m.from).Power != api.PowerOff {
		t.Fatalf("it is not kept off: %+v", m.told(m.from))
	}
	if err := m.report(m.from, m.id, 1, api.StateStopped); err != nil {
		t.Fatal(err)
	}
	if h, _ = m.settleHost(m.from, time.Now()); h.Status.State != api.StateMaintenance || h.Status.Drain.Stopped != 1 {
		t.Errorf("state %s, drain %+v", h.Status.State, h.Status.Drain)
	}
	if err := m.act(m.from, "activate", nil); err != nil {
		t.Fatal(err)
	}
	m.settleHost(m.from, time.Now())
	if i := m.getInstance(m.id); i.Placement.Held || m.told(m.from).Power != api.PowerOn || i.Status.Condition(conditionMigrated) != nil {
		t.Errorf("after maintenance it is %+v, %+v", i.Placement, i.Status.Conditions)
	}
}

// TestDrain_onSharedStorageStoppedAndMoved: what cannot be moved while it runs
// is stopped and starts elsewhere.
func TestDrain_onSharedStorageStoppedAndMoved(t *testing.T) {
	m := newMoving(t)
	m.commit(func(v *store.View) (c store.Change, err error) {
		h := api.Clone(get[*api.Host](v, api.KindHost, m.to))
		h.Status.CPU = &api.HostCPU{} // nothing that its guest needs
		c.Status = append(c.Status, h)
		return c, nil
	})
	m.share(m.from, m.to)
	if err := m.act(m.from, "drain", func(in any) { setStopAfter(in, 0) }); err != nil {
		t.Fatal(err)
	}
	m.settleHost(m.from, time.Now())
	if tg := m.getInstance(m.id).Placement.Target; tg == nil || !tg.Cold || tg.Host != m.to {
		t.Fatalf("its target is %+v", tg)
	}
	m.say(m.from, 1, api.StateStopped, api.Migration{Epoch: 2, Outgoing: api.OutgoingHandedOver})
	if i := m.settle(); i.Placement.Host != m.to {
		t.Errorf("it is at %+v", i.Placement)
	}
	if h, _ := m.settleHost(m.from, time.Now()); h.Status.State != api.StateMaintenance {
		t.Errorf("state %s", h.Status.State)
	}
}

// running makes one more instance, which runs on the host.
func (m *moving) running(name, host string) string {
	m.Helper()
	for _, h := range []string{m.from, m.to} {
		if h != host {
			m.schedulable(h, false)
			defer m.schedulable(h, true)
		}
	}
	m.place()
	id := m.create(instance(name)).GetMeta().ID
	m.until("it is placed", func(v api.View) bool { return placed(v.Get(api.KindInstance, id)) })
	m.idle()
	if err := m.report(host, id, 1, api.StateRunning); err != nil {
		m.Fatal(err)
	}
	return id
}

func (c *cloud) schedulable(host string, yes bool) {
	c.Helper()
	if _, err := c.b.Update(c.ctx, c.write(), api.KindHost, host, func(o api.Object) error {
		o.(*api.Host).Spec.Schedulable = &yes
		return nil
	}); err != nil {
		c.Fatal(err)
	}
}

// arrived lets an instance arrive at its target.
func (m *moving) arrived(id string) {
	m.Helper()
	t := m.getInstance(id).Placement.Target
	one := *m
	one.id = id
	one.say(t.Host, t.Epoch, api.StateRunning, api.Migration{Epoch: t.Epoch, Incoming: api.IncomingArrived})
	one.settle()
}

func newInput(a api.Action) any {
	if a.Input == nil {
		return nil
	}
	return reflect.New(reflect.TypeOf(a.Input).Elem()).Interface()
}

// The inputs of actions are api's own; tests fill them as JSON does.
func setParallel(in any, n int)  { fill(in, map[string]any{"parallel": n}) }
func setStopAfter(in any, s int) { fill(in, map[string]any{"stop_after_seconds": s}) }

func fill(in any, fields map[string]any) {
	b, err := json.Marshal(fields)
	if err == nil {
		err = json.Unmarshal(b, in)
	}
	if err != nil {
		panic(err)
	}
}
