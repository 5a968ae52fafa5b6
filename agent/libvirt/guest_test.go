package libvirt

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cairn-cloud/cairn/agent"
)

// buttonGuest is a whole operating system in a boot sector: it writes "up" to
// the serial port, sleeps between interrupts, and switches the machine off when
// the ACPI power button is pressed. (q35: PM1 event block at 0x600.)
var buttonGuest = []byte{
	0xfb,             // sti
	0xba, 0xf8, 0x03, // mov dx, 0x3f8
	0xb0, 'u', 0xee, // mov al, 'u'; out dx, al
	0xb0, 'p', 0xee, // mov al, 'p'; out dx, al
	0xb0, '\n', 0xee, // mov al, '\n'; out dx, al
	0xba, 0x02, 0x06, // mov dx, 0x602 (PM1 enable)
	0xb8, 0x00, 0x01, // mov ax, 0x100 (power button)
	0xef,             // out dx, ax
	0xf4,             // wait: hlt
	0xba, 0x00, 0x06, // mov dx, 0x600 (PM1 status)
	0xed,             // in ax, dx
	0xf6, 0xc4, 0x01, // test ah, 1
	0x74, 0xf6, // jz wait
	0xba, 0x04, 0x06, // mov dx, 0x604 (PM1 control)
	0xb8, 0x00, 0x20, // mov ax, 0x2000 (sleep now; S5 is type 0)
	0xef,       // out dx, ax
	0xeb, 0xed, // jmp wait
}

// deafGuest is the same without the power button.
var deafGuest = []byte{0xfb, 0xba, 0xf8, 0x03, 0xb0, 'u', 0xee, 0xb0, 'p', 0xee, 0xb0, '\n', 0xee, 0xf4, 0xeb, 0xfd}

// haltingGuest switches itself off at once.
var haltingGuest = []byte{0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xf4, 0xeb, 0xfd}

// makeSpec puts a guest on disks as the agent would.
func makeSpec(t *testing.T, l agent.Layout, instance string, code []byte) agent.DomainSpec {
	t.Helper()
	sector := make([]byte, 1<<20)
	copy(sector, code)
	sector[510], sector[511] = 0x55, 0xaa
	image := filepath.Join(string(l), instance+".raw")
	if err := os.WriteFile(image, sector, 0o444); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(l.Instance(instance), 0o711); err != nil {
		t.Fatal(err)
	}
	root := agent.DiskFile{Path: filepath.Join(l.Instance(instance), "root.qcow2"), Format: "qcow2", Backing: &agent.DiskFile{Path: image, Format: "raw"}}
	out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F", "raw", root.Path, "16M").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return agent.DomainSpec{
		Mark:  agent.Mark{Instance: instance, Project: "prj_a", Epoch: 1, Generation: 1, Digest: "d1", Power: agent.MarkOn},
		Title: "a/<&\"'", VCPUs: 1, MemoryMiB: 64, Architecture: "x86_64",
		Root: root, ConsoleLog: l.ConsoleLog(instance),
	}
}
