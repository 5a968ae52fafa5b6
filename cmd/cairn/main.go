package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv, now: time.Now, readFile: os.ReadFile, ready: notifySystemd}
	code := a.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// notifySystemd tells systemd, where that started us with Type=notify, that
// the service is up. Anywhere else it does nothing.
func notifySystemd(string) {
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady) // systemd's own timeout says what is wrong
}
