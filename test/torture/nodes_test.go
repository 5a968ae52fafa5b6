package torture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// patience is how long anything may take before the test gives up; it is no measure. A
// disk is full for etcd only when the room that its log has set aside is used up.
const patience = 4 * time.Minute

// build builds the binary that is tried.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cairn")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-tags", "libvirt_dlopen", "-o", path, "../../cmd/cairn").CombinedOutput()
	if err != nil {
		t.Fatalf("build the binary: %v\n%s", err, out)
	}
	return path
}

// node is one controller: a data directory, two ports, and now and then a process.
type node struct {
	t                         *testing.T
	binary, name, data, token string
	api, peer, join           string
	cmd                       *exec.Cmd
	ended                     chan struct{} // closed when the process has
	log                       string        // file
}

func (n *node) url() string { return "https://" + n.api }

// freeAddress is a free port of the loopback interface, below those that the kernel
// gives to clients, so that none takes it while the node is down.
func freeAddress(t *testing.T, from int) string {
	t.Helper()
	for port := from; port < from+500; port++ {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		defer l.Close()
		return l.Addr().String()
	}
	t.Fatal("there is no free port")
	return ""
}

// start starts the process, which must serve in time.
func (n *node) start() {
	n.t.Helper()
	ready, err := n.tryStart()
	if err != nil {
		n.t.Fatal(err)
	}
	select {
	case <-ready:
	case <-n.ended:
		n.t.Fatalf("%s ended:\n%s", n.name, n.said())
	case <-time.After(patience):
		n.t.Fatalf("%s does not serve:\n%s", n.name, n.said())
	}
}

// tryStart starts the process; ready is closed once it serves.
func (n *node) tryStart() (ready chan struct{}, err error) {
	at := filepath.Join(filepath.Dir(n.log), n.name+".notify")
	_ = os.Remove(at) // of the process before
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	args := []string{"controller", "--name", n.name, "--data", n.data, "--listen", n.api, "--peer-listen", n.peer, "--log-level", "warn"}
	if n.join != "" {
		args = append(args, "--join", n.join)
	}
	cmd, ended := exec.Command(n.binary, args...), make(chan struct{})
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+at, "CAIRN_JOIN_TOKEN="+n.token)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := errors.Join(cmd.Start(), log.Close()); err != nil {
		return nil, err
	}
	n.cmd, n.ended, ready = cmd, ended, make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is the test's to judge
		close(ended)
		_ = socket.Close() // which ends the reading below
	}()
	go func() {
		for b := make([]byte, 256); ; {
			k, err := socket.Read(b)
			if err != nil {
				return
			}
			if strings.Contains(string(b[:k]), "READY=1") {
				close(ready)
				return
			}
		}
	}()
	return ready, nil
}

func (n *node) signal(s syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.t.Fatalf("signal %s: %v", n.name, err)
	}
}

// kill ends the process at once.
func (n *node) kill() {
	n.signal(syscall.SIGKILL)
	<-n.ended
}

func (n *node) said() []byte {
	b, _ := os.ReadFile(n.log) // what it said, where that is known
	return b[max(0, len(b)-4000):]
}

// cluster is three controllers.
type cluster struct {
	t           *testing.T
	nodes       []*node
	ca          []byte
	adminSecret string
}

// newCluster starts three controllers. The third has its data below last.
func newCluster(t *testing.T, last string) *cluster {
	t.Helper()
	c, dir, binary := &cluster{t: t}, t.TempDir(), build(t)
	t.Cleanup(func() {
		for _, n := range c.nodes {
			if n.cmd != nil {
				n.kill()
			}
			if t.Failed() {
				t.Logf("%s said at last:\n%s", n.name, n.said())
			}
		}
	})
	for i, name := range []string{"a", "b", "c"} {
		n := &node{t: t, binary: binary, name: name, data: filepath.Join(dir, name), log: filepath.Join(dir, name+".log")}
		if i == 2 {
			n.data = filepath.Join(last, name)
		}
		n.api, n.peer = freeAddress(t, 20000+1000*i), freeAddress(t, 20500+1000*i)
		if i > 0 {
			tok := &api.JoinToken{}
			tok.Name, tok.Spec.Role = name, api.JoinController
			r, err := c.client(c.nodes[0].url()).Create(t.Context(), tok, client.WriteOptions{})
			if err != nil {
				t.Fatal(err)
			}
			n.join, n.token = c.nodes[0].url(), r.Object.(*api.JoinToken).Secret
		}
		c.nodes = append(c.nodes, n)
		n.start()
		if i == 0 {
			c.ca = c.read(filepath.Join(n.data, "ca.crt"))
			c.adminSecret = strings.TrimSpace(string(c.read(filepath.Join(n.data, "admin.token"))))
		}
	}
	return c
}

func (c *cluster) read(path string) []byte {
	c.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	return bytes.TrimSpace(b)
}

// client is an administrator's client of those servers.
func (c *cluster) client(servers ...string) *client.Client {
	c.t.Helper()
	k, err := client.New(client.Options{Server: strings.Join(servers, ","), Token: c.adminSecret, CA: c.ca, Timeout: 5 * time.Second, Attempts: 20})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(k.Close)
	return k
}

// servers are all, beginning with the n-th.
func (c *cluster) servers(n int) (urls []string) {
	for i := range c.nodes {
		urls = append(urls, c.nodes[(n+i)%len(c.nodes)].url())
	}
	return urls
}

// until asks one server after another until the controllers are as wanted.
func (c *cluster) until(what string, ok func([]api.Controller) bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	k, tick := c.client(c.servers(0)...), time.NewTicker(100*time.Millisecond)
	defer tick.Stop()
	for {
		all, err := k.Controllers(ctx)
		if err == nil && ok(all) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.t.Fatalf("waited in vain: %s; the controllers are %+v, %v", what, all, err)
		}
	}
}

// leader waits until somebody leads whom but does not forbid, and returns who.
func (c *cluster) leader(but string) (leads *node) {
	c.t.Helper()
	c.until("another controller leads", func(all []api.Controller) bool {
		n := 0
		for i, x := range all {
			if x.Leads && x.Name != but && x.State == api.StateReady {
				n++
				leads = c.nodes[i] // both are in order of name
			}
		}
		return n == 1
	})
	return leads
}

// well waits until all three are there.
func (c *cluster) well() {
	c.t.Helper()
	c.until("all three are ready, and one leads", func(all []api.Controller) bool {
		ready, leads := 0, 0
		for _, x := range all {
			if x.State == api.StateReady {
				ready++
			}
			if x.Leads {
				leads++
			}
		}
		return len(all) == 3 && ready == 3 && leads == 1
	})
}
