package guest

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
)

// DHCP goes by packets, not by a UDP socket: a client that has no address yet
// cannot be asked for its MAC by ARP, and what it sends says which MAC it came
// from only in its frame.

const (
	serverPort = 67
	clientPort = 68
	protoUDP   = 17
	udpHeader  = 8
	ttl        = 64
)

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// dhcpFilter lets whole UDP packets to the server's port through, seen from the IP header.
func dhcpFilter() ([]bpf.RawInstruction, error) {
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoUDP, SkipFalse: 6},
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x3fff, SkipTrue: 4}, // a fragment
		bpf.LoadMemShift{Off: 0},
		bpf.LoadIndirect{Off: 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: serverPort, SkipFalse: 1},
		bpf.RetConstant{Val: 0xffff},
		bpf.RetConstant{Val: 0},
	})
}

// nothingFilter lets nothing through.
func nothingFilter() ([]bpf.RawInstruction, error) {
	return bpf.Assemble([]bpf.Instruction{bpf.RetConstant{Val: 0}})
}

// payload is what an IPv4 packet for the DHCP server carries, or nil. Its
// checksums are not looked at: a guest with an offloading NIC has not made them.
func payload(packet []byte) []byte {
	h, err := ipv4.ParseHeader(packet)
	if err != nil || h.Version != ipv4.Version || h.Len < ipv4.HeaderLen || h.Protocol != protoUDP ||
		h.Flags&ipv4.MoreFragments != 0 || h.FragOff != 0 || h.TotalLen > len(packet) || h.TotalLen < h.Len+udpHeader {
		return nil
	}
	udp := packet[h.Len:h.TotalLen] // without the padding of short frames
	size := int(binary.BigEndian.Uint16(udp[4:]))
	if binary.BigEndian.Uint16(udp[2:]) != serverPort || size < udpHeader || size > len(udp) {
		return nil
	}
	return udp[udpHeader:size]
}

// answerPacket is the IPv4 packet of an answer.
func answerPacket(from, to netip.Addr, message []byte) ([]byte, error) {
	size := udpHeader + len(message)
	h := ipv4.Header{
		Version: ipv4.Version, Len: ipv4.HeaderLen, TotalLen: ipv4.HeaderLen + size,
		Flags: ipv4.DontFragment, TTL: ttl, Protocol: protoUDP, Src: ipOf(from), Dst: ipOf(to),
	}
	head, err := h.Marshal()
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint16(head[10:], checksum(0, head))
	udp := make([]byte, udpHeader, size)
	binary.BigEndian.PutUint16(udp[0:], serverPort)
	binary.BigEndian.PutUint16(udp[2:], clientPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(size))
	udp = append(udp, message...)
	sum := checksum(uint32(protoUDP+size), head[12:20], udp) // over the addresses, protocol and length too
	if sum == 0 {
		sum = 0xffff // 0 would mean that there is none
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	return append(head, udp...), nil
}

// checksum is the internet's (RFC 1071). All parts but the last are of even length.
func checksum(sum uint32, parts ...[]byte) uint16 {
	for _, b := range parts {
		for ; len(b) > 1; b = b[2:] {
			sum += uint32(b[0])<<8 | uint32(b[1])
		}
		if len(b) == 1 {
			sum += uint32(b[0]) << 8
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
