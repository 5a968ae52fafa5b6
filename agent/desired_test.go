package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

func TestDesired_outlivesTheAgent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "desired.json")
	want := testDesired(testInstance("ins_a"))
	if err := saveDesired(path, want); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: it holds user data and wants 0600", st, err)
	}
	d, err := loadDesired(path)
	if err != nil || !d.known || d.synced || digest(d.want) != digest(want) {
		t.Errorf("%v: known %t, synced %t, %+v", err, d.known, d.synced, d.want)
	}
}

func TestDesired_aDamagedFileIsAnErrorThatSaysWhatToDo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "desired.json")
	if err := os.WriteFile(path, []byte(`{"revision":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadDesired(path); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("%v", err)
	}
}

func TestDesired_followsTheStream(t *testing.T) {
	d, err := loadDesired(filepath.Join(t.TempDir(), "none"))
	if err != nil {
		t.Fatal(err)
	}
	say := func(items ...api.DesiredItem) map[string]bool {
		t.Helper()
		changed, err := d.apply(items)
		if err != nil {
			t.Fatal(err)
		}
		return changed
	}
	first := testDesired(testInstance("ins_a"), testInstance("ins_b"))
	first.Floating["fip_a"] = api.HostFloating{ID: "fip_a", Port: "prt_ins_a"}
	first.Floating["fip_b"] = api.HostFloating{ID: "fip_b", Port: "prt_ins_b"}
	first.Groups["sgr_a"], first.Groups["sgr_b"] = api.HostGroup{ID: "sgr_a"}, api.HostGroup{ID: "sgr_b"}
	if c := say(all(first)...); !c["ins_a"] || !c["ins_b"] || !d.synced || digest(d.want) != digest(first) {
		t.Errorf("changed %v, synced %t, %+v", c, d.synced, d.want)
	}
	before := d.want
	if c := say(all(first)...); len(c) != 0 {
		t.Errorf("the same again changed %v", c)
	}
	say(api.DesiredItem{Op: "delete", Kind: api.KindInstance, ID: "ins_b"}, api.DesiredItem{Op: "delete", Kind: api.KindPort, ID: "prt_ins_b"}, api.DesiredItem{Op: "delete", Kind: api.KindFloatingIP, ID: "fip_b"}, api.DesiredItem{Op: "delete", Kind: api.KindSecurityGroup, ID: "sgr_b"})
	if digest(before) != digest(first) {
		t.Error("a value that was handed out has changed")
	}
	if len(d.want.Instances) != 1 || len(d.want.Ports) != 1 || len(d.want.Floating) != 1 || len(d.want.Groups) != 1 {
		t.Errorf("after the delete: %+v", d.want)
	}
	d.restart()
	say(api.DesiredItem{Op: "delete", Kind: api.KindInstance, ID: "ins_a"})
	if len(d.want.Instances) != 1 {
		t.Error("something was dropped before all was said")
	}
	say(api.DesiredItem{Op: "synced", Revision: 9})
	if len(d.want.Instances)+len(d.want.Ports)+len(d.want.Floating)+len(d.want.Groups)+len(d.want.Networks) != 0 || d.want.Revision != 9 {
		t.Errorf("what was not said is kept: %+v", d.want)
	}
}

func TestDesired_aPortOfAnInstanceThatChangesChangesIt(t *testing.T) {
	d := &desired{want: testDesired(testInstance("ins_a"))}
	p := d.want.Ports["prt_ins_a"]
	p.MAC = "02:00:00:00:00:77"
	if c, err := d.apply([]api.DesiredItem{{Op: "set", Kind: api.KindPort, ID: p.ID, Port: &p}}); err != nil || !c["ins_a"] {
		t.Errorf("changed %v, %v", c, err)
	}
}

func TestDesired_saysWhatItDoesNotKnow(t *testing.T) {
	d := &desired{want: testDesired()}
	if _, err := d.apply([]api.DesiredItem{{Op: "frob", Kind: "volume", ID: "vol_a"}}); err == nil || !strings.Contains(err.Error(), "frob") {
		t.Errorf("%v", err)
	}
}

func FuzzDesired_aDamagedFileNeverPanics(f *testing.F) {
	f.Add([]byte(`{"revision":7,"instances":{"ins_a":{"id":"ins_a"}},"ports":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "desired.json")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := loadDesired(path)
		if err != nil {
			return
		}
		if _, err := d.apply(all(testDesired(testInstance("ins_a")))); err != nil && d.want.Revision <= 7 {
			t.Errorf("a good stream after it: %v", err)
		}
		Plan(d.want, newWorld().observed(nil), testStart)
	})
}
