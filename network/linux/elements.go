package linux

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
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
	"ipv4_addr": {nftables.TypeIPAddr, ipAddress, func(b []byte) string { return netip.AddrFrom4([4]byte(b)).String() }},
}

// setOf describes a set to the kernel.
func setOf(t *nftables.Table, name string, types []string, data string) *nftables.Set {
	s := &nftables.Set{Table: t, Name: name, KeyType: elementTypes[types[0]].datatype}
	if types[0] == "ifname" { // only said for nft, which would print it backwards
		s.KeyByteOrder = binaryutil.NativeEndian
	}
	if data != "" {
		s.IsMap, s.DataType = true, elementTypes[data].datatype
	}
	if len(types) > 1 {
		all := make([]nftables.SetDatatype, len(types))
		for i, n := range types {
			all[i] = elementTypes[n].datatype
		}
		s.KeyType, s.Concatenation = nftables.MustConcatSetType(all...), true
	}
	return s
}

// inParts hands on elements in parts that fit into a message each, of which the
// kernel counts the length in 16 bits.
func inParts(types []string, data string, elements []string, do func([]nftables.SetElement) error) error {
	for part := range slices.Chunk(elements, 256) {
		out := make([]nftables.SetElement, len(part))
		for i, e := range part {
			key, value, _ := strings.Cut(e, " : ")
			k, err := keyOf(types, key)
			if err != nil {
				return fmt.Errorf("element %s: %w", e, err)
			}
			out[i].Key = k
			if data == "" {
				continue
			}
			if out[i].Val, err = keyOf([]string{data}, value); err != nil {
				return fmt.Errorf("element %s: %w", e, err)
			}
		}
		if err := do(out); err != nil {
			return err
		}
	}
	return nil
}

// keyOf reads an element as nft writes it. In a concatenation each field
// begins at a multiple of four bytes.
func keyOf(types []string, element string) ([]byte, error) {
	values := strings.Split(element, " . ")
	if len(values) != len(types) {
		return nil, fmt.Errorf("it has %d fields and not %d", len(values), len(types))
	}
	var key []byte
	for i, t := range types {
		b, err := elementTypes[t].parse(values[i])
		if err != nil {
			return nil, err
		}
		key = append(key, b...)
		for len(key)%4 != 0 && len(types) > 1 {
			key = append(key, 0)
		}
	}
	return key, nil
}

// observeSet reads a set's elements.
func (r *rules) observeSet(s *nftables.Set, types []string, data string) (map[string]bool, error) {
	out := map[string]bool{}
	for _, t := range append(slices.Clone(types), cmp.Or(data, types[0])) {
		if _, known := elementTypes[t]; !known {
			return out, nil // not ours; the table's skeleton tells
		}
	}
	elements, err := r.GetSetElements(s)
	if err != nil {
		return nil, err
	}
	for _, e := range elements {
		name, ok := elementOf(types, e.Key)
		if ok && data != "" {
			var value string
			value, ok = elementOf([]string{data}, e.Val)
			name += " : " + value
		}
		if ok {
			out[name] = true
		}
	}
	return out, nil
}

func elementOf(types []string, key []byte) (string, bool) {
	values := make([]string, len(types))
	for i, t := range types {
		n := int(elementTypes[t].datatype.Bytes)
		if len(key) < n {
			return "", false
		}
		values[i] = elementTypes[t].format(key[:n])
		key = key[min(len(key), (n+3)/4*4):]
	}
	return strings.Join(values, " . "), true
}
