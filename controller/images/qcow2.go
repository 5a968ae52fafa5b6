package images

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// The qcow2 header, as docs/interop/qcow2.txt of QEMU describes it.
const qcowMagic = "QFI\xfb"

const (
	qcowV2Length     = 72
	qcowV3Length     = 104
	featureDirty     = 1 << 0
	featureCorrupt   = 1 << 1
	featureData      = 1 << 2
	featureCompress  = 1 << 3
	featureExtended  = 1 << 4
	extensionEnd     = 0
	extensionBacking = 0xe2792aca
	extensionData    = 0x44415441
	extensionCrypto  = 0x0537be77
	maxL1Bytes       = 32 << 20
)

// qcowHeader is what of the header is judged.
type qcowHeader struct {
	Version       uint32
	BackingOffset uint64
	BackingSize   uint32
	ClusterBits   uint32
	Size          uint64
	Crypt         uint32
	L1Size        uint32
	L1Offset      uint64
	RefOffset     uint64
	RefClusters   uint32
	Snapshots     uint32
	SnapOffset    uint64
	// Version 3; as they are implied in version 2.
	Incompatible uint64
	Compatible   uint64
	Autoclear    uint64
	RefOrder     uint32
	Length       uint32
}

func inspectQCOW2(head []byte, size int64) (Info, error) {
	h := qcowHeader{RefOrder: 4, Length: qcowV2Length}
	fields := []any{&h.Version, &h.BackingOffset, &h.BackingSize, &h.ClusterBits, &h.Size, &h.Crypt, &h.L1Size, &h.L1Offset, &h.RefOffset, &h.RefClusters, &h.Snapshots, &h.SnapOffset}
	r := bytes.NewReader(head[4:])
	read := func(fields ...any) error {
		for _, f := range fields {
			if err := binary.Read(r, binary.BigEndian, f); err != nil {
				return damaged("its header is cut short")
			}
		}
		return nil
	}
	if err := read(fields...); err != nil {
		return Info{}, err
	}
	if h.Version >= 3 {
		if err := read(&h.Incompatible, &h.Compatible, &h.Autoclear, &h.RefOrder, &h.Length); err != nil {
			return Info{}, err
		}
	}
	for _, judge := range []func(*qcowHeader, []byte, int64) error{judgeVersion, judgeReferences, judgeFeatures, judgeSizes, judgeExtensions} {
		if err := judge(&h, head, size); err != nil {
			return Info{}, err
		}
	}
	return Info{Format: "qcow2", SizeBytes: size, VirtualSizeBytes: int64(h.Size)}, nil
}

func damaged(format string, args ...any) error {
	return refuse("Damaged", "make it anew: qemu-img convert -O qcow2 OLD image.qcow2", "it is a damaged qcow2 file: "+format, args...)
}

func judgeVersion(h *qcowHeader, _ []byte, _ int64) error {
	if h.Version != 2 && h.Version != 3 {
		return refuse("ForeignFormat", "convert it: qemu-img convert -O qcow2 FILE image.qcow2", "it is qcow version %d; Cairn takes 2 and 3", h.Version)
	}
	if h.Version == 3 && (h.Length < qcowV3Length || h.Length%8 != 0 || h.Length > 4096) {
		return damaged("its header says it is %d bytes long", h.Length)
	}
	return nil
}

// judgeReferences refuses what would make QEMU open another file, or need a key.
func judgeReferences(h *qcowHeader, _ []byte, _ int64) error {
	const flat = "make it stand alone: qemu-img convert -O qcow2 FILE image.qcow2"
	switch {
	case h.BackingOffset != 0 || h.BackingSize != 0:
		return refuse("BackingFile", flat, "it has a backing file: it is a difference to a disk that is not in it")
	case h.Incompatible&featureData != 0:
		return refuse("ExternalDataFile", flat, "it has an external data file: its bytes are not in it")
	case h.Crypt != 0:
		return refuse("Encrypted", "upload it decrypted", "it is encrypted, and Cairn does not have its key")
	case h.Snapshots != 0:
		return refuse("InternalSnapshots", flat, "it holds %d internal snapshots, which instances could not see and would carry along", h.Snapshots)
	}
	return nil
}

func judgeFeatures(h *qcowHeader, head []byte, _ int64) error {
	if h.Incompatible&featureDirty != 0 {
		return refuse("Dirty", "repair it: qemu-img check -r all FILE", "it was not closed properly")
	}
	if h.Incompatible&featureCorrupt != 0 {
		return damaged("it is marked as corrupt")
	}
	if unknown := h.Incompatible &^ (featureCompress | featureExtended); unknown != 0 {
		return refuse("UnknownFeature", "convert it: qemu-img convert -O qcow2 FILE image.qcow2", "it needs features that Cairn does not know (bits %#x)", unknown)
	}
	if h.Incompatible&featureCompress != 0 {
		if h.Length <= 104 || len(head) < 105 || head[104] > 1 {
			return refuse("UnknownFeature", "convert it: qemu-img convert -O qcow2 FILE image.qcow2", "its compression is unknown")
		}
	}
	return nil
}

func judgeSizes(h *qcowHeader, _ []byte, size int64) error {
	switch {
	case h.ClusterBits < 9 || h.ClusterBits > 21:
		return damaged("clusters of 2^%d bytes", h.ClusterBits)
	case h.Incompatible&featureExtended != 0 && h.ClusterBits < 14:
		return damaged("clusters of 2^%d bytes are too small for subclusters", h.ClusterBits)
	case h.RefOrder > 6:
		return damaged("reference counts of 2^%d bits", h.RefOrder)
	case h.Size == 0:
		return refuse("TooShort", "", "its disk is empty")
	case h.Size > MaxVirtualSize:
		return refuse("TooLarge", "", "its disk of %d bytes is larger than 64 TiB", h.Size)
	}
	cluster := uint64(1) << h.ClusterBits
	entry := uint64(8)
	if h.Incompatible&featureExtended != 0 {
		entry = 16
	}
	perL1 := cluster / entry * cluster
	need := (h.Size + perL1 - 1) / perL1
	switch {
	case uint64(h.L1Size) < need || uint64(h.L1Size)*8 > maxL1Bytes:
		return damaged("its first table has %d entries, and it needs %d", h.L1Size, need)
	case !inside(h.L1Offset, uint64(h.L1Size)*8, size, cluster):
		return damaged("its first table lies outside of the file")
	case h.RefClusters == 0 || uint64(h.RefClusters)<<h.ClusterBits > 64<<20 || !inside(h.RefOffset, 8, size, cluster):
		return damaged("its table of reference counts lies outside of the file")
	}
	return nil
}

// inside tells whether a table begins on a cluster of its own and ends in the file.
func inside(offset, length uint64, size int64, cluster uint64) bool {
	return offset >= cluster && offset%cluster == 0 && offset < uint64(size) && length <= uint64(size)-offset
}

// judgeExtensions walks the header's extensions, which may name other files too.
func judgeExtensions(h *qcowHeader, head []byte, _ int64) error {
	end := min(uint64(len(head)), uint64(1)<<h.ClusterBits)
	at := uint64(h.Length)
	for at+8 <= end {
		kind, length := binary.BigEndian.Uint32(head[at:]), uint64(binary.BigEndian.Uint32(head[at+4:]))
		if kind == extensionEnd {
			return nil
		}
		if name := map[uint32]string{extensionBacking: "backing file", extensionData: "external data file", extensionCrypto: "encryption key"}[kind]; name != "" {
			return refuse("HeaderExtension", "make it stand alone: qemu-img convert -O qcow2 FILE image.qcow2", "its header speaks of a %s", name)
		}
		if at += 8 + (length+7)&^7; at > end {
			return damaged("the header extension %s ends outside of the header", fmt.Sprintf("%#x", kind))
		}
	}
	return nil
}
