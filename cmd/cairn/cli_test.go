package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cairn-cloud/cairn/api"
)

var update = flag.Bool("update", false, "write docs/reference anew")

func testApp(files map[string]string, in string) (*app, *bytes.Buffer, *bytes.Buffer) {
	out, errw := &bytes.Buffer{}, &bytes.Buffer{}
	return &app{
		in: strings.NewReader(in), out: out, err: errw,
		getenv: func(string) string { return "" },
		now:    func() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) },
		readFile: func(p string) ([]byte, error) {
			if s, ok := files[p]; ok {
				return []byte(s), nil
			}
			return nil, &os.PathError{Op: "open", Path: p, Err: os.ErrNotExist}
		},
	}, out, errw
}

// A kind without its commands would be reachable by REST only.
func TestCommands_everyKindHasItsVerbs(t *testing.T) {
	a, _, _ := testApp(nil, "")
	root := a.root()
	for _, k := range api.Kinds {
		var want []string
		for _, v := range []api.Verb{api.VerbList, api.VerbGet, api.VerbCreate, api.VerbUpdate, api.VerbDelete} {
			if k.Can(v) {
				want = append(want, string(v))
			}
		}
		for _, action := range k.Actions {
			want = append(want, action.Name)
		}
		for _, name := range []string{k.Name, k.Plural} {
			for _, verb := range want {
				c, _, err := root.Find([]string{name, verb})
				if err != nil || c.Name() != verb || c.Parent().Name() != k.Name {
					t.Errorf("cairn %s %s is no command", name, verb)
				}
			}
		}
		c, _, err := root.Find([]string{k.Name})
		if err != nil || c.Short != k.Doc {
			t.Errorf("cairn %s does not say what the kind is", k.Name)
		}
	}
}

func TestCommands_flagsSayWhatTheyAre(t *testing.T) {
	a, _, _ := testApp(nil, "")
	each(a.root(), func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s has no description", c.CommandPath(), f.Name)
			}
		})
		if c.Short == "" {
			t.Errorf("%s has no description", c.CommandPath())
		}
	})
}

func each(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, sub := range c.Commands() {
		each(sub, visit)
	}
}

// The reference of the CLI is made from the commands.
func TestReference_isFresh(t *testing.T) {
	a, _, _ := testApp(nil, "")
	var b strings.Builder
	b.WriteString("# The command line\n\n<!-- Made by: go test -tags libvirt_dlopen ./cmd/cairn -update -->\n\n" +
		"Data goes to the standard output, everything else to the standard error. Exit codes: 0 done; 1 failed; 2 wrong usage; 3 not found;\n" +
		"4 conflict, or the resource was changed meanwhile; 5 out of time. `NO_COLOR` turns colours off.\n")
	each(a.root(), func(c *cobra.Command) {
		if !c.Runnable() || c.Hidden || c.HasSubCommands() {
			return
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n```\n%s\n```\n", c.CommandPath(), first(c.Long, c.Short), strings.TrimRight(c.UseLine()+"\n\n"+c.LocalNonPersistentFlags().FlagUsages(), "\n"))
	})
	b.WriteString("\n## Flags of every command about resources\n\n```\n")
	c, _, _ := a.root().Find([]string{"instance"})
	b.WriteString(c.PersistentFlags().FlagUsages() + "```\n")
	path := filepath.Join("..", "..", "docs", "reference", "cli.md")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Errorf("%s is stale: go test -tags libvirt_dlopen ./cmd/cairn -update", path)
	}
}

func TestBody_ofFileFlagsAndSets(t *testing.T) {
	files := map[string]string{
		"web.yaml": "labels: {tier: web}\nspec:\n  type: small\n  stop_grace_seconds: 30\n",
		"ud":       "#cloud-config\n",
		"key.pub":  "ssh-ed25519 AAAA me\n",
	}
	for _, c := range []struct {
		kind string
		args []string
		want string
	}{
		{"instance", []string{"-f", "web.yaml", "--type", "large"}, `{"labels":{"tier":"web"},"name":"x","spec":{"stop_grace_seconds":30,"type":"large"}}`},
		{"instance", []string{"--network", "front", "--network", "back=10.0.0.5", "--port", "p1"}, `{"name":"x","spec":{"nics":[{"network":"front"},{"addresses":[{"address":"10.0.0.5"}],"network":"back"},{"port":"p1"}]}}`},
		{"instance", []string{"--user-data-file", "ud", "--ssh-key", "a", "--ssh-key", "b", "--stop-grace-seconds", "5"}, `{"name":"x","spec":{"ssh_keys":["a","b"],"stop_grace_seconds":5,"user_data":"#cloud-config\n"}}`},
		{"instance", []string{"--set", "spec.nics[0].network=front", "--set", "spec.nics[1].network=back", "--set", "spec.nics[0].addresses[0].address=10.0.0.9"}, `{"name":"x","spec":{"nics":[{"addresses":[{"address":"10.0.0.9"}],"network":"front"},{"network":"back"}]}}`},
		{"instance", []string{"--subnet", "a", "--subnet", "b=fd00::5"}, `{"name":"x","spec":{"nics":[{"addresses":[{"subnet":"a"}]},{"addresses":[{"address":"fd00::5","subnet":"b"}]}]}}`},
		{"port", []string{"--network", "front", "--subnet", "a", "--subnet", "b=fd00::5", "--address", "10.0.0.9"}, `{"name":"x","spec":{"addresses":[{"subnet":"a"},{"address":"fd00::5","subnet":"b"},{"address":"10.0.0.9"}],"network":"front"}}`},
		{"instance", []string{"--required-label", "disk=ssd", "--labels", "a=b,c=d"}, `{"labels":{"a":"b","c":"d"},"name":"x","spec":{"required_labels":{"disk":"ssd"}}}`},
		{"instance", []string{"--network", "front", "--port", "p1", "--security-group", "web", "--security-group", "ssh"}, `{"name":"x","spec":{"nics":[{"network":"front","security_groups":["web","ssh"]},{"port":"p1"}]}}`},
		{"port", []string{"--bandwidth-egress-mbps", "200", "--set", "spec.bandwidth.ingress_mbps=7"}, `{"name":"x","spec":{"bandwidth":{"egress_mbps":200,"ingress_mbps":7}}}`},
		{"port", []string{"--set", "spec.bandwidth=null"}, `{"name":"x","spec":{"bandwidth":null}}`},
		{"network", []string{"--route", "172.16.0.0/12,10.0.0.5", "--route", "fd12::/48,fd00::5"}, `{"name":"x","spec":{"routes":[{"destination":"172.16.0.0/12","via":"10.0.0.5"},{"destination":"fd12::/48","via":"fd00::5"}]}}`},
		{"security-group", []string{"--rule", "ingress,tcp,80-90,203.0.113.0/24", "--rule", "ingress,udp,53,web", "--rule", "egress,icmp,8", "--rule", "egress"}, `{"name":"x","spec":{"rules":[{"cidr":"203.0.113.0/24","direction":"ingress","ports":{"first":80,"last":90},"protocol":"tcp"},{"direction":"ingress","group":"web","ports":{"first":53},"protocol":"udp"},{"direction":"egress","icmp_type":8,"protocol":"icmp"},{"direction":"egress"}]}}`},
		{"instance-type", []string{"--vcpus", "2", "--memory-mib", "64", "--disk-gib", "1"}, `{"name":"x","spec":{"disk_gib":1,"memory_mib":64,"vcpus":2}}`},
		{"instance-type", []string{"--vcpus", "two"}, `{"name":"x","spec":{"vcpus":"two"}}`},
		{"project", []string{"--quota-vcpus", "7", "--set", "spec.description=5", "--protected"}, `{"name":"x","protected":true,"spec":{"description":"5","quota":{"vcpus":7}}}`},
		{"subnet", []string{"--network", "front", "--cidr", "10.0.0.0/24", "--dns-server", "9.9.9.9"}, `{"name":"x","spec":{"cidr":"10.0.0.0/24","dns_servers":["9.9.9.9"],"network":"front"}}`},
		{"subnet", []string{"--range", "10.0.0.100-10.0.0.199", "--reserved", "10.0.0.7", "--reserved", "10.0.0.16/28"}, `{"name":"x","spec":{"ranges":["10.0.0.100-10.0.0.199"],"reserved":["10.0.0.7","10.0.0.16/28"]}}`},
		{"ssh-key", []string{"--public-key-file", "key.pub"}, `{"name":"x","spec":{"public_key":"ssh-ed25519 AAAA me\n"}}`},
		{"network", []string{"--labels", "old-", "--mtu", "1400"}, `{"labels":{"old":null},"name":"x","spec":{"mtu":1400}}`},
	} {
		a, _, _ := testApp(files, "")
		k, _ := api.KindByName(c.kind)
		cmd := &cobra.Command{Use: "create"}
		b := a.bodyFlags(cmd, k)
		if err := cmd.ParseFlags(c.args); err != nil {
			t.Errorf("%s %v: %v", c.kind, c.args, err)
			continue
		}
		body, err := b.build(cmd, "x")
		if err != nil {
			t.Errorf("%s %v: %v", c.kind, c.args, err)
			continue
		}
		if got, _ := json.Marshal(body); string(got) != c.want {
			t.Errorf("%s %v:\ngot  %s\nwant %s", c.kind, c.args, got, c.want)
		}
	}
}

func TestBody_refusesWhatItCannotMean(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--set", "spec.type"}, "give PATH=VALUE"},
		{[]string{"--set", "spec.nics[3].network=x"}, "set [0] first"},
		{[]string{"--set", "SPEC=1"}, "is no field"},
		{[]string{"--type", "a", "--set", "spec.type.x=1"}, "is no object"},
		{[]string{"--labels", "a"}, "give KEY=VALUE"},
		{[]string{"--required-label", "a"}, "give KEY=VALUE"},
		{[]string{"--security-group", "web"}, "there are none"},
		{[]string{"-f", "missing.yaml"}, "missing.yaml"},
		{[]string{"-f", "list.yaml"}, "it is no object"},
		{[]string{"-f", "twice.yaml"}, "already set"},
	} {
		a, _, _ := testApp(map[string]string{"list.yaml": "- 1\n", "twice.yaml": "name: a\nname: b\n"}, "")
		k, _ := api.KindByName("instance")
		cmd := &cobra.Command{Use: "create"}
		b := a.bodyFlags(cmd, k)
		if err := cmd.ParseFlags(c.args); err != nil {
			t.Fatal(err)
		}
		if _, err := b.build(cmd, "x"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.args, err, c.want)
		}
	}
}

func TestRun_exitCodesAndHints(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		say  string
	}{
		{[]string{"version"}, exitOK, ""},
		{[]string{"nonsense"}, exitUsage, "unknown command"},
		{[]string{"instance", "frobnicate"}, exitUsage, `no verb "frobnicate"`},
		{[]string{"instance", "get"}, exitUsage, "takes one name"},
		{[]string{"instance", "list", "--colour"}, exitUsage, "unknown flag"},
		{[]string{"instance", "list", "-o", "xml"}, exitUsage, "give one of table"},
		{[]string{"instance", "list"}, exitError, "cairn lab up"},
		{[]string{"instance", "update", "x"}, exitUsage, "nothing to change"},
		{[]string{"instance", "list", "--server", "https://127.0.0.1:1"}, exitError, "CAIRN_TOKEN"},
	} {
		a, _, errw := testApp(nil, "")
		if code := a.run(t.Context(), c.args); code != c.code || !strings.Contains(errw.String(), c.say) {
			t.Errorf("cairn %v: exit %d, want %d; it said %q", c.args, code, c.code, errw)
		}
	}
}

func TestExplain_problemNamesFieldAndHint(t *testing.T) {
	a, _, errw := testApp(nil, "")
	p := api.NewProblem(409, "name_taken", "name", "choose another", "the name %q is taken", "web")
	a.explain(fmt.Errorf("make it: %w", p))
	want := "cairn: make it: the name \"web\" is taken (name_taken)\nfield: name\nhint: choose another\n"
	if errw.String() != want {
		t.Errorf("got %q, want %q", errw, want)
	}
	for status, code := range map[int]int{404: exitNotFound, 409: exitConflict, 412: exitConflict, 422: exitError, 500: exitError} {
		if got := exitCode(fmt.Errorf("x: %w", api.NewProblem(status, "c", "", "", "d"))); got != code {
			t.Errorf("status %d exits with %d, want %d", status, got, code)
		}
	}
}

func TestTable_alignsAndPaints(t *testing.T) {
	rows := [][]string{{"NAME", "STATE", "AGE"}, {"web-1", "running", "3s"}, {"ü", "", "2d"}}
	want := "NAME   STATE    AGE\nweb-1  running  3s\nü      -        2d\n"
	if got := layout(rows, false); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := layout(rows, true); !strings.Contains(got, "\x1b[32mrunning\x1b[0m  3s") {
		t.Errorf("no green running in %q", got)
	}
}

// What others wrote is shown, and does not speak to the terminal.
func TestPrintable_keepsTerminalsQuiet(t *testing.T) {
	if got := printable("a\x1b]0;owned\x07b\nc\u009bd é"); got != "a ]0;owned b c d é" {
		t.Errorf("got %q", got)
	}
}
