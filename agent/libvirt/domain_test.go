package libvirt

import (
	"context"
	"io"
	"iter"
	"strings"
	"syscall"
	"testing"
	"time"

	lv "libvirt.org/go/libvirt"

	"github.com/cairn-cloud/cairn/agent"
)

// patience bounds every wait on an event: a guest in TCG on a busy machine.
const patience = 60 * time.Second

// listener reads events one by one.
type listener struct {
	t    *testing.T
	next func() (agent.DomainEvent, error, bool)
}

func listen(t *testing.T, h *Hypervisor) *listener {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	next, stop := iter.Pull2(h.Events(ctx))
	t.Cleanup(func() { cancel(); stop() })
	return &listener{t: t, next: next}
}

// until reads on to an event of that kind.
func (l *listener) until(instance string, kind agent.EventKind) {
	l.t.Helper()
	for {
		e, _, ok := l.next()
		if !ok {
			l.t.Fatalf("no event %s of %s came", kind, instance)
		}
		if e.Instance == instance && e.Kind == kind {
			return
		}
	}
}

// connection reads on to the loss of the connection, or to its return.
func (l *listener) connection(lost bool) {
	l.t.Helper()
	for {
		e, err, ok := l.next()
		if !ok {
			l.t.Fatal("the connection did not change")
		}
		if (err != nil) == lost && e == (agent.DomainEvent{}) {
			return
		}
	}
}

func one(t *testing.T, h *Hypervisor) agent.Domain {
	t.Helper()
	ds, err := h.Domains(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(ds) != 1 {
		t.Fatalf("%d domains, want 1: %+v", len(ds), ds)
	}
	return ds[0]
}

// twice does it twice: every operation may be repeated.
func twice(t *testing.T, what string, f func(context.Context, string) error, instance string) {
	t.Helper()
	for range 2 {
		if err := f(t.Context(), instance); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func TestHypervisor_lifeOfADomain(t *testing.T) {
	l := agent.Layout(t.TempDir())
	h := newDaemon(t).open(l)
	ev := listen(t, h)
	s := makeSpec(t, l, "ins_a", buttonGuest)
	for range 2 {
		if err := h.Define(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if d := one(t, h); d.Mark != s.Mark || d.State != agent.DomainStopped {
		t.Fatalf("after define: %+v", d)
	}
	twice(t, "start", h.Start, "ins_a")
	ev.until("ins_a", agent.EventStarted)
	if d := one(t, h); d.State != agent.DomainRunning {
		t.Fatalf("after start: %+v", d)
	}
	awaitConsole(t, h, "ins_a", "up\n")
	m := s.Mark
	m.Reboots, m.StartedAt = 3, time.Unix(1700000000, 5).UTC()
	if err := h.SetMark(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	twice(t, "shutdown", h.Shutdown, "ins_a")
	ev.until("ins_a", agent.EventStopped)
	if d := one(t, h); d.State != agent.DomainStopped || d.Reason != agent.StopShutdown || d.Mark != m {
		t.Fatalf("after the power button: %+v, want the mark %+v", d, m)
	}
	twice(t, "shutdown of a stopped one", h.Shutdown, "ins_a")
	twice(t, "start", h.Start, "ins_a")
	twice(t, "destroy", h.Destroy, "ins_a")
	if d := one(t, h); d.Reason != agent.StopDestroy {
		t.Fatalf("after destroy: %+v", d)
	}
	twice(t, "undefine", h.Undefine, "ins_a")
	if ds, err := h.Domains(t.Context()); err != nil || len(ds) != 0 {
		t.Fatalf("after undefine: %+v, %v", ds, err)
	}
}

// awaitConsole waits for text on the guest's console by watching the file's
// directory through the log itself: the guest writes it before it sleeps.
func awaitConsole(t *testing.T, h *Hypervisor, instance, text string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		if f, err := h.ConsoleLog(t.Context(), instance); err == nil {
			b, _ := io.ReadAll(f)
			_ = f.Close()
			if strings.Contains(string(b), text) {
				return
			}
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("the console never said %q", text)
		}
	}
}

func TestHypervisor_tellsCrashFromShutdown(t *testing.T) {
	l := agent.Layout(t.TempDir())
	d := newDaemon(t)
	h := d.open(l)
	ev := listen(t, h)
	define(t, h, makeSpec(t, l, "ins_halts", haltingGuest))
	twice(t, "start", h.Start, "ins_halts")
	ev.until("ins_halts", agent.EventStopped)
	if got := one(t, h); got.Reason != agent.StopShutdown {
		t.Errorf("a guest that switches itself off: %+v", got)
	}
	if err := h.Undefine(t.Context(), "ins_halts"); err != nil {
		t.Fatal(err)
	}
	define(t, h, makeSpec(t, l, "ins_dies", deafGuest))
	twice(t, "start", h.Start, "ins_dies")
	ev.until("ins_dies", agent.EventStarted)
	if err := syscall.Kill(d.qemuPID("ins_dies"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ev.until("ins_dies", agent.EventCrashed)
	if got := one(t, h); got.State != agent.DomainStopped || got.Reason != agent.StopCrash {
		t.Errorf("a QEMU that was killed: %+v", got)
	}
}

func define(t *testing.T, h *Hypervisor, s agent.DomainSpec) {
	t.Helper()
	if err := h.Define(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

func TestHypervisor_rebootsSoftAndHard(t *testing.T) {
	l := agent.Layout(t.TempDir())
	d := newDaemon(t)
	h := d.open(l)
	ev := listen(t, h)
	define(t, h, makeSpec(t, l, "ins_a", buttonGuest))
	twice(t, "start", h.Start, "ins_a")
	awaitConsole(t, h, "ins_a", "up\n")
	pid := d.qemuPID("ins_a")
	if err := h.Reboot(t.Context(), "ins_a", false); err != nil {
		t.Fatal(err)
	}
	ev.until("ins_a", agent.EventRebooted)
	awaitConsole(t, h, "ins_a", "up\nup\n")
	if err := h.Reboot(t.Context(), "ins_a", true); err != nil {
		t.Fatal(err)
	}
	ev.until("ins_a", agent.EventRebooted)
	if got := d.qemuPID("ins_a"); got != pid {
		t.Errorf("QEMU is another process (%d, was %d): the domain did not only restart its guest", got, pid)
	}
}

func TestHypervisor_domainsOutliveLibvirtd(t *testing.T) {
	l := agent.Layout(t.TempDir())
	d := newDaemon(t)
	h := d.open(l)
	ev := listen(t, h)
	s := makeSpec(t, l, "ins_a", buttonGuest)
	define(t, h, s)
	twice(t, "start", h.Start, "ins_a")
	awaitConsole(t, h, "ins_a", "up\n")
	pid := d.qemuPID("ins_a")
	d.kill()
	ev.connection(true)
	if _, err := h.Domains(t.Context()); err == nil || !strings.Contains(err.Error(), "no connection to libvirt") {
		t.Errorf("a call while libvirtd is dead: %v, want an error that says so", err)
	}
	d.start()
	ev.connection(false)
	if got := one(t, h); got.State != agent.DomainRunning || got.Mark != s.Mark {
		t.Errorf("adopted: %+v", got)
	}
	if got := d.qemuPID("ins_a"); got != pid {
		t.Errorf("QEMU is another process: %d, was %d", got, pid)
	}
	if err := h.Destroy(t.Context(), "ins_a"); err != nil {
		t.Fatal(err)
	}
	// Events have resumed on the new connection. (Of an end so soon after its own
	// start libvirtd may say nothing: it is only finding its domains again.)
	twice(t, "start", h.Start, "ins_a")
	ev.until("ins_a", agent.EventStarted)
}

func TestHypervisor_leavesDomainsOfOthersAlone(t *testing.T) {
	l := agent.Layout(t.TempDir())
	h := newDaemon(t).open(l)
	c, _, err := h.get()
	if err != nil {
		t.Fatal(err)
	}
	defer release(c)
	foreign := `<domain type='qemu'><name>ins_x</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>`
	if _, err := c.DomainDefineXML(foreign); err != nil {
		t.Fatal(err)
	}
	if ds, err := h.Domains(t.Context()); err != nil || len(ds) != 0 {
		t.Errorf("the domain of another is listed: %+v, %v", ds, err)
	}
	ops := map[string]func(context.Context, string) error{
		"start": h.Start, "destroy": h.Destroy, "shutdown": h.Shutdown, "undefine": h.Undefine,
		"define": func(ctx context.Context, id string) error { return h.Define(ctx, makeSpec(t, l, id, deafGuest)) },
		"reboot": func(ctx context.Context, id string) error { return h.Reboot(ctx, id, true) },
		"mark":   func(ctx context.Context, id string) error { return h.SetMark(ctx, agent.Mark{Instance: id}) },
	}
	for name, op := range ops {
		if err := op(t.Context(), "ins_x"); err == nil || !strings.Contains(err.Error(), "Cairn did not make") {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	if d, err := c.LookupDomainByName("ins_x"); err != nil {
		t.Error(err)
	} else if state, _, _ := d.GetState(); state != lv.DOMAIN_SHUTOFF {
		t.Errorf("its state changed to %v", state)
	}
}
