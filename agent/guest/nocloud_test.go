package guest

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/api"
)

var update = flag.Bool("update", false, "write the golden files")

// twoNICs is an instance in two networks, the second of which has more subnets.
func twoNICs() api.HostDesired {
	d := oneGuest()
	d.Networks["net_m"] = api.HostNetwork{ID: "net_m", VNI: 2, MTU: 1400, Subnets: map[string]api.HostSubnet{
		"sub_m1": {CIDR: prefix("10.20.1.0/26"), Gateway: addr("10.20.1.1")},
		"sub_m2": {CIDR: prefix("10.20.2.0/26"), Gateway: addr("10.20.2.1")},
	}}
	d.Ports["prt_a2"] = api.HostPort{
		ID: "prt_a2", Network: "net_m", Instance: "ins_a", Hostname: "a", MAC: macB, Addresses: []api.PortAddress{{Subnet: "sub_m1", Address: addr("10.20.1.5")}}, Local: true,
	}
	i := d.Instances["ins_a"]
	i.Ports = append(i.Ports, "prt_a2")
	d.Instances["ins_a"] = i
	return d
}

// dualStack is an instance with addresses of both families, that of IPv6 named
// first, in a network with one more subnet of each.
func dualStack() api.HostDesired {
	d := oneGuest()
	for id, cidr := range map[string]string{"sub_n4": "10.10.9.0/24", "sub_n6": "fd00:0:0:6::/64", "sub_n7": "fd00:0:0:7::/64"} {
		p := prefix(cidr)
		d.Networks["net_n"].Subnets[id] = api.HostSubnet{CIDR: p, Gateway: p.Addr().Next()}
	}
	p := d.Ports["prt_a"]
	p.Addresses = append([]api.PortAddress{{Subnet: "sub_n6", Address: addr("fd00::6:0:ff:fe00:a")}}, p.Addresses...)
	d.Ports["prt_a"] = p
	return d
}

// hostile has, wherever a tenant writes, what would become something else if it
// were pasted.
func hostile() api.HostDesired {
	d := oneGuest()
	i := d.Instances["ins_a"]
	i.Name = "yes\"\nroot: {}\n#"
	i.SSHKeys = []string{
		"ssh-ed25519 AAAA it's: a \"comment\" # {not} [yaml]", "- ssh-rsa BBBB\npublic-keys: [evil]", "", "ssh-ed25519 CCCC \xff\x00\u2028\u0085end", "on", "12:34:56", "!!python/object:x {}", "&a *a",
	}
	i.UserData = "#!/bin/sh\necho 'instance-id: evil' --- \x00\r\n"
	d.Instances["ins_a"] = i
	return d
}

func withKeys() api.HostDesired {
	d := oneGuest()
	i := d.Instances["ins_a"]
	i.SSHKeys = []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1y me@laptop"}
	i.UserData = "ping=10.10.0.11,10.10.0.12\n"
	d.Instances["ins_a"] = i
	return d
}

func noNICs() api.HostDesired {
	d := oneGuest()
	i := d.Instances["ins_a"]
	i.Ports = nil
	d.Instances["ins_a"] = i
	return d
}

func TestConfigDrive_isAsItWas(t *testing.T) {
	for name, d := range map[string]api.HostDesired{"plain": oneGuest(), "keys": withKeys(), "two-nics": twoNICs(), "no-nics": noNICs(), "dual-stack": dualStack(), "hostile": hostile()} {
		t.Run(name, func(t *testing.T) {
			files := drive(t, d)
			if got, want := slices.Sorted(maps.Keys(files)), []string{"meta-data", "network-config", "user-data", "vendor-data"}; !slices.Equal(got, want) {
				t.Fatalf("files %v, want %v", got, want)
			}
			for file, got := range files {
				golden := filepath.Join("testdata", "configdrive", name, file)
				if *update {
					if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(golden, got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s differs from %s (-update writes it anew):\n%s", file, golden, got)
				}
			}
		})
	}
}

func drive(t *testing.T, d api.HostDesired) map[string][]byte {
	t.Helper()
	files, err := Open(Options{Underlay: agent.Underlay{MTU: 1550}}).ConfigDrive(d, "ins_a")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestConfigDrive_whatTenantsWroteStaysAValue(t *testing.T) {
	d := hostile()
	files := drive(t, d)
	i := d.Instances["ins_a"]
	var meta map[string]any
	if err := yaml.UnmarshalStrict(files["meta-data"], &meta); err != nil {
		t.Fatal(err)
	}
	if len(meta) != 3 || meta["instance-id"] != "ins_a" || meta["local-hostname"] != i.Name {
		t.Errorf("meta-data says %q", meta)
	}
	keys, _ := meta["public-keys"].([]any)
	if len(keys) != 7 || keys[0] != i.SSHKeys[0] || keys[1] != i.SSHKeys[1] {
		t.Errorf("keys %q", keys)
	}
	if string(files["user-data"]) != i.UserData {
		t.Errorf("user data %q is not what was given", files["user-data"])
	}
}

// In YAML 1.1, which cloud-init reads, digits and colons are a number to base 60.
func TestConfigDrive_aMACOfDigitsIsNoNumber(t *testing.T) {
	d := oneGuest()
	p := d.Ports["prt_a"]
	p.MAC = "52:54:00:12:34:56"
	d.Ports["prt_a"] = p
	if got, want := string(drive(t, d)["network-config"]), `macaddress: "52:54:00:12:34:56"`; !strings.Contains(got, want) {
		t.Errorf("no %s in\n%s", want, got)
	}
}

// A small guest reads the drive with nothing but a shell.
func TestConfigDrive_canBeReadLineByLine(t *testing.T) {
	meta := string(drive(t, withKeys())["meta-data"])
	for _, want := range []string{"instance-id: ins_a\n", "local-hostname: a\n"} {
		if !strings.Contains("\n"+meta, "\n"+want) {
			t.Errorf("no line %q in\n%s", want, meta)
		}
	}
}

func TestConfigDrive_leavesOutAPortThatIsNotKnownYet(t *testing.T) {
	d := twoNICs()
	delete(d.Ports, "prt_a2")
	if got := string(drive(t, d)["network-config"]); strings.Contains(got, macB) || !strings.Contains(got, macA) {
		t.Errorf("network-config:\n%s", got)
	}
}

func TestConfigDrive_ofAnInstanceThatIsNotHere(t *testing.T) {
	if _, err := Open(Options{}).ConfigDrive(oneGuest(), "ins_z"); err == nil || !strings.Contains(err.Error(), "ins_z") {
		t.Errorf("error %v does not name the instance", err)
	}
}
