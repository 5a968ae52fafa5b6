package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Limits of the second look, whatever the image makes qemu-img do.
const (
	checkCPUSeconds = 120
	checkMemory     = 2 << 30
	checkTimeout    = 5 * time.Minute
)

// QemuImg returns a Checker that asks qemu-img, with an explicit format and
// with little CPU and memory, or nil where there is no qemu-img on this machine. The
// inspection of the header does not depend on it.
func QemuImg() Checker {
	qemu, err := exec.LookPath("qemu-img")
	limit, err2 := exec.LookPath("prlimit")
	if err != nil || err2 != nil {
		return nil
	}
	return func(ctx context.Context, path, format string) error {
		if format != "qcow2" {
			return nil // a raw file has no inner structure to be checked
		}
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		cmd := exec.CommandContext(ctx, limit, fmt.Sprintf("--cpu=%d", checkCPUSeconds), fmt.Sprintf("--as=%d", checkMemory), "--core=0", "--",
			qemu, "check", "-f", format, "--output=json", path)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		if err == nil {
			return nil
		}
		var exit *exec.ExitError
		if ctx.Err() == nil && errors.As(err, &exit) {
			// 3: clusters that nobody uses. They waste room and do no harm.
			if exit.ExitCode() == 3 {
				return nil
			}
			return refuse("Damaged", "repair it: qemu-img check -r all FILE", "qemu-img finds it damaged: %s", summary(out.String(), path))
		}
		return fmt.Errorf("check the image with qemu-img: %w", err)
	}
}

// summary is the first line of a message, without our paths in it.
func summary(s, path string) string {
	s = strings.ReplaceAll(s, path, "FILE")
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" && line != "{" {
			return line[:min(len(line), 300)]
		}
	}
	return "it cannot be checked"
}
