package controller

import (
	"testing"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
)

// moving is a cloud of two equal hosts with an instance that runs on the first.
type moving struct {
	*cloud
	from, to, id string
}

func newMoving(t *testing.T) *moving {
	t.Helper()
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	m := &moving{cloud: c, from: c.cpuHost("h1", "192.0.2.1")}
	c.place()
	m.id = c.create(instance("i")).GetMeta().ID
	c.until("it is placed", func(v api.View) bool { return placed(v.Get(api.KindInstance, m.id)) })
	c.idle()
	m.to = c.cpuHost("h2", "192.0.2.2")
	if err := c.report(m.from, m.id, 1, api.StateRunning); err != nil {
		t.Fatal(err)
	}
	return m
}

// cpuHost joins a host that says its CPU.
func (c *cloud) cpuHost(name, address string) string {
	c.Helper()
	id := c.host(name, 8, 8192, 100)
	s := &api.HostStatus{
		Address: address, AgentURL: "https://" + address + ":7444", Architecture: "x86_64", CPUs: 8, MemoryMiB: 9216, DiskGiB: 105,
		CPU: &api.HostCPU{Models: []api.CPUModel{{Name: "Nehalem", Features: 30}}, Features: []string{"aes"}},
	}
	s.State = api.StateReady
	if _, err := c.b.Report(c.ctx, id, 0, []api.Report{{Kind: api.KindHost, ID: id, Host: s}}); err != nil {
		c.Fatal(err)
	}
	return id
}

func (m *moving) migrate(to string, cancel bool) error {
	return m.migrateAs(m.write(), to, cancel)
}

func (m *moving) migrateAs(w api.Write, to string, cancel bool) error {
	_, err := m.b.Update(m.ctx, w, api.KindInstance, m.id, func(o api.Object) error {
		i := o.(*api.Instance)
		if cancel {
			t := *i.Placement.Target
			t.Cancelled = true
			i.Placement.Target = &t
		} else {
			i.Placement.Target = &api.Target{HostName: to}
		}
		return nil
	})
	return err
}

func (m *moving) say(host string, epoch int64, state api.State, mig api.Migration) {
	m.Helper()
	s := &api.InstanceStatus{Migration: &mig}
	s.State, s.ObservedGeneration = state, 1
	if _, err := m.b.Report(m.ctx, host, 0, []api.Report{{Kind: api.KindInstance, ID: m.id, Epoch: epoch, Instance: s}}); err != nil {
		m.Fatal(err)
	}
}

// settle reconciles the instance as the leader does, twice: the second time there is nothing left.
func (m *moving) settle() *api.Instance {
	m.Helper()
	for range 2 {
		m.commit(func(v *store.View) (store.Change, error) {
			c, _, err := reconcileInstance(reconciling{v, m.b.now(), m.b.place}, m.id)
			completeEvents(c.Events, m.b.now(), newDice([32]byte{byte(v.Revision())}))
			return c, err
		})
	}
	m.sound()
	return m.getInstance(m.id)
}

func (m *moving) told(host string) *api.HostInstance {
	m.Helper()
	return hostInstance(m.view(), host, m.id)
}

func TestMigrate_takesTheRoomOnTheTargetAndEndsThere(t *testing.T) {
	m := newMoving(t)
	if err := m.migrate("", false); err != nil {
		t.Fatal(err)
	}
	i := m.settle()
	target := i.Placement.Target
	if i.Placement.Host != m.from || i.Placement.Epoch != 1 || target == nil || target.Host != m.to || target.Epoch != 2 || i.Status.State != api.StateMigrating {
		t.Fatalf("placed %+v towards %+v, state %s", i.Placement, target, i.Status.State)
	}
	if w := m.told(m.to); w == nil || w.Epoch != 2 || w.Incoming == nil || w.Incoming.From != m.from || w.CPU == nil || w.CPU.Model != "Nehalem" {
		t.Errorf("the target is told %+v", w)
	}
	if w := m.told(m.from); w == nil || w.Epoch != 1 || w.Outgoing != nil {
		t.Errorf("its host is told to send it before the target is ready: %+v", w)
	}
	m.say(m.to, 2, api.StateStarting, api.Migration{Epoch: 2, Incoming: api.IncomingReady})
	m.settle()
	if w := m.told(m.from); w.Outgoing == nil || w.Outgoing.To != m.to || w.Outgoing.Epoch != 2 || !w.Outgoing.Disks || w.Outgoing.URL != "https://192.0.2.2:7444" {
		t.Errorf("its host is told %+v", w.Outgoing)
	}
	m.say(m.from, 1, api.StateRunning, api.Migration{Epoch: 2, Outgoing: api.OutgoingCopying, CopiedBytes: 1, TotalBytes: 2, Percent: 50})
	if i = m.settle(); i.Status.Migration.Incoming != api.IncomingReady || i.Status.Migration.Percent != 50 {
		t.Errorf("the progress is %+v", i.Status.Migration)
	}
	m.say(m.to, 2, api.StateRunning, api.Migration{Epoch: 2, Incoming: api.IncomingArrived})
	i = m.settle()
	if p := i.Placement; p.Host != m.to || p.HostName != "h2" || p.Epoch != 2 || p.Target != nil || p.CPU == nil || i.Status.State != api.StateRunning {
		t.Errorf("it ended at %+v, state %s", p, i.Status.State)
	}
	if c := i.Status.Condition(conditionMigrated); c == nil || !c.OK {
		t.Errorf("the condition is %+v", c)
	}
	if m.told(m.from) != nil {
		t.Error("its old host still has it")
	}
	if err := m.report(m.from, m.id, 1, api.StateFailed); err != nil || m.getInstance(m.id).Status.State == api.StateFailed {
		t.Errorf("a late report from its old host: %v", err)
	}
}

// TestMigrate_whatComesToNothingLeavesNothing tells of every way in which a move
// ends early: the room on the target is free, no epoch is given twice, and what the
// target still says is dropped.
func TestMigrate_whatComesToNothingLeavesNothing(t *testing.T) {
	failed := func(m *moving) {
		m.say(m.to, 2, api.StateStarting, api.Migration{Epoch: 2, Incoming: api.IncomingReady})
		m.say(m.from, 1, api.StateRunning, api.Migration{Epoch: 2, Outgoing: api.OutgoingFailed, Message: "the line was cut"})
	}
	cancel := func(m *moving) {
		if err := m.migrate("", true); err != nil {
			m.Fatal(err)
		}
	}
	for _, x := range []struct {
		name, reason string
		ok           bool
		end          func(m *moving)
	}{
		{"its host fails", "Failed", false, failed},
		{"the target cannot prepare", "TargetFailed", false, func(m *moving) {
			m.say(m.to, 2, api.StateStarting, api.Migration{Epoch: 2, Incoming: api.IncomingFailed, Message: "disk full"})
		}},
		{"the target goes silent before it is ready", "TargetSilent", false, func(m *moving) {
			if _, err := m.store.SetAlive(m.ctx, m.to, false); err != nil {
				m.Fatal(err)
			}
			m.until("that is seen", func(v api.View) bool { return !v.Alive(m.to) })
		}},
		{"the target is lost while it is copied, and off for sure", "TargetLost", false, func(m *moving) {
			m.say(m.to, 2, api.StateStarting, api.Migration{Epoch: 2, Incoming: api.IncomingReady})
			m.silence(m.to)
			if i := m.settle(); i.Placement.Target == nil {
				m.Error("it was given up before the target was known to be off")
			}
			if err := m.act(m.to, "fence", nil); err != nil {
				m.Fatal(err)
			}
		}},
		{"cancelled before the target is ready", "Cancelled", true, cancel},
		{"cancelled while it is copied", "Cancelled", true, func(m *moving) {
			m.say(m.to, 2, api.StateStarting, api.Migration{Epoch: 2, Incoming: api.IncomingReady})
			cancel(m)
			if i := m.settle(); i.Placement.Target == nil || !m.told(m.from).Outgoing.Cancelled {
				m.Error("it was given up before its host said that it is still there")
			}
			m.say(m.from, 1, api.StateRunning, api.Migration{Epoch: 2, Outgoing: api.OutgoingFailed})
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			m := newMoving(t)
			if err := m.migrate("h2", false); err != nil {
				t.Fatal(err)
			}
			x.end(m)
			i := m.settle()
			if p := i.Placement; p.Host != m.from || p.Epoch != 1 || p.Target != nil || p.NextEpoch() != 3 {
				t.Errorf("it is at %+v", p)
			}
			if c := i.Status.Condition(conditionMigrated); c == nil || c.Reason != x.reason || c.OK != x.ok {
				t.Errorf("the condition is %+v", c)
			}
			if m.told(m.to) != nil || m.told(m.from).Outgoing != nil {
				t.Error("a host still follows the move")
			}
			m.say(m.to, 2, api.StateRunning, api.Migration{Epoch: 2, Incoming: api.IncomingArrived})
			if i = m.settle(); i.Placement.Host != m.from || i.Status.Migration != nil {
				t.Errorf("what the target said too late counted: %+v", i.Placement)
			}
		})
	}
}

// TestMigrate_aLateCancelChangesNothing: whoever has left does not come back.
func TestMigrate_aLateCancelChangesNothing(t *testing.T) {
	m := newMoving(t)
	if err := m.migrate("", false); err != nil {
		t.Fatal(err)
	}
	m.say(m.to, 2, api.StateStarting, api.Migration{Epoch: 2, Incoming: api.IncomingReady})
	if err := m.migrate("", true); err != nil {
		t.Fatal(err)
	}
	m.say(m.from, 1, api.StateRunning, api.Migration{Epoch: 2, Outgoing: api.OutgoingHandedOver})
	if i := m.settle(); i.Placement.Host != m.to || i.Placement.Epoch != 2 {
		t.Errorf("it is at %+v", i.Placement)
	}
}

func TestMigrate_saysWhyNot(t *testing.T) {
	m := newMoving(t)
	refused(t, m.migrate("none", false), 422, "reference_not_found", "to")
	p := refused(t, m.migrate("h1", false), 409, "no_host_fits", "placement.target")
	t.Log(p.Detail)
	tenant := api.Write{Principal: api.Principal{Actor: "token/t", Role: api.RoleAdmin, Project: m.project}}
	refused(t, m.migrateAs(tenant, "", false), 403, "forbidden", "")
	if err := m.report(m.from, m.id, 1, api.StateStarting); err != nil {
		t.Fatal(err)
	}
	refused(t, m.migrate("", false), 409, "not_running", "status.state")
}

// TestMigrate_off: what is off has nothing to be copied there, and
// elsewhere nobody to copy it.
func TestMigrate_off(t *testing.T) {
	m := newMoving(t)
	off := func() {
		t.Helper()
		if _, err := m.b.Update(m.ctx, m.write(), api.KindInstance, m.id, func(o api.Object) error {
			o.(*api.Instance).Spec.Power = api.PowerOff
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := m.report(m.from, m.id, 1, api.StateStopped); err != nil {
			t.Fatal(err)
		}
	}
	off()
	refused(t, m.migrate("", false), 409, "instance_is_off", "spec.power")
	m.share(m.from, m.to)
	if err := m.migrate("", false); err != nil {
		t.Fatal(err)
	}
	if i := m.settle(); i.Placement.Host != m.from || i.Placement.Target == nil || !i.Placement.Target.Cold {
		t.Errorf("it has left before its host says that it is off and stays so: %+v", i.Placement)
	}
	if w := m.told(m.from); w.Outgoing == nil || !w.Outgoing.Cold || w.Outgoing.Cancelled {
		t.Errorf("its host is told %+v", w.Outgoing)
	}
	m.say(m.from, 1, api.StateStopped, api.Migration{Epoch: 2, Outgoing: api.OutgoingHandedOver})
	if i := m.settle(); i.Placement.Host != m.to || i.Placement.Epoch != 2 || i.Placement.Target != nil || i.Placement.From != m.from {
		t.Errorf("it is at %+v", i.Placement)
	}
}

// share puts the disks of hosts on one storage.
func (c *cloud) share(hosts ...string) {
	c.Helper()
	c.commit(func(v *store.View) (x store.Change, err error) {
		for _, id := range hosts {
			h := api.Clone(get[*api.Host](v, api.KindHost, id))
			h.Status.Storage = "nfs"
			x.Status = append(x.Status, h)
		}
		return x, nil
	})
}
