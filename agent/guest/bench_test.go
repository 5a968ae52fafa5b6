package guest

import (
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

func BenchmarkDHCP(b *testing.B) {
	v, q := viewOf(b, oneGuest(), 1), query(dhcpv4.MessageTypeDiscover).ToBytes()
	for b.Loop() {
		if a, _ := answerDHCP(v, hw(macA), q); a == nil {
			b.Fatal("no answer")
		}
	}
}

func BenchmarkMetadata(b *testing.B) {
	m := metadataOf(b, oneGuest(), &clock{})
	m.asked.burst = 1 << 40
	for b.Loop() {
		if w := ask(m, "10.10.0.11", "GET", "/latest/meta-data/instance-id"); w.Code != 200 {
			b.Fatal(w.Code, w.Body)
		}
	}
}
