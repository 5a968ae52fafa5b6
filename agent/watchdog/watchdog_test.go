package watchdog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A real watchdog resets the machine that the tests run on, so only what comes
// before that is tested here; what the agent does with one is tested in agent and by the simulation.

func TestOpen_refusesWhatIsNoDevice(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{file: "no device", file + "-none": "softdog"} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestArm_saysThatADeviceIsNoWatchdog(t *testing.T) {
	d, err := Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Arm(); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("%v", err)
	}
	if err := d.Pet(); err == nil {
		t.Error("what is not armed was petted")
	}
}
