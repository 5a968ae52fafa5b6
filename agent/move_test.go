package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

var otherHost = netip.MustParseAddr("192.0.2.2")

// coming is a host to which ins_a comes from hst_b under the epoch.
func coming(epoch int64) api.HostDesired {
	i := testInstance("ins_a")
	i.Epoch, i.Incoming = epoch, &api.HostIncoming{From: "hst_b"}
	d := testDesired(i)
	for id, p := range d.Ports {
		p.Local, p.Incoming, p.Underlay, p.Generation = false, true, otherHost, 0
		d.Ports[id] = p
	}
	return d
}

// leaving is a host from which ins_a goes to hst_b.
func leaving(cancelled bool) api.HostDesired {
	i := testInstance("ins_a")
	i.Outgoing = &api.HostOutgoing{To: "hst_b", Underlay: otherHost, Epoch: 2, Disks: true, Cancelled: cancelled}
	return testDesired(i)
}

// ofInstances is a plan without the host's own part.
func ofInstances(actions []Action) string {
	return golden(slices.DeleteFunc(actions, func(a Action) bool { return a.Target() == "" }))
}

func TestPlan_makesAllReadyForWhatComesAndStartsNothing(t *testing.T) {
	w, memory := newWorld(), map[string]Memory{}
	plan := func(want api.HostDesired) string { return ofInstances(Plan(want, w.observed(memory), testStart)) }
	if got, want := plan(coming(2)), `ins_a: fetch image img_a
ins_a: create root disk of 1 GiB
ins_a: write config drive
`; got != want {
		t.Errorf("at first:\n%swant\n%s", got, want)
	}
	converge(t, w, coming(2), memory, testStart)
	if len(w.domains) != 0 || w.disks["ins_a"].Away != 2 {
		t.Errorf("there are the domains %v and the disks %v", w.domains, w.disks)
	}
	// What an earlier attempt has filled half is not gone on with.
	if got, want := plan(coming(4)), `ins_a: remove disks
ins_a: create root disk of 1 GiB
ins_a: write config drive
`; got != want {
		t.Errorf("another attempt:\n%swant\n%s", got, want)
	}
	w.domains["ins_a"] = Domain{Mark: Mark{Instance: "ins_a", Epoch: 2}, State: DomainMoving}
	if got := plan(coming(2)); got != "" {
		t.Errorf("while it comes:\n%s", got)
	}
	if got, want := plan(coming(4)), `ins_a: pull the plug: it ran under a placement that has passed
ins_a: undefine
ins_a: remove disks
ins_a: create root disk of 1 GiB
ins_a: write config drive
`; got != want {
		t.Errorf("what an earlier attempt left:\n%swant\n%s", got, want)
	}
}

// TestPlan_sends tells what the present host does until it is known how it ended, and then.
func TestPlan_sends(t *testing.T) {
	w, memory := converged(t, testDesired(testInstance("ins_a")))
	plan := func(want api.HostDesired) string { return ofInstances(Plan(want, w.observed(memory), testStart)) }
	const send = "ins_a: send to hst_b under epoch 2\n"
	if got := plan(leaving(false)); got != "ins_a: note: it begins to be sent\n"+send {
		t.Errorf("at first:\n%s", got)
	}
	if got := plan(leaving(true)); got != "ins_a: give up sending it\n"+send {
		t.Errorf("when it is given up:\n%s", got)
	}
	m := memory["ins_a"]
	m.Move = Move{Epoch: 2, State: api.OutgoingFailed}
	memory["ins_a"] = m
	if got := plan(leaving(false)); got != "" {
		t.Errorf("when it failed:\n%s", got)
	}
	w.stop("ins_a", StopCrash)
	if got := plan(leaving(false)); got == "" {
		t.Error("a guest that stayed is not looked after")
	}
	delete(w.domains, "ins_a")
	m.Move.State = api.OutgoingHandedOver
	memory["ins_a"] = m
	if got := plan(leaving(false)); got != "" {
		t.Errorf("when it has left, \n%s", got)
	}
	delete(memory, "ins_a") // the agent was restarted
	w.domains["ins_a"] = Domain{Mark: Mark{Instance: "ins_a", Epoch: 1, Sent: 2}, State: DomainRunning}
	actions := Plan(leaving(false), w.observed(memory), testStart)
	if m, ok := actions[len(actions)-1].(Migrate); !ok || !m.To.Cancelled {
		t.Errorf("what an agent before it began is sent again: %v", actions)
	}
	delete(w.domains, "ins_a")
	if got := plan(leaving(false)); got != send {
		t.Errorf("when it is not known whether it has left:\n%s", got)
	}
}

// TestSituate_framesFindTheGuestWhereItIs before the control plane has heard of it.
func TestSituate_framesFindTheGuestWhereItIs(t *testing.T) {
	in := func(epoch int64, s DomainState) map[string]Domain {
		return map[string]Domain{"ins_a": {Mark: Mark{Epoch: epoch}, State: s}}
	}
	for _, c := range []struct {
		name  string
		want  api.HostDesired
		have  map[string]Domain
		still int64
		local bool
	}{
		{"nothing is here yet", coming(2), nil, 0, false},
		{"it is coming", coming(2), in(2, DomainMoving), 0, false},
		{"it is coming, and stands still there", coming(2), in(2, DomainMoving), 2, true},
		{"it stood still there in an earlier attempt", coming(4), in(4, DomainMoving), 2, false},
		{"it is here and stands still", coming(2), in(2, DomainPaused), 0, true},
		{"it runs here", coming(2), in(2, DomainRunning), 0, true},
		{"an earlier attempt lies here", coming(4), in(2, DomainPaused), 0, false},
		{"it runs here still", leaving(false), in(1, DomainRunning), 0, true},
		{"it stands still to leave", leaving(false), in(1, DomainMoving), 0, false},
		{"it has left", leaving(false), nil, 0, false},
		{"it is off", leaving(false), in(1, DomainStopped), 0, true},
	} {
		p := situate(c.want, Observed{Domains: c.have, Memory: map[string]Memory{"ins_a": {Still: c.still}}}).Ports["prt_ins_a"]
		if w := c.want.Instances["ins_a"]; p.Local && w.Incoming != nil && p.Also != otherHost {
			t.Errorf("%s: what its old host sends on is not taken: %+v", c.name, p)
		}
		if p.Local != c.local || p.Local == p.Incoming || !p.Local && p.Underlay != otherHost {
			t.Errorf("%s: the port is %+v", c.name, p)
		}
	}
}

func TestMigrate_whatIsNotKnownIsFoundOut(t *testing.T) {
	w, memory := converged(t, testDesired(testInstance("ins_a")))
	calls := 0
	w.migrate = func(context.Context, Migration) error {
		if calls++; calls < 3 {
			return errors.New("the line was cut")
		}
		return &StayedError{errors.New("it was refused")}
	}
	converge(t, w, leaving(false), memory, testStart)
	if m := memory["ins_a"].Move; calls != 3 || m.State != api.OutgoingFailed || m.Message != "it was refused" {
		t.Errorf("after %d calls: %+v", calls, m)
	}
	if w.domains["ins_a"].State != DomainRunning {
		t.Errorf("the guest is %+v", w.domains["ins_a"])
	}
}

// TestPeers_onlyTheHostThatItComesFrom sees what it is to be, and has channels to it.
func TestPeers_onlyTheHostThatItComesFrom(t *testing.T) {
	ca := newAuthority()
	identity := func(host, organization string) *Identity {
		id := &Identity{HostID: host, ca: ca.pem}
		c := ca.issue(host, organization)
		id.cert.Store(&c)
		return id
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	var stood int64
	in := &receiver{
		hypervisor: fakeHypervisor{newWorld()}, layout: "/state", underlay: testUnderlay, wanted: func() api.HostDesired { return coming(2) }, log: log,
		still: func(_ context.Context, i api.HostInstance) { stood = i.Epoch },
	}
	h := http.NewServeMux()
	in.routes(h)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l, identity("127.0.0.1", hostOrganization), h, log) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		in.streams.Wait()
	}()
	to := api.HostOutgoing{To: "127.0.0.1", URL: "https://" + l.Addr().String(), Epoch: 2}
	source := NewPeers(identity("hst_b", hostOrganization))
	s, err := source.Spec(ctx, to, "ins_a")
	if err != nil || s.Mark.Epoch != 2 || s.ConsoleLog != "/state/instances/ins_a/console.log" {
		t.Errorf("it is to be %+v, %v", s, err)
	}
	late := to
	late.Epoch = 3
	if _, err := source.Spec(ctx, late, "ins_a"); err == nil {
		t.Error("another epoch was taken for this one")
	}
	if err := source.Still(ctx, to, "ins_a"); err != nil || stood != 2 {
		t.Errorf("its guest stands still under %d, %v", stood, err)
	}
	conn, err := source.Dial(ctx, to, "ins_a", ChannelMemory)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err = conn.Write([]byte("bytes")); err == nil {
		_, err = io.ReadFull(conn, b)
	}
	if err != nil || string(b) != "bytes" {
		t.Errorf("the channel says %q, %v", b, err)
	}
	if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	for name, id := range map[string]*Identity{"another host": identity("hst_c", hostOrganization), "a controller": identity("hst_b", controllerOrganization)} {
		if _, err := NewPeers(id).Dial(ctx, to, "ins_a", ChannelHypervisor); err == nil {
			t.Errorf("%s has a channel", name)
		}
		if err := NewPeers(id).Still(ctx, to, "ins_a"); err == nil {
			t.Errorf("%s says that the guest stands still", name)
		}
	}
	for _, id := range []string{"ins_z", "../ins_a"} {
		if _, err := source.Dial(ctx, to, id, ChannelMemory); err == nil {
			t.Errorf("%s has a channel", id)
		}
	}
	if _, err := source.Dial(ctx, to, "ins_a", "shell"); err == nil {
		t.Error("there is a channel that there is not")
	}
}
