package libvirt

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/cairn-cloud/cairn/agent"
)

func TestTapDescriptor_findsTheNICByItsMAC(t *testing.T) {
	line := []string{
		"qemu", "-uuid", "u",
		"-netdev", "tap,fd=30,id=hostnet0", "-device", `{"driver":"virtio-net-pci","netdev":"hostnet0","id":"net0","mac":"02:00:00:00:00:01"}`,
		"-netdev", `{"type":"tap","fd":"31","id":"hostnet1"}`, "-device", "virtio-net-pci,netdev=hostnet1,id=net1,mac=02:00:00:00:00:0b",
	}
	for mac, want := range map[string]int{"02:00:00:00:00:01": 30, "02:00:00:00:00:0B": 31} {
		if fd, err := tapDescriptor(line, mac); err != nil || fd != want {
			t.Errorf("%s: %d (%v), want %d", mac, fd, err, want)
		}
	}
	if fd, err := tapDescriptor(line, "02:00:00:00:00:02"); err == nil {
		t.Errorf("a MAC of no NIC has the descriptor %d", fd)
	}
}

// makeTap makes a tap as network/linux does: it is there whether a guest holds it or not.
func makeTap(t *testing.T, name string) {
	t.Helper()
	for _, args := range [][]string{{"tuntap", "add", name, "mode", "tap", "vnet_hdr"}, {"link", "set", name, "up"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
}

func TestPlug_givesARunningGuestTheTapThatWasMadeAnew(t *testing.T) {
	const tap = "ctplugtest0"
	l := agent.Layout(t.TempDir())
	d := newDaemon(t)
	h := d.open(l)
	s := makeSpec(t, l, "ins_a", buttonGuest)
	s.NICs = []agent.DomainNIC{{Tap: tap, MAC: "02:00:00:00:00:01", MTU: 1400}}
	makeTap(t, tap)
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", tap).Run() })
	define(t, h, s)
	twice(t, "start", h.Start, "ins_a")
	pid := d.qemuPID("ins_a")
	if x := one(t, h); len(x.Unplugged) != 0 {
		t.Errorf("it is said to be unplugged: %v", x.Unplugged)
	}
	if out, err := exec.Command("ip", "link", "del", tap).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if x := one(t, h); !slices.Equal(x.Unplugged, []string{tap}) {
		t.Errorf("without its tap it is said to have lost %v", x.Unplugged)
	}
	makeTap(t, tap)
	if x := one(t, h); !slices.Equal(x.Unplugged, []string{tap}) {
		t.Errorf("beside its new tap it is said to have lost %v", x.Unplugged)
	}
	twice(t, "plug", func(ctx context.Context, id string) error { return h.Plug(ctx, id, s.NICs[0].MAC, tap) }, "ins_a")
	if x := one(t, h); len(x.Unplugged) != 0 || x.State != agent.DomainRunning {
		t.Errorf("plugged in, it is %+v", x)
	}
	if got := d.qemuPID("ins_a"); got != pid {
		t.Errorf("QEMU is another process: %d, was %d", got, pid)
	}
	if carrier, err := os.ReadFile("/sys/class/net/" + tap + "/carrier"); err != nil || string(carrier) != "1\n" {
		t.Errorf("the kernel does not say that it is held: %q (%v)", carrier, err)
	}
}
