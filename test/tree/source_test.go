package tree

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/cairn-cloud/cairn"

// root is the repository, seen from here.
const root = "../.."

// A file is a parsed file of Go.
type file struct {
	path    string // from the root, with slashes
	dir     string
	test    bool
	syntax  *ast.File
	lines   int
	imports map[string]string // local name → path
}

var fset = token.NewFileSet()

// walk yields every file of the repository that people write.
func walk(t *testing.T, visit func(p string)) {
	t.Helper()
	skip := map[string]bool{".git": true, "bin": true, "node_modules": true, "dist": true, "out": true} // out: of deploy/images
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != root && skip[d.Name()] {
			return fs.SkipDir
		}
		if d.Type().IsRegular() {
			rel, err := filepath.Rel(root, p)
			if err != nil {
				return err
			}
			visit(filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// goFiles parses every file of Go in the repository, whatever its build tags.
func goFiles(t *testing.T) []file {
	t.Helper()
	var out []file
	walk(t, func(p string) {
		if !strings.HasSuffix(p, ".go") || strings.Contains(p, "/testdata/") {
			return
		}
		b, err := os.ReadFile(filepath.Join(root, p))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, parse(t, p, b))
	})
	if len(out) < 20 {
		t.Fatalf("found only %d files of Go: this is not the repository", len(out))
	}
	return out
}

func parse(t *testing.T, p string, src []byte) file {
	t.Helper()
	syntax, err := parser.ParseFile(fset, p, src, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	f := file{path: p, dir: path.Dir(p), test: strings.HasSuffix(p, "_test.go"), syntax: syntax, lines: strings.Count(string(src), "\n"), imports: map[string]string{}}
	for _, im := range syntax.Imports {
		ip, err := strconv.Unquote(im.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		f.imports[localName(im, ip)] = ip
	}
	return f
}

// localName is what a file calls an import: its alias, or by custom the last
// part of the path that is no version.
func localName(im *ast.ImportSpec, ip string) string {
	if im.Name != nil {
		return im.Name.Name
	}
	base := path.Base(ip)
	if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
		base = path.Base(path.Dir(ip))
	}
	return base
}

// uses calls visit for every mention of a name of another package: rand.New is
// ("math/rand", "New") under whatever name the file imports it. A local
// variable of the same name as the import is told apart by the parser's scopes.
func (f file) uses(visit func(pkg, name string, at token.Position)) {
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := sel.X.(*ast.Ident)
		if !ok || x.Obj != nil {
			return true
		}
		if ip, ok := f.imports[x.Name]; ok {
			visit(ip, sel.Sel.Name, fset.Position(sel.Pos()))
		}
		return true
	})
}

// within tells whether a directory is the other or below it.
func within(dir, parent string) bool { return dir == parent || strings.HasPrefix(dir, parent+"/") }
