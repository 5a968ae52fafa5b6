package tree

import (
	"bytes"
	"go/ast"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

func TestHabits_noInitFunctions(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: what init does happens behind the reader's back, and registration is a literal list here", fset.Position(fn.Pos()))
			}
		}
	}
}

func TestHabits_noDotImports(t *testing.T) {
	for _, f := range goFiles(t) {
		if ip, ok := f.imports["."]; ok {
			t.Errorf("%s: the dot import of %s hides where names come from, also from these tests", f.path, ip)
		}
	}
}

func TestHabits_nobodySleeps(t *testing.T) {
	for _, f := range goFiles(t) {
		f.uses(func(pkg, name string, at token.Position) {
			if pkg == "time" && name == "Sleep" {
				t.Errorf("%s: wait for the event; a sleep is too long on a fast machine and too short on a slow one", at)
			}
		})
	}
}

func TestHabits_packagesAreNamedForWhatTheyDo(t *testing.T) {
	vague := map[string]bool{"util": true, "utils": true, "common": true, "helper": true, "helpers": true, "misc": true, "shared": true, "types": true}
	for _, f := range goFiles(t) {
		if vague[f.syntax.Name.Name] || vague[path.Base(f.dir)] {
			t.Errorf("%s: %q says nothing; things belong where they are used", f.path, f.syntax.Name.Name)
		}
	}
}

func TestHabits_everyPackageSaysWhatItIsFor(t *testing.T) {
	has, words := map[string]bool{}, map[string]int{}
	for _, f := range goFiles(t) {
		has[f.dir] = has[f.dir] || false
		if path.Base(f.path) == "doc.go" {
			has[f.dir] = true
			words[f.dir] = len(strings.Fields(f.syntax.Doc.Text()))
		}
	}
	for dir, ok := range has {
		switch {
		case !ok:
			t.Errorf("%s has no doc.go: say what it is for, what it must never do, where its input comes from and its output goes", dir)
		case words[dir] < 15:
			t.Errorf("%s/doc.go says it in %d words, which is too few", dir, words[dir])
		}
	}
}

func TestHabits_filesAreShortEnoughToRead(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.lines > 600 {
			t.Errorf("%s has %d lines; above 600, split it by what it does", f.path, f.lines)
		}
	}
}

// What was true on the machine where something was written must not be in it.
func TestHabits_noMachinePaths(t *testing.T) {
	// Put together here, so that this file does not find itself.
	forbidden := []string{"/work" + "/main", "/work" + "/shared", "/tmp" + "/brief", "/home" + "/user/"}
	walk(t, func(p string) {
		b, err := os.ReadFile(filepath.Join(root, p))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(b[:min(len(b), 8000)], 0) >= 0 {
			return // not text
		}
		for _, s := range forbidden {
			if bytes.Contains(b, []byte(s)) {
				t.Errorf("%s mentions %s, a path of one machine", p, s)
			}
		}
	})
}
