package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// UpOptions say what Up makes.
type UpOptions struct {
	Hosts          int    // how many there are to be at least
	Controllers    int    // the same; default 1
	Virtualization string // of the hosts: auto, kvm or qemu
}

// Up starts all of the lab that does not run, and returns when every host is
// ready. It may be repeated, also after it was interrupted or a machine died.
func (l *Lab) Up(ctx context.Context, o UpOptions) error {
	if o.Hosts < 1 || o.Hosts > MaxHosts {
		return fmt.Errorf("a lab of %d hosts: it has 1 to %d", o.Hosts, MaxHosts)
	}
	if o.Controllers < 0 || o.Controllers > MaxControllers {
		return fmt.Errorf("a lab of %d controllers: it has 1 to %d", o.Controllers, MaxControllers)
	}
	if err := checkNeeded(); err != nil {
		return err
	}
	return l.alone(func() error { return l.up(ctx, o) })
}

func (l *Lab) up(ctx context.Context, o UpOptions) error {
	if err := l.settlePlan(); err != nil {
		return err
	}
	if err := l.makeFabric(); err != nil {
		return err
	}
	if err := l.upController(ctx, 1); err != nil {
		return err
	}
	c, err := l.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := l.upOthers(ctx, c, o.Controllers); err != nil {
		return err
	}
	size, err := share(l.o.Dir, o.Hosts)
	if err != nil {
		return err
	}
	wanted, err := l.hosts()
	if err != nil {
		return err
	}
	for n := len(wanted) + 1; n <= o.Hosts; n++ {
		wanted = append(wanted, n)
	}
	for _, n := range wanted {
		if err := l.upHost(ctx, c, n, size, o.Virtualization); err != nil {
			return err
		}
	}
	return l.awaitHosts(ctx, c, wanted)
}

func (l *Lab) settlePlan() (err error) {
	if err := os.MkdirAll(l.o.Dir, 0o755); err != nil {
		return fmt.Errorf("make the lab's directory: %w", err)
	}
	if l.known {
		return nil
	}
	if l.plan.Fabric, err = chooseFabric(); err != nil {
		return err
	}
	b, err := json.Marshal(l.plan)
	if err != nil {
		return err
	}
	if err := os.WriteFile(l.path(planFile), b, 0o644); err != nil {
		return fmt.Errorf("write the lab's plan: %w", err)
	}
	l.known = true
	return nil
}

// upOthers starts the controllers beside the first.
func (l *Lab) upOthers(ctx context.Context, c *client.Client, controllers int) error {
	for n := 2; n <= MaxControllers; n++ {
		_, err := os.Stat(l.controllerDir(n))
		if err != nil && n > controllers {
			continue // it is not there, and need not be
		}
		if err := os.MkdirAll(l.controllerDir(n), 0o755); err != nil {
			return fmt.Errorf("make the directory of %s: %w", controllerName(n), err)
		}
		if !l.isMember(n) {
			t := &api.JoinToken{}
			t.Name, t.Spec.Role = "lab-"+controllerName(n), api.JoinController
			if err := l.invite(ctx, c, t, l.controllerToken(n)); err != nil {
				return fmt.Errorf("make %s: %w", controllerName(n), err)
			}
		}
		if err := l.upController(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// upController starts the n-th controller and waits until it says that it serves.
func (l *Lab) upController(ctx context.Context, n int) error {
	name := controllerName(n)
	pid, err := l.PID(name)
	if err != nil || pid != 0 {
		return err
	}
	l.o.Log.Info("starting a controller", "name", name, "url", l.plan.server(n))
	socket := l.path("notify")
	if err := os.RemoveAll(socket); err != nil {
		return err
	}
	said, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("wait for %s: %w", name, err)
	}
	defer said.Close()
	defer context.AfterFunc(ctx, func() { _ = said.SetReadDeadline(time.Unix(0, 1)) })()
	var plug func(pid int) error
	if n > 1 {
		plug = func(pid int) error { return l.plug(name, l.plan.address(n), pid) }
	}
	if err := l.start(name, l.controllerMachine(n, socket), plug); err != nil {
		return err
	}
	word := make([]byte, 512)
	for {
		got, err := said.Read(word)
		switch {
		case err != nil && ctx.Err() != nil:
			return fmt.Errorf("%s did not start; see %s: %w", name, l.path(name+".log"), context.Cause(ctx))
		case err != nil:
			return fmt.Errorf("wait for %s: %w", name, err)
		case strings.Contains(string(word[:got]), "READY=1"):
			return nil
		}
	}
}

// client is one with the lab's admin token.
func (l *Lab) client() (*client.Client, error) {
	token, err := os.ReadFile(l.path("admin.token"))
	if err != nil {
		return nil, fmt.Errorf("read the lab's token: %w", err)
	}
	ca, err := os.ReadFile(l.path("ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("read the lab's CA: %w", err)
	}
	return client.New(client.Options{Server: l.plan.server(1), Token: strings.TrimSpace(string(token)), CA: ca, UserAgent: "cairn-lab"})
}

// upHost starts the n-th host, with a token to join by where it needs one.
func (l *Lab) upHost(ctx context.Context, c *client.Client, n int, size hostSize, virtualization string) error {
	name := hostName(n)
	pid, err := l.PID(name)
	if err != nil || pid != 0 {
		return err
	}
	l.o.Log.Info("starting a host", "name", name, "address", l.plan.address(10+n))
	m, err := l.hostMachine(n, size, virtualization)
	if err != nil {
		return fmt.Errorf("make the host %s: %w", name, err)
	}
	if !l.joined(n) {
		t := &api.JoinToken{}
		t.Name = "lab-" + name
		if err := l.invite(ctx, c, t, l.joinTokenFile(n)); err != nil {
			return fmt.Errorf("make the host %s: %w", name, err)
		}
	}
	return l.start(name, m, func(pid int) error { return l.plug(name, l.plan.address(10+n), pid) })
}

// invite makes a join token; one that an interrupted Up has left is made anew.
func (l *Lab) invite(ctx context.Context, c *client.Client, t *api.JoinToken, file string) error {
	k, _ := api.KindByName(api.KindJoinToken)
	if _, err := c.Delete(ctx, k, "", t.Name, client.WriteOptions{}); err != nil && !client.IsCode(err, "not_found") {
		return err
	}
	r, err := c.Create(ctx, t, client.WriteOptions{})
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(r.Object.(*api.JoinToken).Secret+"\n"), 0o600)
}

// awaitHosts waits until all of these hosts are ready.
func (l *Lab) awaitHosts(ctx context.Context, c *client.Client, wanted []int) error {
	k, _ := api.KindByName(api.KindHost)
	waiting := ""
	for {
		hosts, revision, err := c.ListAll(ctx, k, client.ListOptions{})
		if err != nil {
			return fmt.Errorf("wait for the hosts%s: %w", waiting, err)
		}
		missing := notReady(hosts, wanted)
		if len(missing) == 0 {
			return nil
		}
		waiting = fmt.Sprintf(" (%s; see agent.log in %s)", strings.Join(missing, ", "), l.path("hosts"))
		for e, err := range c.Watch(ctx, k, client.WatchOptions{From: client.Revision(revision)}) {
			if ctx.Err() != nil {
				return fmt.Errorf("wait for the hosts%s: %w", waiting, context.Cause(ctx))
			}
			if err != nil && !client.IsRelist(err) {
				return fmt.Errorf("wait for the hosts%s: %w", waiting, err)
			}
			if e.Type != api.EventBookmark {
				break // something changed: look again
			}
		}
	}
}

func notReady(hosts []api.Object, wanted []int) (out []string) {
	ready := map[string]bool{}
	for _, o := range hosts {
		ready[o.GetMeta().Name] = o.StatusPtr().GetStatus().State == api.StateReady
	}
	for _, n := range wanted {
		if !ready[hostName(n)] {
			out = append(out, hostName(n))
		}
	}
	return out
}

// Down pulls every plug and removes the lab's links and files. It may be
// repeated, and needs no cloud that works.
func (l *Lab) Down() error { return l.alone(l.down) }

func (l *Lab) down() error {
	hosts, err := l.hosts()
	if err != nil {
		return err
	}
	var all []string
	for n := range MaxControllers {
		all = append(all, controllerName(n+1))
	}
	for _, n := range hosts {
		all = append(all, hostName(n))
	}
	var errs []error
	for _, name := range all {
		errs = append(errs, l.Kill(name), l.unplug(name))
	}
	errs = append(errs, l.removeFabric())
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if !l.known {
		return os.RemoveAll(l.lockFile()) // nothing is there, or it is not the lab's
	}
	if err := os.RemoveAll(l.o.Dir); err != nil {
		return fmt.Errorf("remove the lab's files: %w", err)
	}
	return os.RemoveAll(l.lockFile())
}
