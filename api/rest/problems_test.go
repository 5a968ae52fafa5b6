package rest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/api/rest"
)

func TestProblems_areInOrderAndExplained(t *testing.T) {
	for i, p := range rest.Problems {
		if p.Doc == "" || p.Next == "" || p.Status < 400 {
			t.Errorf("%s: not explained: %+v", p.Code, p)
		}
		if i > 0 && rest.Problems[i-1].Code >= p.Code {
			t.Errorf("%s is not behind %s", p.Code, rest.Problems[i-1].Code)
		}
	}
}

// TestProblems_listEveryCode reads the tree: every code that is given to
// NewProblem, to a Fault or to a Unique claim, and every use of forms like it.
func TestProblems_listEveryCode(t *testing.T) {
	known := func(code string) bool {
		return slices.ContainsFunc(rest.Problems, func(p rest.ProblemDoc) bool { return p.Code == code })
	}
	used := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return nil // somebody else's build says so better
		}
		for code := range codesIn(file) {
			used[code] = true
			if !known(code) {
				t.Errorf("%s: the code %q is not in api/rest/problems.go", path, code)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range rest.Problems {
		if !used[p.Code] {
			t.Errorf("the code %q is explained, and nothing answers with it", p.Code)
		}
	}
}

func codesIn(file *ast.File) map[string]bool {
	codes := map[string]bool{}
	literal := func(e ast.Expr) {
		if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
			if s, err := strconv.Unquote(l.Value); err == nil && s != "" && !strings.HasPrefix(s, "http_") {
				codes[s] = true
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			name := ""
			switch f := n.Fun.(type) {
			case *ast.SelectorExpr:
				name = f.Sel.Name
			case *ast.Ident:
				name = f.Name
			}
			switch {
			case name == "NewProblem" && len(n.Args) > 1:
				literal(n.Args[1])
			case name == "add" && len(n.Args) > 3: // of a checker
				literal(n.Args[1])
			case name == "refused" && len(n.Args) > 1: // what helpers of this kind are called
				literal(n.Args[0])
			}
		case *ast.CompositeLit:
			name := ""
			switch t := n.Type.(type) {
			case *ast.SelectorExpr:
				name = t.Sel.Name
			case *ast.Ident:
				name = t.Name
			}
			if n.Type != nil && name != "Fault" && name != "Unique" && name != "Problem" {
				return true
			}
			for _, e := range n.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok {
					if k, ok := kv.Key.(*ast.Ident); ok && k.Name == "Code" {
						literal(kv.Value)
					}
				}
			}
		}
		return true
	})
	return codes
}
