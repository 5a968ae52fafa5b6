package tree

import (
	"slices"
	"strings"
	"testing"
)

// arrow says what of ours a package may import, and why no more.
type arrow struct {
	pkg     string
	imports []string // directories; "…/*" means all below too
	why     string
}

var arrows = []arrow{
	{"api", nil, "the resource types are plain values that everything shares, so they depend on nothing"},
	{"api/rest", []string{"api", "web"}, "it declares the backend that it needs; knowing the controllers would make it a second place for logic"},
	{"api/client", []string{"api"}, "it is what the CLI, the agent and other programs embed, so it must not pull in a server"},
	{"scheduler", []string{"api"}, "placement is a function of values, the same in the simulator and in production"},
	{"network", []string{"api"}, "the plan of a host's network is a function of values"},
	{"network/linux", []string{"api", "network"}, "it carries out plans and decides nothing"},
	{"controller/store", []string{"api"}, "it keeps objects and knows no rules about them"},
	{"controller/store/memetcd", nil, "it answers as etcd does, and does not know what for"},
	{"controller/store/storetest", []string{"controller/store", "controller/store/memetcd"}, "it opens real stores for tests, and nothing else"},
	{"controller/pki", []string{"api"}, "it signs certificates and knows nothing of who asks"},
	{"controller", []string{"api", "scheduler", "network", "controller/*"}, "it never meets an agent: the two speak through objects only; it explains a packet by the same function of values that a host is made from"},
	{"agent", []string{"api", "api/client", "network"}, "an agent is an ordinary client of the API; it reaches the machine through drivers that it declares"},
	{"agent/libvirt", []string{"api", "agent"}, "a driver: it does what the agent's interface says"},
	{"agent/disk", []string{"api", "api/client", "agent"}, "a driver: it does what the agent's interface says"},
	{"agent/guest", []string{"api", "network", "agent"}, "it answers guests from desired state"},
	{"deploy/lab", []string{"api", "api/client"}, "it starts the same binary that production runs, and looks at it from outside"},
	{"web", nil, "it embeds files"},
	{"cmd/cairn", []string{"*"}, "main wires everything together"},
	{"bench", []string{"*"}, "it measures everything"},
	{"test", []string{"*"}, "it tries everything together"},
}

func TestArrows_importsGoOneWay(t *testing.T) {
	for _, f := range goFiles(t) {
		a := arrowFor(f.dir)
		if a == nil {
			t.Errorf("%s: no arrow says what the package %s may import: add it to the table, with its reason", f.path, f.dir)
			continue
		}
		for _, ip := range f.imports {
			dir, ours := strings.CutPrefix(ip, module+"/")
			if !ours || dir == f.dir || f.test && allowedInTests(f.dir, dir) || a.allows(dir) {
				continue
			}
			t.Errorf("%s imports %s: %s may import %v of ours, because %s", f.path, dir, a.pkg, a.imports, a.why)
		}
	}
}

// arrowFor finds the longest match: a package without an arrow of its own
// belongs to its parent's, but for api, whose children are of another make.
func arrowFor(dir string) *arrow {
	var best *arrow
	for i, a := range arrows {
		if within(dir, a.pkg) && (best == nil || len(a.pkg) > len(best.pkg)) {
			best = &arrows[i]
		}
	}
	if best != nil && best.pkg == "api" && dir != "api" {
		return nil
	}
	return best
}

func (a arrow) allows(dir string) bool {
	for _, to := range a.imports {
		if to == "*" || to == dir || strings.HasSuffix(to, "/*") && within(dir, strings.TrimSuffix(to, "/*")) {
			return true
		}
	}
	return false
}

// allowedInTests: a test may use what is meant for tests, and the packages
// around its own to try them together for real.
func allowedInTests(from, to string) bool {
	pure := slices.Contains(pureDirs, from)
	meet := within(from, "controller") && within(to, "agent") || within(from, "agent") && within(to, "controller")
	return !pure && !meet
}

// only says who may import a foreign package, and why nobody else.
var only = []struct {
	foreign string
	dirs    []string
	why     string
}{
	{"libvirt.org/go/libvirt", []string{"agent/libvirt"}, "the hypervisor is behind one interface, so that the rest is tested and simulated without it"},
	{"go.etcd.io", []string{"controller/store", "test", "bench"}, "etcd is behind the store, which is where transactions and claims are got right once"},
	{"github.com/tidwall/btree", []string{"controller/store"}, "the in-memory copy is the store's secret (ADR 0005)"},
	{"github.com/vishvananda", []string{"network/linux", "agent", "deploy/lab", "test", "bench"}, "links are touched where plans are carried out"},
	{"github.com/google/nftables", []string{"network/linux", "test"}, "rules are written in one place"},
	{"github.com/labstack/echo", []string{"api/rest"}, "the web framework is the REST server's own affair"},
	{"github.com/danielgtaylor/huma", []string{"api/rest"}, "the web framework is the REST server's own affair"},
	{"github.com/spf13", []string{"cmd/cairn"}, "flags are read in main"},
	{"testing", nil, "tests stay in _test.go files"},
}

func TestArrows_foreignPackagesHaveOneHome(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, ip := range f.imports {
			for _, o := range only {
				if !within(ip, o.foreign) || f.test && o.foreign == "testing" {
					continue
				}
				if !slices.ContainsFunc(o.dirs, func(d string) bool { return within(f.dir, d) }) && (!within(f.dir, "test") || o.foreign != "testing") {
					t.Errorf("%s imports %s: only %v may, because %s", f.path, ip, o.dirs, o.why)
				}
			}
		}
	}
}

func TestArrows_areAllInUse(t *testing.T) {
	dirs := map[string]bool{}
	for _, f := range goFiles(t) {
		dirs[f.dir] = true
	}
	for _, a := range arrows {
		found := false
		for d := range dirs {
			found = found || within(d, a.pkg)
		}
		if !found && a.pkg != "web" && a.pkg != "bench" {
			t.Errorf("the arrow of %s is about no package", a.pkg)
		}
	}
}
