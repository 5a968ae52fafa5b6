package linux

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"

	"github.com/cairn-cloud/cairn/network"
)

// elementType is a type of a set's fields: how wide it is, and how nft writes it.
type elementType struct {
	datatype nftables.SetDatatype
	parse    func(string) ([]byte, error)
	format   func([]byte) string
}

var elementTypes = map[string]elementType{
	"ifname": {
		nftables.TypeIFName,
		func(s string) ([]byte, error) { return linkName(strings.Trim(s, `"`)) },
		func(b []byte) string { return `"` + strings.TrimRight(string(b), "\x00") + `"` },
	},
	"ether_addr": {nftables.TypeEtherAddr, macAddress, func(b []byte) string { return net.HardwareAddr(b).String() }},
	"ipv6_addr":  {nftables.TypeIP6Addr, ipAddress, func(b []byte) string { return netip.AddrFrom16([16]byte(b)).String() }},
	"inet_proto": {nftables.TypeInetProto, number(1, nil), func(b []byte) string { return strconv.Itoa(int(b[0])) }},
	"icmpv6_type": {nftables.TypeICMP6Type, number(1, icmpv6Types), func(b []byte) string {
		for name, n := range icmpv6Types {
			if n == uint64(b[0]) {
				return name
			}
		}
		return strconv.Itoa(int(b[0]))
	}},
	"mark": {nftables.TypeMark, hostNumber, func(b []byte) string { return fmt.Sprintf("0x%08x", binary.NativeEndian.Uint32(b)) }},
	"classid": {nftables.TypeClassID, classID, func(b []byte) string {
		n := binary.NativeEndian.Uint32(b)
		return fmt.Sprintf("%x:%x", n>>16, n&0xffff)
	}},
	"inet_service": {nftables.TypeInetService, number(2, nil), func(b []byte) string { return strconv.Itoa(int(binary.BigEndian.Uint16(b))) }},
	"ipv4_addr":    {nftables.TypeIPAddr, ipAddress, func(b []byte) string { return netip.AddrFrom4([4]byte(b)).String() }},
}

// hostNumber reads a number that is in the byte order of the host.
func hostNumber(s string) ([]byte, error) {
	n, err := strconv.ParseUint(s, 0, 32)
	return binary.NativeEndian.AppendUint32(nil, uint32(n)), err
}

func classID(s string) ([]byte, error) {
	major, minor, _ := strings.Cut(s, ":")
	a, err := strconv.ParseUint(major, 16, 16)
	b, err2 := strconv.ParseUint(minor, 16, 16)
	return binary.NativeEndian.AppendUint32(nil, uint32(a<<16|b)), errors.Join(err, err2)
}

// setOf describes a set to the kernel.
func setOf(t *nftables.Table, x network.SetType) *nftables.Set {
	s := &nftables.Set{Table: t, Name: x.Name, KeyType: elementTypes[x.Types[0]].datatype, Interval: x.Interval}
	if x.Types[0] == "ifname" { // only said for nft, which would print it backwards
		s.KeyByteOrder = binaryutil.NativeEndian
	}
	if x.Data != "" {
		s.IsMap, s.DataType = true, elementTypes[x.Data].datatype
	}
	if len(x.Types) > 1 {
		all := make([]nftables.SetDatatype, len(x.Types))
		for i, n := range x.Types {
			all[i] = elementTypes[n].datatype
		}
		s.KeyType, s.Concatenation = nftables.MustConcatSetType(all...), true
	}
	return s
}

// inParts hands on elements in parts that fit into a message each, of which the
// kernel counts the length in 16 bits.
func inParts(x network.SetType, elements []string, do func([]nftables.SetElement) error) error {
	for part := range slices.Chunk(elements, 256) {
		out := make([]nftables.SetElement, len(part))
		for i, e := range part {
			key, value, _ := strings.Cut(e, " : ")
			first, last, err := keyOf(x.Types, x.Interval, key)
			if err != nil {
				return fmt.Errorf("element %s: %w", e, err)
			}
			if out[i].Key = first; x.Interval {
				out[i].KeyEnd = last
			}
			if x.Data == "" {
				continue
			}
			if out[i].Val, _, err = keyOf([]string{x.Data}, false, value); err != nil {
				return fmt.Errorf("element %s: %w", e, err)
			}
		}
		if err := do(out); err != nil {
			return err
		}
	}
	return nil
}

// keyOf reads an element as nft writes it: its key, and where there may be ranges
// in it the first key and the last. In a concatenation each field begins at a multiple
// of four bytes.
func keyOf(types []string, ranges bool, element string) (first, last []byte, err error) {
	values := strings.Split(element, " . ")
	if len(values) != len(types) {
		return nil, nil, fmt.Errorf("it has %d fields and not %d", len(values), len(types))
	}
	for i, t := range types {
		read := oneOf
		if ranges {
			read = rangeOf
		}
		a, b, err := read(elementTypes[t].parse, values[i])
		if err != nil {
			return nil, nil, err
		}
		first, last = append(first, a...), append(last, b...)
		for len(first)%4 != 0 && len(types) > 1 {
			first, last = append(first, 0), append(last, 0)
		}
	}
	return first, last, nil
}

func oneOf(parse func(string) ([]byte, error), s string) (first, last []byte, err error) {
	first, err = parse(s)
	return first, first, err
}

// rangeOf reads one value, a prefix, or two values with a line between them.
func rangeOf(parse func(string) ([]byte, error), s string) (first, last []byte, err error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		first, last = p.Masked().Addr().AsSlice(), p.Masked().Addr().AsSlice()
		for i, m := range net.CIDRMask(p.Bits(), p.Addr().BitLen()) {
			last[i] |= ^m
		}
		return first, last, nil
	}
	from, to, two := strings.Cut(s, "-")
	if !two {
		return oneOf(parse, s)
	}
	first, err = parse(from)
	last, err2 := parse(to)
	return first, last, errors.Join(err, err2)
}

// observeSet reads a set's elements.
func (r *rules) observeSet(s *nftables.Set, x network.SetType) (map[string]bool, error) {
	out := map[string]bool{}
	for _, t := range append(slices.Clone(x.Types), cmp.Or(x.Data, x.Types[0])) {
		if _, known := elementTypes[t]; !known {
			return out, nil // not ours; the table's skeleton tells
		}
	}
	elements, err := r.GetSetElements(s)
	if err != nil {
		return nil, err
	}
	for _, e := range elements {
		if !x.Interval {
			e.KeyEnd = e.Key
		}
		name, ok := elementOf(x.Types, e.Key, e.KeyEnd)
		if ok && x.Data != "" {
			var value string
			value, ok = elementOf([]string{x.Data}, e.Val, e.Val)
			name += " : " + value
		}
		if ok {
			out[name] = true
		}
	}
	return out, nil
}

func elementOf(types []string, first, last []byte) (string, bool) {
	values := make([]string, len(types))
	for i, t := range types {
		n := int(elementTypes[t].datatype.Bytes)
		if len(first) < n || len(last) < n {
			return "", false
		}
		values[i] = formatRange(elementTypes[t].format, first[:n], last[:n])
		step := (n + 3) / 4 * 4
		first, last = first[min(len(first), step):], last[min(len(last), step):]
	}
	return strings.Join(values, " . "), true
}

// formatRange writes what rangeOf reads; ranges of addresses are prefixes.
func formatRange(format func([]byte) string, first, last []byte) string {
	a, b := format(first), format(last)
	if a == b {
		return a
	}
	from, ok := netip.AddrFromSlice(first)
	if !ok {
		return a + "-" + b
	}
	for bits := range from.BitLen() {
		p := netip.PrefixFrom(from, bits)
		if f, l, err := rangeOf(nil, p.String()); err == nil && p.Masked() == p && slices.Equal(f, first) && slices.Equal(l, last) {
			return p.String()
		}
	}
	return a + "-" + b
}
