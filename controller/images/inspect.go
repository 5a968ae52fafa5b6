package images

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Info is what was found in an image.
type Info struct {
	Format           string // qcow2 or raw
	SizeBytes        int64
	VirtualSizeBytes int64
	SHA256           string
}

// MaxVirtualSize is the largest disk that an image may describe: 64 TiB.
const MaxVirtualSize = 64 << 40

// foreign are formats that can be recognised and are refused: where their magic is.
var foreign = []struct {
	name, qemu string
	offset     int64
	magic      string
}{
	{"VMDK", "vmdk", 0, "KDMV"},
	{"VMDK", "vmdk", 0, "COWD"},
	{"VMDK", "vmdk", 0, "# Disk DescriptorFile"},
	{"VDI", "vdi", 64, "\x7f\x10\xda\xbe"},
	{"VHD", "vpc", 0, "conectix"},
	{"VHDX", "vhdx", 0, "vhdxfile"},
	{"QED", "qed", 0, "QED\x00"},
	{"Parallels", "parallels", 0, "WithoutFreeSpace"},
	{"Parallels", "parallels", 0, "WithouFreSpacExt"},
}

var packed = []struct{ name, command, magic string }{
	{"gzip", "gunzip", "\x1f\x8b"},
	{"xz", "unxz", "\xfd7zXZ\x00"},
	{"zstd", "unzstd", "\x28\xb5\x2f\xfd"},
	{"bzip2", "bunzip2", "BZh"},
	{"zip", "unzip", "PK\x03\x04"},
}

// Inspect finds out what the bytes are. It reads headers only, and never more
// than a fixed amount of them. The error is a *Refusal where the bytes are at fault.
func Inspect(r io.ReaderAt, size int64) (Info, error) {
	head := make([]byte, 64<<10)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return Info{}, fmt.Errorf("inspect the image: %w", err)
	}
	head = head[:min(int64(n), size)]
	if len(head) < 512 {
		return Info{}, refuse("TooShort", "upload a disk image", "%d bytes are too few for a disk", size)
	}
	if bytes.HasPrefix(head, []byte(qcowMagic)) {
		return inspectQCOW2(head, size)
	}
	if err := refuseForeign(head); err != nil {
		return Info{}, err
	}
	tail := make([]byte, 512)
	if _, err := r.ReadAt(tail, size-512); err != nil && !errors.Is(err, io.EOF) {
		return Info{}, fmt.Errorf("inspect the image: %w", err)
	}
	if bytes.HasPrefix(tail, []byte("conectix")) {
		return Info{}, convert("VHD", "vpc")
	}
	return inspectRaw(head, size)
}

func refuseForeign(head []byte) error {
	for _, f := range foreign {
		if f.offset+int64(len(f.magic)) <= int64(len(head)) && string(head[f.offset:f.offset+int64(len(f.magic))]) == f.magic {
			return convert(f.name, f.qemu)
		}
	}
	for _, p := range packed {
		if bytes.HasPrefix(head, []byte(p.magic)) {
			return refuse("Compressed", "unpack it first: "+p.command+" FILE", "it is compressed with %s", p.name)
		}
	}
	if bytes.HasPrefix(head, []byte("LUKS\xba\xbe")) {
		return refuse("Encrypted", "upload it decrypted", "it is a LUKS volume, whose key Cairn does not have")
	}
	if len(head) >= 0x8006 && string(head[0x8001:0x8006]) == "CD001" {
		return refuse("ISO", "install it to a disk elsewhere and upload that, or use a cloud image of the distribution", "it is an ISO 9660 file system: the medium of an installer, not a disk to start from")
	}
	return nil
}

func convert(name, qemu string) error {
	return refuse("ForeignFormat", fmt.Sprintf("convert it: qemu-img convert -f %s -O qcow2 FILE image.qcow2", qemu), "it is in the format %s; Cairn takes qcow2 and raw", name)
}

// inspectRaw takes raw bytes only where they begin with a partition table, so
// that a text file or a half download is not taken for a disk.
func inspectRaw(head []byte, size int64) (Info, error) {
	if size > MaxVirtualSize {
		return Info{}, refuse("TooLarge", "", "%d bytes are more than 64 TiB", size)
	}
	gpt := len(head) >= 520 && string(head[512:520]) == "EFI PART" || len(head) >= 4104 && string(head[4096:4104]) == "EFI PART"
	if !gpt && !hasMBR(head) {
		return Info{}, refuse("NotAnImage", "give a qcow2 image, or a raw disk with a partition table", "it is neither qcow2 nor a disk with an MBR or GPT partition table")
	}
	return Info{Format: "raw", SizeBytes: size, VirtualSizeBytes: (size + 511) &^ 511}, nil
}

// hasMBR looks for the signature and at least one partition, all of them sane:
// the signature alone is on any boot sector.
func hasMBR(head []byte) bool {
	if head[510] != 0x55 || head[511] != 0xaa {
		return false
	}
	found := false
	for e := 446; e < 510; e += 16 {
		active, kind, sectors := head[e], head[e+4], binary.LittleEndian.Uint32(head[e+12:])
		if active&0x7f != 0 {
			return false
		}
		found = found || kind != 0 && sectors != 0
	}
	return found
}
