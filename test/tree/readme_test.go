package tree

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func read(t *testing.T, p string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, p))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// commands returns the lines of a document's fenced sh blocks.
func commands(doc string) (out []string) {
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(doc, -1) {
		for line := range strings.Lines(block[1]) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				out = append(out, line)
			}
		}
	}
	return out
}

func TestReadme_asksForTwoCommandsThatExist(t *testing.T) {
	makefile := read(t, "Makefile")
	var names []string
	for _, c := range commands(read(t, "README.md")) {
		target, ok := strings.CutPrefix(c, "make ")
		if !ok || !regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(target)+`:`).MatchString(makefile) {
			t.Errorf("README.md says %q, which is no target of the Makefile", c)
		}
		names = append(names, target)
	}
	if strings.Join(names, " ") != "demo test" {
		t.Errorf("README.md asks for %v, not for make demo and make test", names)
	}
}

// A target without a word about it cannot be found.
func TestMakefile_helpListsEveryTarget(t *testing.T) {
	for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z-]*):.*$`).FindAllStringSubmatch(read(t, "Makefile"), -1) {
		if !strings.Contains(m[0], "##") {
			t.Errorf("the target %s has no \"## …\" for make help", m[1])
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#:\s]+)(#[^)]*)?\)`)

func TestDocs_linksLeadSomewhere(t *testing.T) {
	walk(t, func(p string) {
		if !strings.HasSuffix(p, ".md") {
			return
		}
		for _, m := range link.FindAllStringSubmatch(read(t, p), -1) {
			to := filepath.Join(root, filepath.Dir(p), m[1])
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s, which is not there", p, m[1])
			}
		}
	})
}

func TestADRs_areListedAndWhole(t *testing.T) {
	index := read(t, "docs/adr/README.md")
	files, err := filepath.Glob(filepath.Join(root, "docs/adr/[0-9]*.md"))
	if err != nil || len(files) < 8 {
		t.Fatalf("found %d ADRs (%v)", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(index, filepath.Base(f)) {
			t.Errorf("%s is not in docs/adr/README.md", filepath.Base(f))
		}
		for _, section := range []string{"## Context", "## Decision", "## Turned down", "## Consequence"} {
			if !strings.Contains(string(b), section) {
				t.Errorf("%s has no %q", filepath.Base(f), section)
			}
		}
	}
}
