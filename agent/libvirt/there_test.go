package libvirt

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/agent"
)

// TestMoveXML_namesTheOtherHostsFiles and keeps what the guest sees.
func TestMoveXML_namesTheOtherHostsFiles(t *testing.T) {
	spec := func(state string, epoch int64) agent.DomainSpec {
		return agent.DomainSpec{
			Title: "p/web", VCPUs: 2, MemoryMiB: 128, Architecture: "x86_64",
			Root:        agent.DiskFile{Path: state + "/root.qcow2", Format: "qcow2", Backing: &agent.DiskFile{Path: state + "/image", Format: "raw"}},
			ConfigDrive: state + "/config.iso", ConsoleLog: state + "/console.log",
			NICs: []agent.DomainNIC{{Tap: "ctx", MAC: "02:00:00:00:00:01", MTU: 1500}},
			Mark: agent.Mark{Instance: "ins_a", Epoch: epoch},
		}
	}
	here, err := domainXML(spec("/here", 1), machine{directIO: func(string) bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	there, err := moveXML(here, spec("/there", 2))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(there, "/here") || !strings.Contains(there, `epoch="2"`) {
		t.Errorf("there it would be\n%s", there)
	}
	s, err := specOf(there)
	if err != nil {
		t.Fatal(err)
	}
	want := spec("/there", 2)
	if s.Root.String() != want.Root.String() || s.ConfigDrive != want.ConfigDrive || s.ConsoleLog != want.ConsoleLog || s.NICs[0] != want.NICs[0] || s.VCPUs != 2 {
		t.Errorf("there it would be %+v, want %+v", s, want)
	}
}

// TestLog_comesWhole in two parts, as the guest goes on writing meanwhile.
func TestLog_comesWhole(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.WriteFile(to, []byte("of a move before"), 0o600); err != nil {
		t.Fatal(err)
	}
	var sent int64
	for _, part := range []string{"boot\n", "ready\n", ""} {
		f, err := os.OpenFile(from, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, part); err != nil {
			t.Fatal(err)
		}
		s := receiveLog(to)
		n, err := copyLog(s.(net.Conn), f, sent)
		if err != nil {
			t.Fatal(err)
		}
		sent += n
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		_ = f.Close()
	}
	if got, err := os.ReadFile(to); err != nil || string(got) != "boot\nready\n" {
		t.Errorf("the log is %q, %v", got, err)
	}
}
