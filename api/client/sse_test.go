package client

import (
	"fmt"
	"strings"
	"testing"
)

func TestReadSSE_asTheStandardSays(t *testing.T) {
	for _, x := range []struct{ name, stream, want string }{
		{"one", "id: 1\nevent: put\ndata: a\n\n", "1 put a"},
		{"no event", "data: a\n\n", " message a"},
		{"the id stays", "id: 1\ndata: a\n\ndata: b\n\n", "1 message a|1 message b"},
		{"several lines of data", "data: a\ndata: b\n\n", " message a\nb"},
		{"CRLF", "id: 1\r\ndata: a\r\n\r\n", "1 message a"},
		{"comments and unknown fields", ": hello\nretry: 3\nfoo\ndata: a\n\n", " message a"},
		{"no data", "event: put\n\ndata: a\n\n", " message a"},
		{"one blank is not data", "data:a\n\ndata:  b\n\n", " message a| message  b"},
		{"a byte order mark", "\uFEFFdata: a\n\n", " message a"},
		{"cut short", "data: a\n\ndata: b\n", " message a"},
		{"cut in a line", "data: a\n\ndata: b", " message a"},
	} {
		var got []string
		for e, err := range readSSE(strings.NewReader(x.stream)) {
			if err != nil {
				t.Errorf("%s: %v", x.name, err)
			}
			got = append(got, fmt.Sprintf("%s %s %s", e.ID, e.Event, e.Data))
		}
		if strings.Join(got, "|") != x.want {
			t.Errorf("%s: %q, want %q", x.name, strings.Join(got, "|"), x.want)
		}
	}
}

func TestReadSSE_takesLinesLongerThanItsBuffer(t *testing.T) {
	long := strings.Repeat("x", 300<<10)
	for e, err := range readSSE(strings.NewReader("data: " + long + "\n\n")) {
		if err != nil || e.Data != long {
			t.Errorf("%d bytes, %v", len(e.Data), err)
		}
	}
}

// FuzzSSE holds that what is written as an event is read as that event, and
// that no stream is read as more events than it has blank lines.
func FuzzSSE(f *testing.F) {
	f.Add("data: a\n\n")
	f.Add("id\ndata\n\n\r\n:")
	f.Fuzz(func(t *testing.T, s string) {
		n := 0
		for e, err := range readSSE(strings.NewReader(s)) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Event == "" {
				t.Fatal("an event without a name")
			}
			n++
		}
		if n > strings.Count(s, "\n") {
			t.Fatalf("%d events in %q", n, s)
		}
		line := strings.NewReplacer("\n", "", "\r", "").Replace(s)
		for e, err := range readSSE(strings.NewReader("event: put\ndata: " + line + "\n\n")) {
			if err != nil || e.Data != line {
				t.Fatalf("%q was read as %q, %v", line, e.Data, err)
			}
		}
	})
}
