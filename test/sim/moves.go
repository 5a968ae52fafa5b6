package sim

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/api"
)

// lineTimeout is after what silence a hypervisor takes its line to another for broken.
const lineTimeout = 25 * time.Second

// peers reaches the agents of other machines, as their TLS would.
type peers struct{ driver }

// ask has the other agent's own handler answer.
func (p peers) ask(ctx context.Context, to api.HostOutgoing, method, path string) (*machine, *httptest.ResponseRecorder, error) {
	there := p.w.machineWithID(to.To)
	if there == nil {
		return nil, nil, errRefused
	}
	ctx, cancel := context.WithTimeoutCause(ctx, dialTimeout, errSilent)
	defer cancel()
	if _, err := p.w.pass(ctx, p.l, p.name, there.name, method+" "+path); err != nil {
		return nil, nil, err
	}
	l := there.running()
	there.mu.Lock()
	a := there.agent
	there.mu.Unlock()
	if l == nil || a == nil || a.l != l {
		return nil, nil, errRefused
	}
	r, err := http.NewRequestWithContext(ctx, method, path, http.NoBody)
	if err != nil {
		return nil, nil, err
	}
	p.mu.Lock()
	chain := []*x509.Certificate{p.agent.certificate.Leaf}
	p.mu.Unlock()
	r.TLS = &tls.ConnectionState{PeerCertificates: chain, VerifiedChains: [][]*x509.Certificate{chain}}
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r)
	if _, err := p.w.pass(ctx, l, there.name, p.name, "answers "+method+" "+path); err != nil {
		return nil, nil, errReset
	}
	if w.Code >= 300 {
		return nil, nil, errors.New(w.Body.String())
	}
	return there, w, nil
}

// Spec implements agent.Peers.
func (p peers) Spec(ctx context.Context, to api.HostOutgoing, instance string) (s agent.DomainSpec, err error) {
	_, w, err := p.ask(ctx, to, http.MethodGet, "/v1/incoming/"+instance)
	if err != nil {
		return s, err
	}
	if err = json.NewDecoder(bytes.NewReader(w.Body.Bytes())).Decode(&s); err == nil && s.Mark.Epoch != to.Epoch {
		err = fmt.Errorf("it is expected under epoch %d", s.Mark.Epoch)
	}
	return s, err
}

// Still implements agent.Peers.
func (p peers) Still(ctx context.Context, to api.HostOutgoing, instance string) error {
	_, _, err := p.ask(ctx, to, http.MethodPost, "/v1/incoming/"+instance)
	return err
}

// line is a channel between two hypervisors.
type line struct {
	net.Conn
	to *machine
}

// Dial implements agent.Peers. Who may have a channel may know the domain.
func (p peers) Dial(ctx context.Context, to api.HostOutgoing, instance string, _ agent.Channel) (net.Conn, error) {
	there, _, err := p.ask(ctx, to, http.MethodGet, "/v1/incoming/"+instance)
	if err != nil {
		return nil, err
	}
	return &line{to: there}, nil
}

// Receive implements agent.Hypervisor: lines are no bytes here.
func (d driver) Receive(context.Context, string, agent.Channel) (agent.Stream, error) {
	return nil, errRefused
}

// become changes a domain's state. The lock is held.
func (m *machine) become(id string, s agent.DomainState) {
	x := m.domains[id]
	x.State, x.Reason = s, agent.StopUnknown
	m.domains[id] = x
	m.tell(id, agent.EventChanged)
}

// remove ends a domain and its definition. The lock is held.
func (m *machine) remove(id string) {
	delete(m.domains, id)
	delete(m.specs, id)
	m.tell(id, agent.EventStopped)
}

// Migrate implements agent.Hypervisor.
func (d driver) Migrate(ctx context.Context, m agent.Migration) error {
	err := d.call(ctx, "migrate %s", m.Instance)
	here := d.domains[m.Instance].State
	d.mu.Unlock()
	if err != nil {
		return err
	}
	if here == agent.DomainMoving { // this hypervisor was killed in the midst of it
		here = agent.DomainPaused
	}
	var peer *machine
	var there *agent.DomainState
	if conn, err := m.Dial(ctx, agent.ChannelHypervisor); err == nil {
		peer = conn.(*line).to
		peer.mu.Lock()
		if s := peer.domains[m.Instance].State; peer.on {
			there = &s
		}
		peer.mu.Unlock()
	}
	t := transfer{driver: d, m: m, peer: peer}
	step, why := agent.NextStep(here, there, m.Stay)
	switch step {
	case agent.StepSend:
		return t.send(ctx)
	case agent.StepLetGo:
		return t.letGo(ctx)
	case agent.StepDone:
		return d.Undefine(ctx, m.Instance)
	case agent.StepStay:
		if here == agent.DomainPaused {
			t.change(d.machine, agent.DomainMoving, agent.DomainRunning)
			t.change(d.machine, agent.DomainPaused, agent.DomainRunning)
		}
		return &agent.StayedError{Err: why}
	default:
		return why
	}
}

// transfer is a domain on its way from one machine to another. What both hypervisors
// do by themselves when an agent or the line between them dies is done here too.
type transfer struct {
	driver
	m    agent.Migration
	peer *machine
}

// pass is a step over the line.
func (t transfer) pass(ctx context.Context, what string) (occasion int, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lineTimeout, errSilent)
	defer cancel()
	n, err := t.w.pass(ctx, t.l, t.name, t.peer.name, what+" "+t.m.Instance)
	if err == nil && t.w.faultOn(Full, t.peer.name) {
		err = errFull
	}
	return n, err
}

func (t transfer) send(ctx context.Context) error {
	spec, err := t.m.Spec(ctx)
	if err == nil {
		_, err = t.pass(ctx, "prepares")
	}
	if err == nil {
		err = t.prepare(spec)
	}
	if err != nil {
		return &agent.StayedError{Err: err}
	}
	const pieces = 3
	for n := range pieces {
		if _, err := t.pass(ctx, "copies"); err != nil {
			return t.undo(agent.DomainRunning, err)
		}
		t.m.Progress(int64(n+1), pieces)
	}
	if t.w.mutant == MutantRash {
		t.change(t.peer, agent.DomainMoving, agent.DomainRunning)
	}
	if !t.change(t.machine, agent.DomainRunning, agent.DomainMoving) {
		return t.undo(agent.DomainRunning, errors.New("its guest does not run"))
	}
	t.m.Still(ctx)
	n, err := t.pass(ctx, "hands over")
	if err != nil {
		// Either hypervisor may have been killed at that moment, too.
		if chance(t.w.seed, "killed "+t.m.Instance, n, 0.3) {
			t.change(t.peer, agent.DomainMoving, agent.DomainPaused)
			return err
		}
		return t.undo(agent.DomainMoving, err)
	}
	if !t.change(t.peer, agent.DomainMoving, agent.DomainPaused) {
		return t.undo(agent.DomainMoving, errors.New("it is no longer there"))
	}
	if _, err := t.pass(ctx, "confirms"); err != nil { // it goes on here, and lies there
		t.change(t.machine, agent.DomainMoving, agent.DomainRunning)
		return err
	}
	t.mu.Lock()
	t.remove(t.m.Instance)
	t.mu.Unlock()
	return t.letGo(ctx)
}

// prepare has the other hypervisor wait for the domain.
func (t transfer) prepare(spec agent.DomainSpec) error {
	t.mu.Lock()
	mark := t.domains[t.m.Instance].Mark
	t.mu.Unlock()
	mark.Epoch, mark.Digest, mark.Generation = spec.Mark.Epoch, spec.Mark.Digest, spec.Mark.Generation
	spec.Mark = mark
	t.peer.mu.Lock()
	defer t.peer.mu.Unlock()
	_, there := t.peer.domains[t.m.Instance]
	disk := t.peer.disks[t.m.Instance]
	switch {
	case !t.peer.on:
		return errRefused
	case there:
		return errors.New("there is such a domain already")
	case !disk.Root || disk.Away != t.m.Epoch:
		return errors.New("there is no disk for it")
	}
	for _, n := range spec.NICs {
		if !t.peer.hasTap(n.Tap) {
			return fmt.Errorf("no tap %s", n.Tap)
		}
	}
	t.peer.domains[t.m.Instance], t.peer.specs[t.m.Instance] = agent.Domain{Mark: mark, State: agent.DomainMoving}, spec
	t.peer.tell(t.m.Instance, agent.EventStarted)
	return nil
}

// turn changes a domain from one state to another; false where it is not in that one.
func (t transfer) change(on *machine, from, to agent.DomainState) bool {
	on.mu.Lock()
	defer on.mu.Unlock()
	if on.domains[t.m.Instance].State != from || on == t.peer && on.domains[t.m.Instance].Mark.Epoch != t.m.Epoch {
		return false
	}
	on.become(t.m.Instance, to)
	return true
}

// undo removes what has come, and has the guest go on here.
func (t transfer) undo(here agent.DomainState, why error) error {
	t.peer.mu.Lock()
	if x := t.peer.domains[t.m.Instance]; x.State == agent.DomainMoving && x.Mark.Epoch == t.m.Epoch {
		t.peer.remove(t.m.Instance)
	}
	t.peer.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if here == agent.DomainMoving {
		if t.domains[t.m.Instance].State == agent.DomainMoving {
			t.become(t.m.Instance, agent.DomainRunning)
		}
	}
	if t.domains[t.m.Instance].State != agent.DomainRunning {
		return why // what became of it is found out
	}
	return &agent.StayedError{Err: why}
}

func (t transfer) letGo(ctx context.Context) error {
	if _, err := t.pass(ctx, "lets go"); err != nil {
		return err
	}
	if !t.change(t.peer, agent.DomainPaused, agent.DomainRunning) {
		return errors.New("it does not stand still there")
	}
	return nil
}

func (w *world) machineWithID(host string) *machine {
	for _, m := range w.machines {
		m.mu.Lock()
		is := m.agent != nil && m.agent.host == host
		m.mu.Unlock()
		if is {
			return m
		}
	}
	return nil
}
