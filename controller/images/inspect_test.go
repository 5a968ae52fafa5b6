package images

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// made returns the bytes of an image that the real qemu-img made.
func made(t testing.TB, args ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	for tries := 1; ; tries++ {
		cmd := exec.Command("qemu-img", append([]string{"create", "-q"}, args...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err == nil {
			break
		}
		// To choose how hard a password is to guess, it measures its own work, which
		// on a busy machine may have taken no time that the kernel counts.
		if tries == 20 || !bytes.Contains(out, []byte("Unable to get accurate CPU usage")) {
			t.Fatalf("qemu-img %v: %v: %s", args, err, out)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "image"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func inspect(b []byte) (Info, error) { return Inspect(bytes.NewReader(b), int64(len(b))) }

func reason(err error) string {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Reason
	}
	if err != nil {
		return "error: " + err.Error()
	}
	return ""
}

// mbr is a raw disk with one partition.
func mbr(size int) []byte {
	b := make([]byte, size)
	b[446+4] = 0x83
	binary.LittleEndian.PutUint32(b[446+12:], 2048)
	b[510], b[511] = 0x55, 0xaa
	return b
}

func TestInspect_takesWhatQemuImgMakes(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
	}{
		{"version 3", []string{"-f", "qcow2", "image", "16M"}},
		{"version 2", []string{"-f", "qcow2", "-o", "compat=0.10", "image", "16M"}},
		{"small clusters", []string{"-f", "qcow2", "-o", "cluster_size=512", "image", "16M"}},
		{"large clusters", []string{"-f", "qcow2", "-o", "cluster_size=2M", "image", "16M"}},
		{"zstd", []string{"-f", "qcow2", "-o", "compression_type=zstd", "image", "16M"}},
		{"extended L2", []string{"-f", "qcow2", "-o", "extended_l2=on", "image", "16M"}},
	} {
		got, err := inspect(made(t, c.args...))
		if err != nil || got.Format != "qcow2" || got.VirtualSizeBytes != 16<<20 {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func TestInspect_takesRawDisksWithAPartitionTable(t *testing.T) {
	gpt := make([]byte, 1<<20)
	copy(gpt[512:], "EFI PART")
	for name, b := range map[string][]byte{"MBR": mbr(1 << 20), "GPT": gpt} {
		if got, err := inspect(b); err != nil || got.Format != "raw" || got.VirtualSizeBytes != 1<<20 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if got, err := inspect(mbr(1000)); err != nil || got.VirtualSizeBytes != 1024 {
		t.Errorf("a raw disk of 1000 bytes has %+v, %v; want it rounded up to a sector", got, err)
	}
}

func TestInspect_refusesWithTheReason(t *testing.T) {
	plain := made(t, "-f", "qcow2", "image", "16M")
	patch := func(at int, b ...byte) []byte {
		c := bytes.Clone(plain)
		copy(c[at:], b)
		return c
	}
	iso := mbr(1 << 20) // a hybrid one
	copy(iso[0x8001:], "CD001")
	fixedVHD := mbr(1 << 20)
	copy(fixedVHD[len(fixedVHD)-512:], "conectix")
	signature := make([]byte, 4096)
	signature[510], signature[511] = 0x55, 0xaa
	base := filepath.Join(t.TempDir(), "base")
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", base, "16M").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	padded := func(s string) []byte { return append([]byte(s), make([]byte, 4096)...) }
	for _, c := range []struct {
		name, want string
		bytes      []byte
	}{
		{"nothing", "TooShort", nil},
		{"text", "NotAnImage", bytes.Repeat([]byte("hello world\n"), 100)},
		{"a boot signature without partitions", "NotAnImage", signature},
		{"backing file", "BackingFile", made(t, "-f", "qcow2", "-b", base, "-F", "qcow2", "image")},
		{"external data file", "ExternalDataFile", made(t, "-f", "qcow2", "-o", "data_file=data", "image", "16M")},
		{"LUKS inside", "Encrypted", made(t, "-f", "qcow2", "--object", "secret,id=s,data=secret", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", "image", "1M")},
		{"VMDK", "ForeignFormat", made(t, "-f", "vmdk", "image", "16M")},
		{"VDI", "ForeignFormat", made(t, "-f", "vdi", "image", "16M")},
		{"VHD", "ForeignFormat", made(t, "-f", "vpc", "image", "16M")},
		{"fixed VHD", "ForeignFormat", fixedVHD},
		{"VHDX", "ForeignFormat", made(t, "-f", "vhdx", "image", "16M")},
		{"QED", "ForeignFormat", made(t, "-f", "qed", "image", "16M")},
		{"qcow 1", "ForeignFormat", made(t, "-f", "qcow", "image", "16M")},
		{"gzip", "Compressed", padded("\x1f\x8b\x08")},
		{"xz", "Compressed", padded("\xfd7zXZ\x00")},
		{"a LUKS volume", "Encrypted", padded("LUKS\xba\xbe")},
		{"ISO", "ISO", iso},
		{"internal snapshots", "InternalSnapshots", patch(60, 0, 0, 0, 1)},
		{"dirty", "Dirty", patch(79, 1)},
		{"corrupt", "Damaged", patch(79, 2)},
		{"unknown feature", "UnknownFeature", patch(72, 0x80)},
		{"unknown compression", "UnknownFeature", patch(79, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 112, 7)},
		{"clusters of 2^31 bytes", "Damaged", patch(20, 0, 0, 0, 31)},
		{"a disk of nothing", "TooShort", patch(24, 0, 0, 0, 0, 0, 0, 0, 0)},
		{"an exbibyte", "TooLarge", patch(24, 0x10)},
		{"a table outside of the file", "Damaged", patch(40, 0x7f)},
		{"a table that is too small", "Damaged", patch(36, 0, 0, 0, 0)},
		{"reference counts outside of the file", "Damaged", patch(48, 0x7f)},
		{"a header longer than it can be", "Damaged", patch(100, 0xff)},
		{"cut off", "Damaged", plain[:512]},
	} {
		_, err := inspect(c.bytes)
		if got := reason(err); got != c.want {
			t.Errorf("%s: refused for %q (%v), want %q", c.name, got, err, c.want)
		}
	}
}

func TestInspect_saysHowToConvert(t *testing.T) {
	_, err := inspect(made(t, "-f", "vmdk", "image", "16M"))
	var r *Refusal
	if !errors.As(err, &r) || r.Hint != "convert it: qemu-img convert -f vmdk -O qcow2 FILE image.qcow2" {
		t.Errorf("the hint is %+v", r)
	}
}

// FuzzInspect: whatever comes, the parser ends, and what it takes keeps what
// its callers rely on.
func FuzzInspect(f *testing.F) {
	for _, b := range [][]byte{
		made(f, "-f", "qcow2", "image", "16M"), made(f, "-f", "qcow2", "-o", "compat=0.10,cluster_size=512", "image", "1M"),
		made(f, "-f", "qcow2", "-o", "extended_l2=on", "image", "1M"), made(f, "-f", "vdi", "image", "1M"), mbr(1024),
		{},
		[]byte("QFI\xfb"),
	} {
		f.Add(b[:min(len(b), 4096)], int64(len(b)))
	}
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		size = max(int64(len(b)), size&(1<<45-1))
		got, err := Inspect(bytes.NewReader(b), size)
		if err != nil {
			if reason(err)[:1] == "e" {
				t.Fatalf("not a refusal: %v", err)
			}
			return
		}
		if got.Format != "qcow2" && got.Format != "raw" || got.VirtualSizeBytes <= 0 || got.VirtualSizeBytes > MaxVirtualSize || got.SizeBytes != size {
			t.Fatalf("took %+v", got)
		}
		if got.Format == "qcow2" && (len(b) < 72 || !bytes.Equal(b[8:20], make([]byte, 12))) {
			t.Fatalf("took a qcow2 with a backing file: %x", b[:min(len(b), 72)])
		}
	})
}
