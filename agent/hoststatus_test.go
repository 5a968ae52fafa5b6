package agent

import (
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

func TestHostStatus_offersWhatItIsToldTo(t *testing.T) {
	w := newWorld()
	a := &Agent{o: Options{Layout: Layout(t.TempDir()), Drivers: w.drivers(), Underlay: testUnderlay}}
	all, err := a.hostStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if all.CPUs != 2 || all.MemoryMiB != 4096 || all.DiskGiB == 0 {
		t.Errorf("without a word it offers not all that it has: %+v", all)
	}
	a.o.Size = api.Size{VCPUs: 16, MemoryMiB: 2048, DiskGiB: 7}
	some, err := a.hostStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if some.CPUs != 16 || some.MemoryMiB != 2048 || some.DiskGiB != 7 {
		t.Errorf("it does not offer what it is told to: %+v", some)
	}
}
