package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/cairn-cloud/cairn/api/rest"
	"github.com/cairn-cloud/cairn/controller"
	"github.com/cairn-cloud/cairn/controller/fence"
	"github.com/cairn-cloud/cairn/controller/pki"
	"github.com/cairn-cloud/cairn/controller/store"
)

// controllerFlags say how a controller runs.
type controllerFlags struct {
	data               string
	listen, san        []string
	allowPrivateImport bool
	debug              string
	fenceExec, bmcFile string
	etcd               etcdFlags
	member             memberFlags
}

func (f *controllerFlags) add(c *cobra.Command, listen string) {
	c.Flags().StringVar(&f.data, "data", defaultData, "directory of the CA, the images and the embedded etcd")
	c.Flags().StringArrayVar(&f.listen, "listen", []string{listen}, "address to serve the API on; may be given many times")
	c.Flags().StringArrayVar(&f.san, "san", nil, "further name or address by which clients reach this controller; may be given many times")
	c.Flags().BoolVar(&f.allowPrivateImport, "allow-private-import", false, "let images be imported from private and local addresses")
	f.etcd.add(c)
	f.member.add(c)
	c.Flags().StringVar(&f.fenceExec, "fence-exec", "", "program that switches a lost host off: it gets the host as JSON and ends with 0 when the host is off for sure (default: none)")
	c.Flags().StringVar(&f.bmcFile, "bmc-credentials", "", "JSON file with the users and passwords of the hosts' BMCs, by which lost hosts are switched off (default: none)")
	c.Flags().StringVar(&f.debug, "debug-listen", "", "address of the loopback interface to serve Go's profiles on, for \"go tool pprof\" (default: none)")
}

func (a *app) controllerCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "controller", Short: "Run the control plane", Args: noArgs,
		Long: "Runs the control plane: the API, the scheduler and the reconcilers, with an etcd inside unless one is named.\n" +
			"With --join it becomes one of several, which survive each other; it needs a join token (cairn join-token create NAME --role controller).\n" +
			"At first start it makes a CA and an admin token, in the data directory. Stopping it stops no guest.",
	}
	f := &controllerFlags{}
	f.add(c, ":7443")
	c.Flags().StringVar(&f.member.name, "name", "", "name of this controller, which no other has (default: the machine's)")
	c.AddCommand(a.controllerListCommand(), a.controllerRemoveCommand(), a.backupCommand(), a.restoreCommand(), a.checkCommand())
	logger := a.logFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		log, err := logger()
		if err != nil {
			return err
		}
		return a.runController(c.Context(), log, f, a.ready)
	}
	return c
}

// runController wires a controller and runs it until ctx ends. ready is told
// the URL once requests are served.
func (a *app) runController(ctx context.Context, log *slog.Logger, f *controllerFlags, ready func(url string)) (err error) {
	if err := os.MkdirAll(f.data, 0o755); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	listeners, peers, err := f.listeners(ctx)
	if err != nil {
		return err
	}
	served := false
	defer func() {
		for _, l := range listeners {
			if !served {
				_ = l.Close() // it was never used
			}
		}
	}()
	st, ca, err := a.openStore(ctx, log, f, listeners[0], peers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }() //nolint:contextcheck // it is closed when ctx has ended
	if err := oneCA(ctx, st, ca, f.data); err != nil {
		return err
	}
	fencer, err := f.fencer()
	if err != nil {
		return err
	}
	ctl, err := controller.New(controller.Options{Store: st, CA: ca, Now: a.now, Rand: rand.Reader, DataDir: f.data, Log: log, AllowPrivateImport: f.allowPrivateImport, Fencer: fencer})
	if err != nil {
		return err
	}
	if err := firstStart(ctx, ctl, f.data, ca.PEM()); err != nil {
		return err
	}
	server, err := newServer(ctl, ca, f, listeners, log, a) //nolint:contextcheck // each request brings its own
	if err != nil {
		return err
	}
	url := ownURL(listeners[0])
	if err := os.WriteFile(filepath.Join(f.data, "server"), []byte(url+"\n"), 0o644); err != nil {
		return err
	}
	served = true
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return ctl.Run(ctx) })
	g.Go(func() error { return untilRemoved(ctx, st, f) })
	g.Go(func() error { return serve(ctx, log, server, listeners) })
	g.Go(func() error { return serveDebug(ctx, log, f.debug) })
	if ready != nil {
		ready(url)
	}
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// listeners opens where the API is served, and where other controllers come in
// unless etcd is elsewhere.
func (f *controllerFlags) listeners(ctx context.Context) (api []net.Listener, peers net.Listener, err error) {
	if err := f.member.complete(f.listen[0]); err != nil {
		return nil, nil, err
	}
	addresses := f.listen
	if len(f.etcd.endpoints) == 0 {
		addresses = append([]string{f.member.peerListen}, f.listen...)
	}
	all, err := listen(ctx, addresses)
	if err != nil || len(addresses) == len(f.listen) {
		return all, nil, err
	}
	return all[1:], all[0], nil
}

// fencer is how lost hosts are switched off; nil: they are not.
func (f *controllerFlags) fencer() (controller.Fencer, error) {
	if f.fenceExec == "" && f.bmcFile == "" {
		return nil, nil //nolint:nilnil // none is asked for
	}
	x := &fence.Fencer{}
	if f.fenceExec != "" {
		st, err := os.Stat(f.fenceExec)
		if err != nil || !filepath.IsAbs(f.fenceExec) || st.Mode()&0o111 == 0 {
			return nil, fmt.Errorf("--fence-exec: give the absolute path of a program that can be run, not %q", f.fenceExec)
		}
		x.Exec = &fence.Exec{Program: f.fenceExec}
	}
	if f.bmcFile != "" {
		r, err := fence.OpenRedfish(f.bmcFile)
		if err != nil {
			return nil, fmt.Errorf("--bmc-credentials: %w", err)
		}
		x.Redfish = r
	}
	return x, nil
}

// oneCA refuses to run beside, or after, a controller with another CA: hosts that
// joined with the one are not known to the other.
func oneCA(ctx context.Context, st *store.Etcd, ca *pki.CA, data string) error {
	pin, err := st.Agree(ctx, "ca", ca.Pin())
	if err == nil && pin != ca.Pin() {
		err = fmt.Errorf("the CA in %s is not that of this cloud, whose SHA-256 is %s: join it by --join, or put there pki/ca.pem of another controller, for every host trusts it", filepath.Join(data, "pki"), pin)
	}
	return err
}

// firstStart makes what a new cloud begins with, and leaves for its owner the
// admin token and the CA's certificate.
func firstStart(ctx context.Context, ctl *controller.Controller, data string, ca []byte) error {
	if err := os.WriteFile(filepath.Join(data, "ca.crt"), ca, 0o644); err != nil {
		return err
	}
	path, kept := filepath.Join(data, "admin.token"), false
	began, err := ctl.Backend().Bootstrap(ctx, func(token string) error {
		kept = true
		return pki.WriteFile(path, []byte(token+"\n"))
	})
	if err != nil {
		return fmt.Errorf("begin the cloud: %w", err)
	}
	if kept && !began {
		return os.Remove(path) // another controller began it at the same time
	}
	return nil
}

func newServer(ctl *controller.Controller, ca *pki.CA, f *controllerFlags, listeners []net.Listener, log *slog.Logger, a *app) (*http.Server, error) {
	api, err := rest.New(rest.Options{Backend: ctl.Backend(), Now: a.now, Log: log, Version: version, Random: rand.Reader})
	if err != nil {
		return nil, err
	}
	own := ca.Server(names(f.san, listeners), a.now)
	return api.HTTPServer(rest.TLSConfig(own.Certificate, ca.Pool())), nil
}

// names are those by which this controller may be reached: what was said, the
// machine's name, and the addresses that it listens on.
func names(said []string, listeners []net.Listener) []string {
	out := append([]string{"localhost", "127.0.0.1", "::1"}, said...)
	if host, err := os.Hostname(); err == nil {
		out = append(out, host)
	}
	for _, l := range listeners {
		at, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			continue
		}
		if !at.IP.IsUnspecified() {
			out = append(out, at.IP.String())
			continue
		}
		all, err := net.InterfaceAddrs()
		if err != nil {
			continue // what was said must do
		}
		for _, x := range all {
			if n, ok := x.(*net.IPNet); ok {
				out = append(out, n.IP.String())
			}
		}
	}
	return out
}

// ownURL is how this machine reaches a listener.
func ownURL(l net.Listener) string {
	host, port, err := net.SplitHostPort(l.Addr().String())
	if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "https://" + net.JoinHostPort(host, port)
}
