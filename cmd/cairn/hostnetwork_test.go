package main

import (
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

func TestHostNetwork_marksWhatDiffers(t *testing.T) {
	got := networkText(api.NetworkReport{
		Desired: []string{"host: link a", "host: link b"}, Actual: []string{"host: link c\x1b[31m", "host: link a"},
		Drift: []api.NetworkDrift{{Field: "link b", Desired: "there", Actual: "absent"}},
	})
	const want = "  host: link a\n- host: link b\n+ host: link c [31m\ndiffers: link b is absent, and is to be there\n"
	if got != want {
		t.Errorf("it says\n%q\nand not\n%q", got, want)
	}
}
