package guest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// told is what a guest reads at a path.
func told(t *testing.T, g *namespace, path string) string {
	t.Helper()
	code, body := fetch(patient(t), t, g.browser(t, netip.Addr{}), "GET", path)
	if code != 200 {
		t.Fatalf("GET %s: %d %s", path, code, body)
	}
	return body
}

func set(t *testing.T, s *Service, d api.HostDesired) {
	t.Helper()
	if err := s.Set(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

func TestSet_changesWhatIsSaidAndKeepsTheSockets(t *testing.T) {
	w := newWires(t)
	w.router(1, "10.10.0.1/24")
	g := w.guest(1, macA)
	w.address(g, "10.10.0.11/24", "10.10.0.1")
	s := w.service()
	d := oneGuest()
	set(t, s, d)
	var dials atomic.Int32
	c := g.browser(t, netip.Addr{})
	counted(c, &dials)
	for _, data := range []string{"one", "two", "three"} {
		i := d.Instances["ins_a"]
		i.UserData = data
		d.Instances["ins_a"] = i
		set(t, s, d)
		set(t, s, d) // twice is once
		if code, body := fetch(patient(t), t, c, "GET", "/latest/user-data"); code != 200 || body != data {
			t.Errorf("told %d %q, want %q", code, body, data)
		}
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections, want 1 that outlives each Set", n)
	}
}

func TestSet_opensAnewWhereTheNamespaceWasMadeAnew(t *testing.T) {
	w := newWires(t)
	old := w.router(1, "10.10.0.1/24")
	g := w.guest(1, macA)
	w.address(g, "10.10.0.11/24", "10.10.0.1")
	s := w.service()
	set(t, s, oneGuest())
	_ = told(t, g, "/latest/meta-data/instance-id")

	gone := w.remove(1, old)
	w.router(1, "10.10.0.1/24")
	set(t, s, oneGuest())
	if got := told(t, g, "/latest/meta-data/instance-id"); got != "ins_a" {
		t.Errorf("told %q", got)
	}
	if _, err := g.client(t, macA).Request(patient(t)); err != nil {
		t.Errorf("DHCP: %v", err)
	}
	gone() // nothing of the service holds the old namespace
}

func TestSet_opensAnewWhereTheLinkWasMadeAnew(t *testing.T) {
	w := newWires(t)
	r := w.router(1, "10.10.0.1/24")
	g := w.guest(1, macA)
	w.address(g, "10.10.0.11/24", "10.10.0.1")
	s := w.service()
	set(t, s, oneGuest())
	r.mustRun(t, func() error {
		gw, err := netlink.LinkByName(network.GatewayLink)
		if err != nil {
			return err
		}
		return netlink.LinkDel(gw)
	})
	if err := s.Set(t.Context(), oneGuest()); err == nil || !strings.Contains(err.Error(), network.GatewayLink) {
		t.Errorf("without the link: %v", err)
	}
	w.wire(1, r, "10.10.0.1/24")
	set(t, s, oneGuest())
	if got := told(t, g, "/latest/meta-data/instance-id"); got != "ins_a" {
		t.Errorf("told %q", got)
	}
	if _, err := g.client(t, macA).Request(patient(t)); err != nil {
		t.Errorf("DHCP: %v", err)
	}
}

func TestSet_servesAfterTheLinkWasDownForAWhile(t *testing.T) {
	w := newWires(t)
	r := w.router(1, "10.10.0.1/24")
	g := w.guest(1, macA)
	set(t, w.service(), oneGuest())
	up := r.link(t, func(u netlink.LinkUpdate) bool {
		return u.Link.Attrs().Name == network.GatewayLink && u.Link.Attrs().OperState == netlink.OperUp
	})
	r.mustRun(t, func() error {
		gw, err := netlink.LinkByName(network.GatewayLink)
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetDown(gw), netlink.LinkSetUp(gw))
	})
	up()
	if _, err := g.client(t, macA).Request(patient(t)); err != nil {
		t.Errorf("DHCP: %v", err)
	}
}

func TestSet_oneNetworkThatCannotBeServedDoesNotKeepTheOthersFromIt(t *testing.T) {
	w := newWires(t)
	w.router(2, "10.10.0.1/24")
	g := w.guest(2, macA)
	w.address(g, "10.10.0.11/24", "10.10.0.1")
	s := w.service()
	d := nothing()
	for i, name := range []string{"a", "b"} {
		addNetwork(d, name, uint32(i+1))
		addInstance(d, name, name, macA, "10.10.0.11")
	}
	err := s.Set(t.Context(), d)
	if err == nil || !strings.Contains(err.Error(), "net_a") || strings.Contains(err.Error(), "net_b") || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want one about net_a only", err)
	}
	if got := told(t, g, "/latest/meta-data/hostname"); got != "b" {
		t.Errorf("told %q", got)
	}
	w.router(1, "10.10.0.1/24")
	other := w.guest(1, macA)
	w.address(other, "10.10.0.11/24", "10.10.0.1")
	set(t, s, d)
	if got := told(t, other, "/latest/meta-data/hostname"); got != "a" {
		t.Errorf("told %q", got)
	}
}

func TestSet_nothingIsLeftOfANetworkThatIsNotWanted(t *testing.T) {
	w := newWires(t)
	r := w.router(1, "10.10.0.1/24")
	g := w.guest(1, macA)
	w.address(g, "10.10.0.11/24", "10.10.0.1")
	s := w.service()
	set(t, s, oneGuest())
	_ = told(t, g, "/")
	set(t, s, nothing())
	if _, err := g.dial(netip.Addr{})(patient(t), "tcp", "169.254.169.254:80"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connecting gives %v, want a refusal", err)
	}
	w.remove(1, r)()
}

func TestSet_afterItsContextEndedOrTheServiceWasClosed(t *testing.T) {
	w := newWires(t)
	w.router(1, "10.10.0.1/24")
	s := w.service()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Set(ctx, oneGuest()); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	set(t, s, oneGuest())
	s.Close()
	s.Close()
	if err := s.Set(t.Context(), oneGuest()); err == nil {
		t.Error("a closed service serves")
	}
}

func TestClose_leavesNoNamespaceAndNoThreadBehind(t *testing.T) {
	w := newWires(t)
	r := w.router(1, "10.10.0.1/24")
	g := w.guest(1, macA)
	w.address(g, "10.10.0.11/24", "10.10.0.1")
	s := w.service()
	set(t, s, oneGuest())
	c := g.browser(t, netip.Addr{})
	if code, _ := fetch(patient(t), t, c, "GET", "/"); code != 200 { // and the connection stays open
		t.Fatal(code)
	}
	there, err := os.Stat(filepath.Join(w.dir, network.Namespace(1)))
	if err != nil {
		t.Fatal(err)
	}
	threads, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range threads {
		if here, err := os.Stat(at); err == nil && os.SameFile(here, there) {
			t.Errorf("%s is in the router's namespace", at)
		}
	}
	s.Close()
	w.remove(1, r)()
}

// Who has no port here is not even listened to, whatever it says.
func TestMetadata_hangsUpOnStrangers(t *testing.T) {
	w := newWires(t)
	r := w.router(1, "10.10.0.1/24")
	stranger := w.guest(1, macB)
	w.address(stranger, "10.10.0.12/24", "10.10.0.1")
	set(t, w.service(), oneGuest())
	c, err := stranger.dial(netip.Addr{})(patient(t), "tcp", "169.254.169.254:80")
	if err == nil {
		defer c.Close()
		_, _ = io.WriteString(c, "GET /latest/meta-data/ HTTP/1.1\r\nHost: 169.254.169.254\r\nX-Forwarded-For: 10.10.0.11\r\n\r\n")
		// How it ends is the service's affair; what matters is that it says nothing.
		if b, _ := io.ReadAll(c); len(b) > 0 {
			t.Errorf("a stranger was told %q", b)
		}
	}

	// From the way out, with the address of a guest.
	outside := newNamespace(t)
	w.uplink(r, outside, "10.10.0.11/32")
	c, err = outside.dial(addr("10.10.0.11"))(patient(t), "tcp", "169.254.169.254:80")
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("by the way out: %v, want a refusal", err)
	}
	if err == nil {
		c.Close()
	}
}

func TestMetadata_aGuestWithManyConnectionsKeepsNobodyOut(t *testing.T) {
	w := newWires(t)
	w.router(1, "10.10.0.1/24")
	d := oneGuest()
	addInstance(d, "b", "n", macB, "10.10.0.12")
	greedy, modest := w.guest(1, macA), w.guest(1, macB)
	w.address(greedy, "10.10.0.11/24", "10.10.0.1")
	w.address(modest, "10.10.0.12/24", "10.10.0.1")
	set(t, w.service(), d)
	dial := func() net.Conn {
		c, err := greedy.dial(netip.Addr{})(patient(t), "tcp", "169.254.169.254:80")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	held := make([]net.Conn, connectionsEach)
	for i := range held {
		held[i] = dial()
	}
	if b, err := io.ReadAll(dial()); len(b) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("one connection too many reads %q, %v, want its end", b, err)
	}
	if got := told(t, modest, "/latest/meta-data/hostname"); got != "b" {
		t.Errorf("the neighbour is told %q", got)
	}
	if _, err := io.WriteString(held[0], "GET /latest/meta-data/hostname HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(held[0]); err != nil || !strings.HasSuffix(string(b), "\r\n\r\na") {
		t.Errorf("a connection that it holds reads %q, %v", b, err)
	}
	// That one has ended, so there is room for another once the service, too, has seen that.
	for ctx := patient(t); ; {
		c := dial()
		// It may be turned away before it has spoken.
		_, _ = io.WriteString(c, "GET /latest/meta-data/hostname HTTP/1.0\r\n\r\n")
		if b, _ := io.ReadAll(c); strings.HasSuffix(string(b), "\r\n\r\na") {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("an ended connection leaves no room for another")
		}
	}
}

// Also a client that cannot hear unicast is answered in a frame of its own, so
// that no neighbour hears what is said to it.
func TestDHCP_floodsNothing(t *testing.T) {
	w := newWires(t)
	w.router(1, "10.10.0.1/24")
	d := oneGuest()
	addInstance(d, "b", "n", macB, "10.10.0.12")
	a, b := w.guest(1, macA), w.guest(1, macB)
	set(t, w.service(), d)
	var ear *packet.Conn
	b.mustRun(t, func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		ear, err = packet.Listen(eth0, packet.Datagram, unix.ETH_P_IP, nil)
		return err
	})
	defer ear.Close()
	if out, err := a.command(patient(t), "busybox", "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-B", "-s", "/bin/true"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := b.client(t, macB).Request(patient(t)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2000)
	for range 100 {
		n, _, err := ear.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if n < 48 || buf[20] != 0 || buf[21] != serverPort {
			continue // a question of a, which it does broadcast
		}
		if your := net.IP(buf[44:48]).String(); your != "10.10.0.12" {
			t.Fatalf("b hears the answer for %s", your)
		}
		return // its own, which came after all that a was told
	}
	t.Error("b has not heard its own answer")
}

// A guest that renews asks the gateway's address. That we hear it by a packet
// socket must not make the kernel say that nobody is there.
func TestDHCP_theKernelDoesNotRefuseIt(t *testing.T) {
	w := newWires(t)
	w.router(1, "10.10.0.1/24")
	g := w.guest(1, macA)
	w.address(g, "10.10.0.11/24", "10.10.0.1")
	set(t, w.service(), oneGuest())
	refused := func(port string) error {
		var c net.Conn
		g.mustRun(t, func() (err error) {
			c, err = net.Dial("udp4", "10.10.0.1:"+port)
			return err
		})
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		// Where nobody listens the refusal has come when this is through.
		_ = told(t, g, "/")
		_, err := c.Write([]byte("x"))
		return err
	}
	if err := refused("68"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("where nobody listens: %v; the test shows nothing", err)
	}
	if err := refused("67"); err != nil {
		t.Error(err)
	}
}
