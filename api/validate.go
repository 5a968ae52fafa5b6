package api

import (
	"maps"
	"slices"
	"time"
)

// Timestamp is a time in JSON (RFC 3339).
type Timestamp = time.Time

func validateMeta(m *Meta) (f Faults) {
	if !IsName(m.Name) {
		f.Add("name", "use 1 to 63 lower-case letters, digits and dashes, starting with a letter and not ending with a dash", "%q is not a name", m.Name)
	}
	return append(f, validateLabels("labels", m.Labels)...)
}

// IsName tells whether s can be a resource's name: a DNS label that starts
// with a letter, so that it is never mistaken for an ID (those have a "_").
func IsName(s string) bool {
	if len(s) == 0 || len(s) > 63 || s[0] < 'a' || s[0] > 'z' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func validateLabels(at string, labels map[string]string) (f Faults) {
	if len(labels) > 64 {
		f.Add(at, "", "%d labels are more than 64", len(labels))
	}
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		v := labels[k]
		if !IsLabelWord(k) || k == "" {
			f.Add(at+"."+k, "use 1 to 63 letters, digits, dots, slashes, dashes and underscores", "%q is not a label's key", k)
		}
		if !IsLabelWord(v) {
			f.Add(at+"."+k, "use up to 63 letters, digits, dots, slashes, dashes and underscores", "%q is not a label's value", v)
		}
	}
	return f
}

// IsLabelWord tells whether s can be the value of a label, or its key if it is not empty.
func IsLabelWord(s string) bool {
	if len(s) > 63 {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '/', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
