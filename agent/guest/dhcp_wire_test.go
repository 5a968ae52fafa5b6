package guest

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

// client opens a DHCP client on a guest's NIC.
func (n *namespace) client(t *testing.T, hw string, o ...nclient4.ClientOpt) *nclient4.Client {
	t.Helper()
	var c *nclient4.Client
	n.mustRun(t, func() error {
		conn, err := nclient4.NewRawUDPConn("eth0", nclient4.ClientPort)
		if err != nil {
			return err
		}
		c, err = nclient4.NewWithConn(conn, hwOf(hw), o...)
		return err
	})
	t.Cleanup(func() { c.Close() })
	return c
}

// writeScript writes what udhcpc is to run.
func writeScript(t *testing.T, commands string) string {
	t.Helper()
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"+commands+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return script
}

func TestDHCP_givesWhatIsDesired(t *testing.T) {
	w := newWires(t)
	w.router(1, "10.10.0.1/24")
	g := w.guest(1, macA)
	if err := w.service().Set(t.Context(), oneGuest()); err != nil {
		t.Fatal(err)
	}
	lease, err := g.client(t, macA).Request(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*dhcpv4.DHCPv4{lease.Offer, lease.ACK} {
		if !m.YourIPAddr.Equal(net.IP{10, 10, 0, 11}) || !m.ServerIdentifier().Equal(net.IP{10, 10, 0, 1}) ||
			m.HostName() != "a" || m.IPAddressLeaseTime(0) != leaseTime || net.IP(m.SubnetMask()).String() != "255.255.255.0" {
			t.Errorf("%s", m.Summary())
		}
		if got := m.Options.Get(dhcpv4.OptionInterfaceMTU); !slices.Equal(got, []byte{1500 >> 8, 1500 & 0xff}) {
			t.Errorf("MTU %v", got)
		}
		if r, d := m.Router(), m.DNS(); len(r) != 1 || !r[0].Equal(net.IP{10, 10, 0, 1}) || len(d) != 1 || !d[0].Equal(net.IP{192, 0, 2, 53}) {
			t.Errorf("router %v, DNS %v", r, d)
		}
		if got := m.DomainName(); got != "n.shop.internal" || m.DomainSearch() == nil || !slices.Equal(m.DomainSearch().Labels, []string{got}) {
			t.Errorf("domain %q, search %v", got, m.DomainSearch())
		}
		if got, want := dhcpv4.Routes(m.ClasslessStaticRoute()).String(), "route to 0.0.0.0/0 via 10.10.0.1; route to 169.254.169.254/32 via 10.10.0.1"; got != want {
			t.Errorf("routes %q, want %q", got, want)
		}
	}
}

func TestDHCP_renewsAndRefusesAnotherAddress(t *testing.T) {
	w := newWires(t)
	w.router(1, "10.10.0.1/24")
	g := w.guest(1, macA)
	s := w.service()
	d := oneGuest()
	if err := s.Set(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	c := g.client(t, macA)
	lease, err := c.Request(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	if lease, err = c.Renew(patient(t), lease); err != nil || !lease.ACK.YourIPAddr.Equal(net.IP{10, 10, 0, 11}) {
		t.Fatalf("renew: %v", err)
	}
	addInstance(d, "a", "n", macA, "10.10.0.12")
	if err := s.Set(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	var nak *nclient4.ErrNak
	if _, err = c.Renew(patient(t), lease); !errors.As(err, &nak) {
		t.Fatalf("renewing an address that is not its any more: %v, want a NAK", err)
	}
}

// The client of nearly every small guest, with its own raw and UDP sockets: it
// takes the lease, sets it up, renews it by unicast, and releases it.
func TestDHCP_servesUdhcpc(t *testing.T) {
	w := newWires(t)
	w.router(1, "10.10.0.1/24")
	g := w.guest(1, macA)
	if err := w.service().Set(t.Context(), oneGuest()); err != nil {
		t.Fatal(err)
	}
	script := writeScript(t, "[ $1 = bound ] && env; exit 0")
	for _, flags := range [][]string{nil, {"-B"}} { // without and with the broadcast flag
		out, err := g.command(patient(t), "busybox", append([]string{"udhcpc", "-i", "eth0", "-f", "-q", "-n", "-R", "-s", script, "-O", "staticroutes", "-O", "mtu", "-O", "search"}, flags...)...)
		if err != nil {
			t.Fatalf("udhcpc %v: %v\n%s", flags, err, out)
		}
		for _, want := range []string{
			"ip=10.10.0.11", "subnet=255.255.255.0", "router=10.10.0.1", "dns=192.0.2.53", "hostname=a", "mtu=1500", "domain=n.shop.internal", "search=n.shop.internal",
			"serverid=10.10.0.1", "staticroutes=0.0.0.0/0 10.10.0.1 169.254.169.254/32 10.10.0.1",
		} {
			if !strings.Contains(string(out), want+"\n") {
				t.Errorf("udhcpc %v was not told %s:\n%s", flags, want, out)
			}
		}
	}
}

// A stranger on the wire asks first and an owner second: once the owner has its
// answer, the stranger's is not to come any more.
func TestDHCP_ignoresWhoHasNoPortHere(t *testing.T) {
	w := newWires(t)
	w.router(1, "10.10.0.1/24")
	stranger, owner := w.guest(1, macB), w.guest(1, macA)
	d := oneGuest()
	addInstance(d, "b", "n", macB, "10.10.0.12")
	p := d.Ports["prt_b"]
	p.Local, p.Underlay = false, addr("192.0.2.2")
	d.Ports["prt_b"] = p
	if err := w.service().Set(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(patient(t))
	defer cancel()
	got := make(chan error, 1)
	c := stranger.client(t, macB)
	go func() {
		_, err := c.DiscoverOffer(ctx)
		got <- err
	}()
	for range 3 {
		if _, err := owner.client(t, macA).Request(patient(t)); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-got; err == nil {
		t.Error("a port of another host was answered here")
	}
}
