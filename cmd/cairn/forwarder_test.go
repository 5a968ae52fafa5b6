package main

import (
	"fmt"
	"testing"
)

func TestForwarders_areAddressesOfOthers(t *testing.T) {
	for given, want := range map[string]string{
		"192.0.2.53":        "[192.0.2.53:53]",
		"192.0.2.53:5353":   "[192.0.2.53:5353]",
		"2001:db8::53":      "[[2001:db8::53]:53]",
		"[2001:db8::53]:54": "[[2001:db8::53]:54]",
		"127.0.0.1":         "[127.0.0.1:53]",
		"dns.example":       "",
		"":                  "",
		"0.0.0.0":           "",
		"169.254.169.254":   "",
		"198.18.0.1:53":     "",
		"224.0.0.251":       "",
	} {
		got, err := (&agentFlags{forwarders: []string{given}}).nameServers()
		if (err != nil) != (want == "") || err == nil && fmt.Sprint(got) != want {
			t.Errorf("%q: %v, %v, want %s", given, got, err, want)
		}
	}
}
