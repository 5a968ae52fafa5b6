package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
)

// report says what a host's agent says of an instance.
func (c *cloud) report(host, instance string, epoch int64, state api.State) error {
	s := &api.InstanceStatus{}
	s.State, s.ObservedGeneration = state, 1
	return c.say(host, []api.Report{{Kind: api.KindInstance, ID: instance, Epoch: epoch, Instance: s}})
}

func (c *cloud) getInstance(id string) *api.Instance {
	return get[*api.Instance](c.view(), api.KindInstance, id)
}

// TestDelete_inWhateverStateAnInstanceIs: it can be deleted, and deletion ends.
func TestDelete_inWhateverStateAnInstanceIs(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	host := c.host("h1", 8, 8192, 100)
	c.run()
	for _, state := range []api.State{"", api.StatePending, api.StateStarting, api.StateRunning, api.StateStopping, api.StateStopped, api.StateFailed} {
		id := c.create(instance("i" + strings.ReplaceAll(string(state), "_", "-"))).GetMeta().ID
		c.until("it is placed", func(v api.View) bool { return placed(v.Get(api.KindInstance, id)) })
		if state != "" {
			if err := c.report(host, id, 1, state); err != nil {
				t.Fatal(err)
			}
		}
		done, err := c.b.Delete(c.ctx, c.write(), api.KindInstance, id, false)
		if err != nil || done.Object == nil || !done.Object.GetMeta().Deleting() {
			t.Fatalf("%s: delete returned %+v, %v", state, done.Object, err)
		}
		if _, err := c.b.Delete(c.ctx, c.write(), api.KindInstance, id, false); err != nil {
			t.Errorf("%s: deleted once more: %v", state, err)
		}
		_, err = c.b.Update(c.ctx, c.write(), api.KindInstance, id, func(api.Object) error { return nil })
		refused(t, err, 409, "being_deleted", "")
		if err := c.report(host, id, 1, api.StateGone); err != nil {
			t.Fatal(err)
		}
		c.until("it is gone", func(v api.View) bool { return v.Get(api.KindInstance, id) == nil })
	}
	c.nothingLeft()
}

// TestDelete_waitsForTheCurrentPlacement: that nothing is left where the
// instance once was says nothing of where it is.
func TestDelete_waitsForTheCurrentPlacement(t *testing.T) {
	c := newCloud(t)
	host := c.host("h1", 8, 8192, 100)
	v, now := c.view(), time.Now()
	for _, x := range []struct {
		name     string
		host     string
		deleting bool
		state    api.State
		epoch    int64
		want     bool
	}{
		{"never placed", "", false, api.StatePending, 0, true},
		{"placed", host, true, api.StateRunning, 2, false},
		{"gone from an earlier host", host, true, api.StateGone, 1, false},
		{"gone, but not to be deleted", host, false, api.StateGone, 2, false},
		{"gone", host, true, api.StateGone, 2, true},
		{"on a host that is no more", "hst_none", true, api.StateRunning, 2, true},
	} {
		i := &api.Instance{}
		i.Placement = api.Placement{Host: x.host, Epoch: 2}
		i.Status.State, i.Status.Epoch = x.state, x.epoch
		if x.deleting {
			i.DeletedAt = &now
		}
		if got, _ := leftHost(v, i); got != x.want {
			t.Errorf("%s: left its host: %v", x.name, got)
		}
	}
}

// nothingLeft: no port, address, count or reservation of instances is there.
func (c *cloud) nothingLeft() {
	c.Helper()
	v := c.view()
	if n := count(v, api.KindInstance, nil) + count(v, api.KindPort, nil); n != 0 {
		c.Errorf("%d instances and ports are left", n)
	}
	for name, n := range v.Used(api.QuotaKey(c.project)) {
		if n != 0 && name != "networks" && name != "image_gib" {
			c.Errorf("%d %s are still counted", n, name)
		}
	}
	for o := range v.List(api.KindHost, "", "") {
		for name, n := range v.Used(api.ReservationKey(o.GetMeta().ID)) {
			if n != 0 {
				c.Errorf("%d %s are still reserved on %s", n, name, o.GetMeta().Name)
			}
		}
	}
}

func TestDelete_anUnplacedInstanceGoesAtOnce(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	own := &api.Port{}
	own.Name, own.Spec.Network = "own", "net"
	portID := c.create(own).GetMeta().ID
	i := instance("i")
	i.Spec.NICs = append(i.Spec.NICs, api.NIC{Port: "own"})
	id := c.create(i).GetMeta().ID
	if p := get[*api.Port](c.view(), api.KindPort, portID); p.Spec.Instance != id || p.Spec.Owned {
		t.Fatalf("the port is not attached: %+v", p.Spec)
	}
	_, err := c.b.Delete(c.ctx, c.write(), api.KindPort, portID, false)
	refused(t, err, 409, "in_use", "spec.instance")
	done, err := c.b.Delete(c.ctx, c.write(), api.KindInstance, id, false)
	if err != nil || done.Object != nil {
		t.Fatalf("delete returned %+v, %v", done.Object, err)
	}
	p := get[*api.Port](c.view(), api.KindPort, portID)
	if p == nil || p.Spec.Instance != "" {
		t.Fatalf("a port that was made by itself is not detached: %+v", p)
	}
	if _, err := c.b.Delete(c.ctx, c.write(), api.KindPort, portID, false); err != nil {
		t.Fatal(err)
	}
	c.nothingLeft()
}

func TestDelete_refusesWhatIsInUseOrProtected(t *testing.T) {
	c := newCloud(t)
	sub := c.subnet("sub", "10.0.0.0/24")
	c.create(instance("i"))
	for kind, id := range map[string]string{api.KindNetwork: c.network, api.KindSubnet: sub, api.KindImage: c.image, api.KindProject: c.project} {
		_, err := c.b.Delete(c.ctx, c.write(), kind, id, false)
		p := refused(t, err, 409, "in_use", "")
		if !strings.Contains(p.Detail, "is in use by ") {
			t.Errorf("%s: it says %q", kind, p.Detail)
		}
	}
	n := &api.Network{}
	n.Name, n.Protected = "kept", true
	id := c.create(n).GetMeta().ID
	_, err := c.b.Delete(c.ctx, c.write(), api.KindNetwork, id, false)
	refused(t, err, 409, "protected", "protected")
	member := c.write()
	member.Principal.Cloud = false
	_, err = c.b.Delete(c.ctx, member, api.KindNetwork, id, true)
	refused(t, err, 403, "forbidden", "force")
	_, err = c.b.Delete(c.ctx, c.write(), api.KindNetwork, "net_none", false)
	refused(t, err, 404, "not_found", "")
}

// TestDelete_byForceWhereTheHostIsLost: a host that will not come back keeps no
// instance; one that reports does its own cleaning.
func TestDelete_byForceWhereTheHostIsLost(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	host := c.host("h1", 8, 8192, 100)
	c.run()
	id := c.create(instance("i")).GetMeta().ID
	c.until("it is placed", func(v api.View) bool { return placed(v.Get(api.KindInstance, id)) })
	_, err := c.b.Delete(c.ctx, c.write(), api.KindHost, host, true)
	refused(t, err, 409, "in_use", "")
	_, err = c.b.Delete(c.ctx, c.write(), api.KindInstance, id, true)
	refused(t, err, 409, "host_alive", "force")
	if _, err := c.store.SetAlive(c.ctx, host, false); err != nil {
		t.Fatal(err)
	}
	c.until("the host is silent", func(v api.View) bool { return !v.Alive(host) })
	_, err = c.b.Delete(c.ctx, c.write(), api.KindHost, host, false)
	if p := refused(t, err, 409, "in_use", ""); !strings.Contains(p.Hint, "by force") {
		t.Errorf("the hint is %q", p.Hint)
	}
	done, err := c.b.Delete(c.ctx, c.write(), api.KindInstance, id, false)
	if err != nil || done.Object == nil {
		t.Fatalf("%+v, %v", done.Object, err)
	}
	says := c.getInstance(id).Status.Condition(conditionHost)
	if says == nil || says.OK || !strings.Contains(says.Message, "host h1 has not been heard of: it goes when") {
		t.Errorf("whoever deletes it is not told what it waits for: %+v", says)
	}
	if v, err := c.store.View(c.ctx, 0); err != nil || v.Get(api.KindInstance, id).(*api.Instance).Status.Condition(conditionHost) != nil {
		t.Errorf("what is merged in when an instance is read was stored: %v", err)
	}
	if done, err := c.b.Delete(c.ctx, c.write(), api.KindInstance, id, true); err != nil || done.Object != nil {
		t.Fatalf("%+v, %v", done.Object, err)
	}
	if done, err := c.b.Delete(c.ctx, c.write(), api.KindHost, host, false); err != nil || done.Object != nil {
		t.Fatalf("%+v, %v", done.Object, err)
	}
	c.nothingLeft()
}

// TestPlacement_asSoonAsRoomAppears: an instance that fits nowhere says why, and
// is placed when another one goes, or a host comes.
func TestPlacement_asSoonAsRoomAppears(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	c.run()
	first := c.create(instance("first")).GetMeta().ID
	c.until("it says that there is no host", func(v api.View) bool {
		i := v.Get(api.KindInstance, first).(*api.Instance)
		s := i.Status.Condition(conditionScheduled)
		return strings.Contains(i.Placement.Reason, "there is no host yet") && s != nil && !s.OK && s.Reason == "NoHostFits"
	})
	host := c.host("h1", 8, 128, 100) // memory for one
	c.until("it is placed on the host that came", func(v api.View) bool { return placed(v.Get(api.KindInstance, first)) })
	second := c.create(instance("second")).GetMeta().ID
	c.until("the second says which filter rejected how many hosts", func(v api.View) bool {
		r := v.Get(api.KindInstance, second).(*api.Instance).Placement.Rejected
		return len(r) == 1 && r[0] == api.Rejected{Filter: "memory", Hosts: 1, Detail: "of 128 MiB of memory asked for, the nearest host lacks 128"}
	})
	if _, err := c.b.Delete(c.ctx, c.write(), api.KindInstance, first, false); err != nil {
		t.Fatal(err)
	}
	if err := c.report(host, first, 1, api.StateGone); err != nil {
		t.Fatal(err)
	}
	c.until("the second is placed", func(v api.View) bool {
		i := v.Get(api.KindInstance, second).(*api.Instance)
		s := i.Status.Condition(conditionScheduled)
		return i.Placement.Host == host && i.Placement.Epoch == 1 && len(i.Placement.Rejected) == 0 && s != nil && s.OK
	})
	c.sound()
}

func TestInstances_waitForTheirImage(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	c.host("h1", 8, 8192, 100)
	c.run()
	img := &api.Image{}
	img.Name = "slow"
	imgID := c.create(img).GetMeta().ID
	var ids []string
	for n := range 2 {
		i := instance(fmt.Sprint("i", n))
		i.Spec.Image = "slow"
		ids = append(ids, c.create(i).GetMeta().ID)
	}
	c.until("they say that they wait", func(v api.View) bool {
		return count(v, api.KindInstance, func(o api.Object) bool {
			s := o.(*api.Instance).Status.Condition(conditionImage)
			return s != nil && !s.OK && s.Reason == "Waiting" && !placed(o)
		}) == 2
	})
	set := func(state api.State, virtual int64) {
		c.commit(func(v *store.View) (store.Change, error) {
			n := imageStatus(get[*api.Image](v, api.KindImage, imgID), state, api.Condition{OK: state == api.StateReady, Reason: "Test", Message: "a test"})
			n.Status.VirtualSizeBytes, n.Status.SHA256 = virtual, strings.Repeat("a", 64)
			return store.Change{Status: []api.Object{n}}, nil
		})
	}
	set(api.StateFailed, 0)
	c.until("they say that it failed", func(v api.View) bool {
		return v.Get(api.KindInstance, ids[0]).(*api.Instance).Status.Condition(conditionImage).Reason == "Failed"
	})
	late := instance("late")
	late.Spec.Image = "slow"
	_, err := c.try(c.write(), late)
	refused(t, err, 422, "image_failed", "spec.image")
	set(api.StateReady, 1<<40)
	c.until("they say that their disk is too small", func(v api.View) bool {
		return v.Get(api.KindInstance, ids[0]).(*api.Instance).Status.Condition(conditionImage).Reason == "DiskTooSmall"
	})
	set(api.StateReady, 1<<30)
	c.until("they are placed", func(v api.View) bool { return count(v, api.KindInstance, placed) == 2 })
}
