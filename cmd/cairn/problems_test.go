package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/api/rest"
)

// The reference of problems is made from the table that the server serves.
func TestProblems_referenceIsFresh(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Problems\n\n<!-- Made by: go test -tags libvirt_dlopen ./cmd/cairn -update -->\n\n" +
		"Every error is `application/problem+json` (RFC 9457) with a stable `code`, the `field` at fault where there is one, and a `hint`.\n\n" +
		"| code | status | what it means | what to do |\n|---|---|---|---|\n")
	for _, p := range rest.Problems {
		fmt.Fprintf(&b, "| `%s` | %d | %s | %s |\n", p.Code, p.Status, p.Doc, p.Next)
	}
	path := filepath.Join("..", "..", "docs", "reference", "problems.md")
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
