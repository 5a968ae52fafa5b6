//go:build lab

package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestTutorial types docs/tutorial.md as it stands, in one shell, where every
// command must do what it says: a line that begins with "!" must fail, and no
// other. It has a lab of its own, so that a lab of the user's is left alone.
func TestTutorial(t *testing.T) {
	const name = "tutorial"
	text, err := os.ReadFile(filepath.Join(root, "docs", "tutorial.md"))
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString("set -eu\n")
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[1]) {
			line = strings.TrimSpace(line)
			if refused, ok := strings.CutPrefix(line, "! "); ok {
				line = "if " + refused + "; then echo 'this was to be refused'; exit 1; fi"
			}
			script.WriteString("echo '$' " + quote(line) + "\n" + line + "\n")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	shell := func(ctx context.Context, script string) (string, error) {
		c := exec.CommandContext(ctx, "sh", "-c", script)
		c.Dir, c.Env, c.WaitDelay = root, append(os.Environ(), "CAIRN_LAB="+name), time.Second
		out, err := c.CombinedOutput()
		return string(out), err
	}
	t.Cleanup(func() {
		if out, err := shell(context.Background(), "bin/cairn lab down"); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	out, err := shell(ctx, script.String())
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"web-1", "running", "cairn-guest: ", "in_use"} {
		if !strings.Contains(out, want) {
			t.Errorf("the tutorial never shows %q:\n%s", want, out)
		}
	}
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
