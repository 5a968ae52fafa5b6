package fence

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// Exec runs a program that switches a host off. The program gets the host as JSON
// on its standard input, as the API shows it, and in its environment CAIRN_HOST (its name) and
// CAIRN_HOST_ID. It ends with 0 only when the host is off for sure.
type Exec struct {
	Program string // absolute path
}

// Fence runs the program. Its last line says how.
func (e *Exec) Fence(ctx context.Context, h *api.Host) (how string, err error) {
	in, err := json.Marshal(h)
	if err != nil {
		return "", fmt.Errorf("fence host %s: %w", h.Name, err)
	}
	out := &tail{}
	c := exec.CommandContext(ctx, e.Program) // #nosec G204 -- the administrator's own, given to the controller
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(in), out, out
	c.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "CAIRN_HOST=" + h.Name, "CAIRN_HOST_ID=" + h.ID}
	c.WaitDelay = 5 * time.Second
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("fence host %s: %s: %w: %s", h.Name, e.Program, err, out.last())
	}
	if said := out.last(); said != "" {
		return "the fence program says: " + said, nil
	}
	return "by the fence program", nil
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

const tailBytes = 4096

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - tailBytes; over > 0 {
		t.b = t.b[over:]
	}
	return len(p), nil
}

// last is the last line that is not empty.
func (t *tail) last() string {
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(string(t.b), "\uFFFD")), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
