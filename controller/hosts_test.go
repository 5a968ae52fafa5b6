package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

func TestJoin_aTokenServesOnce(t *testing.T) {
	c := newCloud(t)
	tok := c.joinToken("j")
	got := atOnce(t, 5, func(n int) error {
		_, err := c.b.Join(c.ctx, api.JoinRequest{Secret: tok.Secret, Name: fmt.Sprint("h", n), CSR: csrFor(t)})
		return err
	})
	if got[""] != 1 || got["join_token_used"] != 4 {
		t.Errorf("the answers are %v", got)
	}
	if n := count(c.view(), api.KindHost, nil); n != 1 {
		t.Errorf("%d hosts", n)
	}
	_, err := c.b.Join(c.ctx, api.JoinRequest{Secret: tok.Secret, Name: "again", CSR: csrFor(t)})
	if p := refused(t, err, 409, "join_token_used", "secret"); !strings.Contains(p.Detail, "host h") {
		t.Errorf("it does not name the host: %s", p.Detail)
	}
}

// TestJoin_theSameMachineMayAskAgain: the client repeats what got no answer, and
// an agent that was killed before it had written the answer down starts anew.
func TestJoin_theSameMachineMayAskAgain(t *testing.T) {
	c := newCloud(t)
	soon := time.Now().Add(time.Hour)
	tok := &api.JoinToken{}
	tok.Name, tok.Spec.ExpiresAt = "j", &soon
	r := api.JoinRequest{Secret: c.create(tok).(*api.JoinToken).Secret, Name: "h", CSR: csrFor(t)}
	first, err := c.b.Join(c.ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.b.Join(c.ctx, r)
	if err != nil || second.HostID != first.HostID || second.Certificate == "" {
		t.Errorf("asked again: %+v, %v", second, err)
	}
	other := r
	other.CSR = csrFor(t)
	_, err = c.b.Join(c.ctx, other)
	refused(t, err, 409, "join_token_used", "secret")
	c.b.now = func() time.Time { return soon }
	_, err = c.b.Join(c.ctx, r)
	refused(t, err, 403, "join_token_expired", "secret")
	c.b.now = time.Now
	if _, err := c.b.Delete(c.ctx, c.write(), api.KindHost, first.HostID, true); err != nil {
		t.Fatal(err)
	}
	_, err = c.b.Join(c.ctx, r)
	refused(t, err, 409, "join_token_used", "secret")
}

func TestJoin_refusesAndSpendsNothing(t *testing.T) {
	c := newCloud(t)
	c.host("taken", 1, 1024, 10)
	tok := c.joinToken("j")
	soon := time.Now().Add(time.Hour)
	expired := &api.JoinToken{}
	expired.Name, expired.Spec.ExpiresAt = "e", &soon
	old := c.create(expired).(*api.JoinToken)
	wrong := tok.Secret[:len("cjt_")+len(tok.ID)+1] + strings.Repeat("A", 43) + tok.Secret[len(tok.Secret)-65:]
	for _, x := range []struct {
		name, secret, host, csr string
		status                  int
		code, field             string
	}{
		{"no token", "hello", "h", csrFor(t), 403, "join_token_invalid", "secret"},
		{"unknown token", strings.Replace(tok.Secret, tok.ID, "jtk_none", 1), "h", csrFor(t), 403, "join_token_invalid", "secret"},
		{"wrong secret", wrong, "h", csrFor(t), 403, "join_token_invalid", "secret"},
		{"name taken", tok.Secret, "taken", csrFor(t), 409, "name_taken", "name"},
		{"no CSR", tok.Secret, "h", "hello", 422, "invalid_value", "csr"},
	} {
		_, err := c.b.Join(c.ctx, api.JoinRequest{Secret: x.secret, Name: x.host, CSR: x.csr})
		refused(t, err, x.status, x.code, x.field)
	}
	if _, err := c.b.Join(c.ctx, api.JoinRequest{Secret: tok.Secret, Name: "No Name", CSR: csrFor(t)}); err == nil || !strings.Contains(err.Error(), "name: ") {
		t.Errorf("a bad name: %v", err)
	}
	c.b.now = func() time.Time { return soon.Add(time.Second) }
	_, err := c.b.Join(c.ctx, api.JoinRequest{Secret: old.Secret, Name: "h", CSR: csrFor(t)})
	refused(t, err, 403, "join_token_expired", "secret")
	c.b.now = time.Now
	r, err := c.b.Join(c.ctx, api.JoinRequest{Secret: tok.Secret, Name: "h", CSR: csrFor(t)})
	if err != nil || !strings.Contains(r.Certificate, "BEGIN CERTIFICATE") || !strings.Contains(r.CA, "BEGIN CERTIFICATE") {
		t.Fatalf("the token was spent by what was refused: %+v, %v", r, err)
	}
	if again, err := c.b.Renew(c.ctx, r.HostID, csrFor(t)); err != nil || again.HostID != r.HostID || again.Certificate == r.Certificate {
		t.Errorf("renew: %+v, %v", again, err)
	}
	_, err = c.b.Renew(c.ctx, "hst_none", csrFor(t))
	refused(t, err, 404, "not_found", "")
}

// TestReport_onlyTheHostsOwnUnderTheCurrentEpoch also holds that a report that
// says nothing new writes nothing.
func TestReport_onlyTheHostsOwnUnderTheCurrentEpoch(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	h1 := c.host("h1", 8, 8192, 100)
	c.place()
	id := c.create(instance("i")).GetMeta().ID
	c.until("it is placed", func(v api.View) bool { return placed(v.Get(api.KindInstance, id)) })
	h2 := c.host("h2", 8, 8192, 100)
	c.idle()

	if err := c.report(h1, id, 1, api.StateRunning); err != nil {
		t.Fatal(err)
	}
	i := c.getInstance(id)
	if s := i.Status; s.State != api.StateRunning || s.Host != "h1" || s.Epoch != 1 || len(s.Addresses) != 1 || s.Condition(conditionScheduled) == nil {
		t.Fatalf("the status is %+v", s)
	}
	before := c.view().Revision()
	for name, err := range map[string]error{
		"the same again":            c.report(h1, id, 1, api.StateRunning),
		"an old epoch":              c.report(h1, id, 0, api.StateFailed),
		"an old epoch, by another":  c.report(h2, id, 0, api.StateFailed),
		"an instance that was here": c.report(h1, "ins_none", 1, api.StateGone),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused(t, c.report(h2, id, 1, api.StateFailed), 403, "not_your_host", "[0].id")
	refused(t, c.report(h1, id, 2, api.StateFailed), 403, "not_your_host", "[0].id")
	refused(t, c.report(h1, id, 1, "flying"), 422, "invalid_value", "[0].instance.state")
	refused(t, c.say(h1, []api.Report{{Kind: api.KindHost, ID: h2, Host: &api.HostStatus{}}}), 403, "not_your_host", "[0].id")
	refused(t, c.say(h1, []api.Report{{Kind: api.KindNetwork, ID: c.network}}), 422, "invalid_value", "[0]")
	var large api.InstanceStatus
	large.State = api.StateRunning
	for n := range 1000 {
		large.Conditions = append(large.Conditions, api.Condition{Type: fmt.Sprint("T", n), Reason: strings.Repeat("x", 100)})
	}
	refused(t, c.say(h1, []api.Report{{Kind: api.KindInstance, ID: id, Epoch: 1, Instance: &large}}), 422, "invalid_value", "[0].instance")
	if v := c.view(); v.Revision() != before || c.getInstance(id).Status.State != api.StateRunning {
		t.Errorf("reports that say nothing new, or nothing that may be said, were written: revision %d, was %d", v.Revision(), before)
	}

	crash := api.EventSpec{Reason: "Crashed", Message: "the guest crashed", Warning: true, Time: time.Now()}
	s := &api.InstanceStatus{}
	s.State, s.ObservedGeneration = api.StateFailed, 1
	for range 2 {
		if _, err := c.b.Report(c.ctx, h1, 0, []api.Report{{Kind: api.KindInstance, ID: id, Epoch: 1, Instance: s, Events: []api.EventSpec{crash}}}); err != nil {
			t.Fatal(err)
		}
	}
	n := count(c.view(), api.KindEvent, func(o api.Object) bool {
		e := o.(*api.Event).Spec
		return e.Reason == "Crashed" && e.Actor == "host/h1" && e.Object == id && e.Name == "i"
	})
	if n != 1 {
		t.Errorf("a crash that was reported twice is %d events", n)
	}
}

func TestHosts_theirStateFollowsTheirHeartbeat(t *testing.T) {
	c := newCloud(t)
	c.run()
	id := c.host("h1", 4, 4096, 100)
	state := func(want api.State, event string) {
		t.Helper()
		c.until(string(want)+" and "+event, func(v api.View) bool {
			return v.Get(api.KindHost, id).(*api.Host).Status.State == want &&
				count(v, api.KindEvent, func(o api.Object) bool {
					return o.(*api.Event).Spec.Object == id && o.(*api.Event).Spec.Reason == event
				}) > 0
		})
	}
	state(api.StateReady, "HostReady")
	if _, err := c.store.SetAlive(c.ctx, id, false); err != nil {
		t.Fatal(err)
	}
	state(api.StateNotReady, "HostNotReady")
	_, err := c.b.Heartbeat(c.ctx, "hst_none")
	refused(t, err, 404, "not_found", "")
}

// wanted is what a host's agent knows, from its stream.
type wanted map[string]api.DesiredItem

func (w wanted) apply(items []api.DesiredItem) (synced bool) {
	for _, d := range items {
		switch d.Op {
		case "set":
			w[d.Kind+" "+d.ID] = d
		case "delete":
			delete(w, d.Kind+" "+d.ID)
		case "synced":
			synced = true
		}
	}
	return synced
}

// follow starts a stream and returns what it sent, item by item.
func (c *cloud) follow(host string) <-chan []api.DesiredItem {
	ctx, cancel := context.WithCancel(context.Background())
	out, done := make(chan []api.DesiredItem), make(chan struct{})
	go func() {
		defer close(done)
		for items, err := range c.b.Desired(ctx, host, 0, nil) {
			if err != nil {
				c.Error(err)
				return
			}
			select {
			case out <- items:
			case <-ctx.Done():
				return
			}
		}
	}()
	c.Cleanup(func() {
		cancel()
		<-done
	})
	return out
}

func (c *cloud) next(stream <-chan []api.DesiredItem, what string) []api.DesiredItem {
	c.Helper()
	select {
	case items := <-stream:
		return items
	case <-time.After(patience):
		c.Fatalf("waited in vain for %s", what)
		return nil
	}
}

// TestDesired_eachHostIsToldWhatItNeedsAndNothingElse follows two hosts, and
// compares what the differences came to with what a new stream says.
func TestDesired_eachHostIsToldWhatItNeedsAndNothingElse(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	h1 := c.host("h1", 8, 128, 100) // memory for one each
	h2 := c.host("h2", 8, 128, 100)
	c.run()
	streams := map[string]<-chan []api.DesiredItem{h1: c.follow(h1), h2: c.follow(h2)}
	know := map[string]wanted{h1: {}, h2: {}}
	for h, s := range streams {
		for synced := false; !synced; {
			synced = know[h].apply(c.next(s, "the first set"))
		}
		if len(know[h]) != 1 {
			t.Fatalf("an empty host knows %v", know[h])
		}
	}
	until := func(host, what string, ok func(w wanted) bool) {
		t.Helper()
		for !ok(know[host]) {
			know[host].apply(c.next(streams[host], what))
		}
	}
	a := c.create(instance("a")).(*api.Instance)
	b := c.create(instance("b")).(*api.Instance)
	c.until("both are placed", func(v api.View) bool { return count(v, api.KindInstance, placed) == 2 })
	at := map[string]*api.Instance{c.getInstance(a.ID).Placement.Host: a, c.getInstance(b.ID).Placement.Host: b}
	other := map[string]string{h1: h2, h2: h1}
	for h, i := range at {
		theirs := at[other[h]]
		until(h, "the map of the network", func(w wanted) bool { return len(w) == 6 }) // host, network, group, two ports, instance
		got := know[h]["instance "+i.ID].Instance
		if got == nil || got.Epoch != 1 || got.Image.SHA256 == "" || !reflect.DeepEqual(got.Ports, []string{i.Spec.NICs[0].Port}) {
			t.Errorf("the instance is %+v", got)
		}
		if know[h]["instance "+theirs.ID].Instance != nil {
			t.Error("a host is told of another host's instance")
		}
		mine, far := know[h]["port "+i.Spec.NICs[0].Port].Port, know[h]["port "+theirs.Spec.NICs[0].Port].Port
		if mine == nil || mine.Generation != 1 || far.Generation != 0 {
			t.Errorf("the status of a port is to answer to the generations %+v and %+v", mine, far)
		}
		if mine == nil || !mine.Local || mine.Hostname != i.Name || far == nil || far.Local || !far.Underlay.IsValid() || !slices.Equal(far.Addresses, theirs.Spec.NICs[0].Addresses) {
			t.Errorf("the map says %+v and %+v", mine, far)
		}
		if n := know[h]["network "+c.network].Network; n == nil || n.VNI == 0 || len(n.Subnets) != 1 {
			t.Errorf("the network is %+v", n)
		}
	}
	host := c.getInstance(a.ID).Placement.Host
	if _, err := c.b.Update(c.ctx, c.write(), api.KindInstance, a.ID, func(o api.Object) error {
		o.(*api.Instance).Spec.Power = api.PowerOff
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	until(host, "the power", func(w wanted) bool { return w["instance "+a.ID].Instance.Power == api.PowerOff })
	if _, err := c.b.Delete(c.ctx, c.write(), api.KindInstance, a.ID, false); err != nil {
		t.Fatal(err)
	}
	until(host, "the deletion", func(w wanted) bool { return w["instance "+a.ID].Instance.Deleting })
	if err := c.report(host, a.ID, 1, api.StateGone); err != nil {
		t.Fatal(err)
	}
	until(host, "an empty host", func(w wanted) bool { return len(w) == 1 })
	until(other[host], "the port's end", func(w wanted) bool { return len(w) == 5 })
	for h, w := range know {
		fresh := wanted{}
		s := c.follow(h)
		for synced := false; !synced; {
			synced = fresh.apply(c.next(s, "the first set"))
		}
		if !reflect.DeepEqual(fresh, w) {
			t.Errorf("the differences came to\n%v, and a new stream says\n%v", w, fresh)
		}
	}
}

// TestDesired_statusReportsWakeNobody: what agents report is no news to agents.
func TestDesired_statusReportsWakeNobody(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	h := c.host("h1", 8, 8192, 100)
	c.run()
	i := c.create(instance("i")).(*api.Instance)
	c.until("it is placed", func(v api.View) bool { return placed(v.Get(api.KindInstance, i.ID)) })
	s := c.follow(h)
	w := wanted{}
	for len(w) < 5 {
		w.apply(c.next(s, "all of it"))
	}
	if err := c.report(h, i.ID, 1, api.StateRunning); err != nil {
		t.Fatal(err)
	}
	if _, err := c.b.Update(c.ctx, c.write(), api.KindHost, h, func(o api.Object) error {
		o.(*api.Host).Spec.VCPUOvercommit = 8
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	items := c.next(s, "the host's new spec")
	if len(items) != 2 || items[1].Op != "synced" || items[0].Host == nil || items[0].Host.VCPUOvercommit != 8 {
		t.Errorf("the first news after a status report are %+v", items)
	}
}

// TestDesired_aNewPortCostsTheSameHoweverManyThereAre: a host that is only in the
// network is sent that one port, and nothing that grows with the network.
func TestDesired_aNewPortCostsTheSameHoweverManyThereAre(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/16")
	h1, h2 := c.host("h1", 100, 65536, 1000), c.host("h2", 100, 65536, 1000)
	c.run()
	placedOn := func(name, host string) *api.Instance {
		t.Helper()
		i := instance(name)
		i.Spec.RequiredLabels = map[string]string{"at": host}
		return c.create(i).(*api.Instance)
	}
	for _, h := range []string{h1, h2} {
		if _, err := c.b.Update(c.ctx, c.write(), api.KindHost, h, func(o api.Object) error {
			o.(*api.Host).Labels = map[string]string{"at": h}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	placedOn("anchor", h2)
	s, w := c.follow(h2), wanted{}
	for len(w) < 5 {
		w.apply(c.next(s, "all of it"))
	}
	// told is what h2 is sent of a port that comes to h1: how many items, and bytes.
	told := func(name string) (items, bytes int) {
		t.Helper()
		port := placedOn(name, h1).Spec.NICs[0].Port
		for w["port "+port].Port == nil {
			got := c.next(s, "the new port")
			w.apply(got)
			for _, x := range got {
				x.Revision = 0
				b, err := json.Marshal(x)
				if err != nil {
					t.Fatal(err)
				}
				items, bytes = items+1, bytes+len(b)
			}
		}
		return items, bytes
	}
	items, bytes := told("first-000")
	for i := range 40 {
		told(fmt.Sprintf("other-%03d", i))
	}
	if i, b := told("later-000"); i != items || b > bytes+8 || items > 2 { // an address has up to two digits more
		t.Errorf("of the first port a host is sent %d items, %d bytes; with 40 ports in the network %d, %d", items, bytes, i, b)
	}
}
