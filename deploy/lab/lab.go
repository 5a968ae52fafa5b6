package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
)

// Options of Open.
type Options struct {
	Dir    string // of all the lab's files; made by Up, removed by Down
	Name   string // tells labs on one machine apart: at most 8 of a-z and 0-9
	Binary string // of cairn; default: this one
	Log    *slog.Logger
}

// Lab is a cloud on this machine.
type Lab struct {
	o     Options
	plan  plan
	known bool // the plan was on the disk
}

// plan is what is decided once in a lab's life.
type plan struct {
	Fabric netip.Prefix `json:"fabric"` // the network that joins the hosts
}

// planFile also marks a directory as a lab's.
const planFile = "lab.json"

var names = regexp.MustCompile(`^[a-z0-9]{1,8}$`)

// Open looks at what there is of a lab; it starts nothing.
func Open(o Options) (*Lab, error) {
	if !names.MatchString(o.Name) {
		return nil, fmt.Errorf("lab %q: a lab's name is at most 8 of a-z and 0-9", o.Name)
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("a lab needs root: it makes namespaces, links and mounts")
	}
	var err error
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, err
	}
	if o.Binary == "" {
		if o.Binary, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find the cairn binary: %w", err)
		}
	}
	l := &Lab{o: o}
	return l, l.readPlan()
}

func (l *Lab) readPlan() error {
	b, err := os.ReadFile(l.path(planFile))
	if errors.Is(err, fs.ErrNotExist) {
		l.plan, l.known = plan{}, false
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, &l.plan)
	}
	if err != nil {
		return fmt.Errorf("read the lab's plan: %w", err)
	}
	l.known = true
	return nil
}

// alone does what changes the lab while no other command does.
func (l *Lab) alone(change func() error) error {
	held, err := lock(l.lockFile())
	if err != nil {
		return fmt.Errorf("lock the lab: %w", err)
	}
	defer held.Close()
	if err := l.readPlan(); err != nil {
		return err
	}
	return change()
}

func (l *Lab) lockFile() string { return l.o.Dir + ".lock" }

// lock waits until nobody else holds the lock. Down removes its file, so that
// what was waited for may be a file that is no longer there.
func lock(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		held, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if there, err := os.Stat(path); err == nil && os.SameFile(held, there) {
			return f, nil
		}
		f.Close()
	}
}

func (l *Lab) path(parts ...string) string {
	return filepath.Join(append([]string{l.o.Dir}, parts...)...)
}

// Dir is where the lab's files are: admin.token, ca.crt and server among them.
func (l *Lab) Dir() string { return l.o.Dir }

// address is the n-th of the fabric; the first is this machine's own.
func (p plan) address(n int) netip.Addr {
	a := p.Fabric.Masked().Addr()
	for range n {
		a = a.Next()
	}
	return a
}

// server is the URL of the n-th controller.
func (p plan) server(n int) string {
	return "https://" + netip.AddrPortFrom(p.address(n), 7443).String()
}

// controllerName names the machine that runs the n-th controller, from 1.
func controllerName(n int) string {
	if n == 1 {
		return "controller"
	}
	return fmt.Sprintf("controller%d", n)
}

// MaxControllers is how many controllers a lab has at most.
const MaxControllers = 3

// Servers are the URLs of the lab's controllers.
func (l *Lab) Servers() []string {
	all := []string{l.plan.server(1)}
	for n := 2; n <= MaxControllers; n++ {
		if _, err := os.Stat(l.controllerDir(n)); err == nil {
			all = append(all, l.plan.server(n))
		}
	}
	return all
}

// controllerDir is the data directory of a controller. That of the first is the lab's.
func (l *Lab) controllerDir(n int) string {
	if n == 1 {
		return l.o.Dir
	}
	return l.path("controllers", controllerName(n))
}

func (l *Lab) controllerToken(n int) string { return l.path("controllers", controllerName(n)+".token") }

// isMember tells whether a controller has joined.
func (l *Lab) isMember(n int) bool {
	_, err := os.Stat(filepath.Join(l.controllerDir(n), "pki", "ca.pem"))
	return err == nil
}

// hostName names the n-th host, from 1.
func hostName(n int) string { return fmt.Sprintf("h%d", n) }

// MaxHosts is how many hosts a lab has at most: what the fabric has addresses for.
const MaxHosts = 99

// hosts are the numbers of the hosts that the lab has, running or not.
func (l *Lab) hosts() (out []int, err error) {
	for n := 1; n <= MaxHosts; n++ {
		_, err := os.Stat(l.path("hosts", hostName(n)))
		if err == nil {
			out = append(out, n)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return out, nil
}
