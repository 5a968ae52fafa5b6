//go:build lab

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/deploy/lab"
)

const (
	labName  = "e2e"
	labDir   = labsDir + labName
	labsDir  = "/var/lib/cairn-lab-"
	labHosts = 3
	// patience is how long anything may take on a machine that emulates its
	// guests' processors and has more to do. Nothing waits that long when it works.
	patience = 3 * time.Minute
)

// dirOf is the directory of a lab.
func dirOf(name string) string { return labsDir + name }

// root is the repository, seen from here.
const root = "../.."

// bed is the lab, and what is needed to use it.
type bed struct {
	*testing.T
	lab         *lab.Lab
	name        string // of the lab
	hosts       int
	controllers int // 0: one
}

// binary is the program that is tested.
func binary() string {
	p, err := filepath.Abs(filepath.Join(root, "bin", "cairn"))
	if err != nil {
		panic(err) // there is no working directory
	}
	return p
}

func image(t *testing.T, name string) string {
	t.Helper()
	p, err := filepath.Abs(filepath.Join(root, "deploy", "images", "out", name))
	if err == nil {
		_, err = os.Stat(p)
	}
	if err != nil {
		t.Fatalf("%v: make it with `make images`", err)
	}
	return p
}

// openBed opens a lab that is not up. The one of before a run that was killed is
// ended, and so is this one after the test.
func openBed(t *testing.T, name string, hosts int) *bed {
	t.Helper()
	b := &bed{T: t, lab: openLab(t, name), name: name, hosts: hosts}
	if err := b.lab.Down(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			b.tellLogs()
		}
		if err := b.lab.Down(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func openLab(t *testing.T, name string) *lab.Lab {
	t.Helper()
	if _, err := os.Stat(binary()); err != nil {
		t.Fatalf("%v: make it with `make build`", err)
	}
	l, err := lab.Open(lab.Options{Dir: dirOf(name), Name: name, Binary: binary(), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (b *bed) up() {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	if err := b.lab.Up(ctx, lab.UpOptions{Hosts: b.hosts, Controllers: b.controllers, Virtualization: "qemu"}); err != nil {
		b.Fatal(err)
	}
}

// part runs one part of the test on the same lab.
func (b *bed) part(name string, do func(*bed)) {
	b.Run(name, func(t *testing.T) {
		part := *b
		part.T = t
		do(&part)
	})
}

// command is the command line, as a user of the lab types it.
func (b *bed) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	b.Cleanup(cancel)
	c := exec.CommandContext(ctx, binary(), args...)
	c.Env = append(os.Environ(), "CAIRN_LAB="+b.name)
	if b.controllers > 1 {
		token, err := os.ReadFile(filepath.Join(b.lab.Dir(), "admin.token"))
		if err != nil {
			b.Fatal(err)
		}
		c.Env = append(c.Env, "CAIRN_SERVER="+strings.Join(b.lab.Servers(), ","), "CAIRN_CA="+filepath.Join(b.lab.Dir(), "ca.crt"), "CAIRN_TOKEN="+strings.TrimSpace(string(token)))
	}
	return c
}

// cairn types a command, and returns what it prints.
func (b *bed) cairn(args ...string) string {
	b.Helper()
	c := b.command(args...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		b.Fatalf("cairn %s: %v\n%s%s", strings.Join(args, " "), err, &out, &errs)
	}
	return strings.TrimSpace(out.String())
}

// refused types a command that must exit with the code, and returns what it says.
func (b *bed) refused(code int, args ...string) string {
	b.Helper()
	c := b.command(args...)
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code {
		b.Fatalf("cairn %s: %v, not exit code %d\n%s", strings.Join(args, " "), err, code, out)
	}
	return string(out)
}

// on runs a command on a machine of the lab.
func (b *bed) on(machine string, args ...string) string {
	b.Helper()
	out, err := b.tryOn(machine, args...)
	if err != nil {
		b.Fatalf("on %s: %s: %v\n%s", machine, strings.Join(args, " "), err, out)
	}
	return out
}

func (b *bed) tryOn(machine string, args ...string) (string, error) {
	argv, err := b.lab.Exec(machine, args...)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// until asks again and again for what no event tells, such as what a guest
// writes on its console.
func (b *bed) until(what string, ask func() (done bool, last string)) {
	b.Helper()
	b.within(patience, what, ask)
}

func (b *bed) within(patience time.Duration, what string, ask func() (done bool, last string)) {
	b.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		done, last := ask()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			b.Fatalf("%s: not within %s; last:\n%s", what, patience, last)
		}
	}
}

// runs waits until an instance runs.
func (b *bed) runs(instance string) {
	b.Helper()
	b.until(instance+" runs", func() (bool, string) {
		s := b.field("instance", instance, "status.state")
		return s == "running", s
	})
}

// says waits until an instance's console has a line that matches all of it.
func (b *bed) says(instance, line string) {
	b.Helper()
	re := regexp.MustCompile(`(?m)^cairn-guest: ` + line + `\r?$`)
	b.until(fmt.Sprintf("%s says %q", instance, line), func() (bool, string) {
		log := b.console(instance)
		return re.MatchString(log), log
	})
}

func (b *bed) console(instance string) string {
	b.Helper()
	return b.cairn("instance", "console-log", instance)
}

// boots counts how often an instance's guest has booted.
func boots(console string) int {
	return len(regexp.MustCompile(`(?m)^cairn-guest: boot=`).FindAllString(console, -1))
}

// field is one field of a resource, as the command line shows it.
func (b *bed) field(kind, name, path string) string {
	b.Helper()
	return b.cairn(kind, "get", name, "-o", "field="+path)
}

func hostNames() (out []string) {
	for n := range labHosts {
		out = append(out, fmt.Sprintf("h%d", n+1))
	}
	return out
}
