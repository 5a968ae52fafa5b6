package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
	"github.com/cairn-cloud/cairn/controller/pki"
	"github.com/cairn-cloud/cairn/controller/store"
)

// memberFlags say how a controller is one of several.
type memberFlags struct {
	name, advertise, peerListen string
	join                        []string
	joinFile                    string
}

func (f *memberFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.advertise, "advertise", "", "name or address by which other controllers reach this one (default: that of --listen, or of the default route)")
	c.Flags().StringVar(&f.peerListen, "peer-listen", "", "address at which the etcd of other controllers comes in (default: that of --listen, two ports up)")
	c.Flags().StringSliceVar(&f.join, "join", nil, "URL of a controller to join, such as https://cairn.example:7443; may be given many times")
	c.Flags().StringVar(&f.joinFile, "join-token-file", "", "file that holds a join token of the role controller (or CAIRN_JOIN_TOKEN holds it); not needed once it has joined")
}

// complete works out what was not said.
func (f *memberFlags) complete(listen string) (err error) {
	if f.name == "" {
		if f.name, err = os.Hostname(); err != nil {
			return fmt.Errorf("--name: the machine has no name of its own: %w", err)
		}
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	if f.peerListen == "" {
		n, err := strconv.Atoi(port)
		if err != nil {
			return fmt.Errorf("--peer-listen: give it, for the port %q of --listen is no number", port)
		}
		if n != 0 { // 0 is any free one, here too
			n += 2
		}
		f.peerListen = net.JoinHostPort(host, strconv.Itoa(n))
	}
	if ip := net.ParseIP(host); f.advertise == "" && ip != nil && !ip.IsUnspecified() {
		f.advertise = host
	}
	if f.advertise == "" {
		f.advertise = "127.0.0.1" // a machine without a network can be the only one
		if u, err := agent.FindUnderlay(netip.Addr{}); err == nil {
			f.advertise = u.Address.String()
		}
	}
	return nil
}

// url is how others reach a listener.
func (f *memberFlags) url(l net.Listener) string {
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil { // the address of a TCP listener
		panic("a listener without a port: " + err.Error())
	}
	return "https://" + net.JoinHostPort(f.advertise, port)
}

// enlist makes this machine a controller beside others, where it is to be one and
// is not yet: it gets the CA and, unless its etcd is to be elsewhere, the URLs of all
// members of the embedded one. Repeating it after a crash is harmless.
func (a *app) enlist(ctx context.Context, f *controllerFlags, peerURL string) ([]string, error) {
	dir := filepath.Join(f.data, "pki")
	known := store.Embedded{Dir: filepath.Join(f.data, "etcd")}.Exists()
	if peerURL == "" {
		known = pki.Exists(dir)
	}
	if len(f.member.join) == 0 || known {
		return nil, nil
	}
	token, err := a.joinToken(f.member.joinFile)(ctx)
	if err != nil {
		return nil, err
	}
	proof, err := joinProof(dir)
	if err != nil {
		return nil, err
	}
	var joined api.JoinControllerResponse
	for _, server := range f.member.join {
		joined, err = client.JoinController(ctx, server, api.JoinControllerRequest{Secret: token, Name: f.member.name, PeerURL: peerURL, Proof: proof})
		var p *api.Problem
		if err == nil || errors.As(err, &p) && p.Status < 500 {
			break // it has answered, be it by a refusal
		}
	}
	if err != nil {
		return nil, err
	}
	return joined.PeerURLs, pki.Import(dir, []byte(joined.CA))
}

// joinProof is a random word that this machine alone knows: with it, it may ask
// again where the answer to its join was lost.
func joinProof(dir string) (string, error) {
	path := filepath.Join(dir, "join.proof")
	b, err := os.ReadFile(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return string(b), err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	word := rand.Text()
	return word, pki.WriteFile(path, []byte(word))
}

// openStore opens the store: on the etcd that is named, or on the embedded one,
// which may be one of several.
func (a *app) openStore(ctx context.Context, log *slog.Logger, f *controllerFlags, api net.Listener, peers net.Listener) (*store.Etcd, *pki.CA, error) {
	peerURL := ""
	if peers != nil {
		peerURL = f.member.url(peers)
	}
	join, err := a.enlist(ctx, f, peerURL)
	if err != nil {
		return nil, nil, err
	}
	dir := filepath.Join(f.data, "pki")
	ca, err := pki.Open(dir, a.now(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	o := store.Options{Now: a.now, Rand: rand.Reader, Log: log, Name: f.member.name, API: f.member.url(api)}
	if err := f.etcd.complete(&o); err != nil {
		return nil, nil, err
	}
	if peers != nil {
		var p *pki.Peer
		if p, err = ca.Peer(dir, names(append(f.san, f.member.advertise), []net.Listener{peers}), a.now); err == nil {
			o.Embedded = &store.Embedded{Dir: filepath.Join(f.data, "etcd"), Peer: &store.Peer{
				URL: peerURL, Listener: peers, TLS: p.TLS, CertFile: p.CertFile, KeyFile: p.KeyFile, CAFile: p.CAFile, Join: join,
			}}
		}
	}
	if err != nil {
		return nil, nil, err
	}
	st, err := store.Open(ctx, o)
	if errors.Is(err, store.ErrRemoved) {
		err = removed(f)
	}
	return st, ca, err
}

// untilRemoved returns an error when this controller was removed, nil when ctx ends.
func untilRemoved(ctx context.Context, st *store.Etcd, f *controllerFlags) error {
	select {
	case <-st.Removed():
		return removed(f)
	case <-ctx.Done():
		return nil
	}
}

func removed(f *controllerFlags) error {
	return fmt.Errorf("%w: to let it join again, remove %s and give it --join and a new join token", store.ErrRemoved, filepath.Join(f.data, "etcd"))
}

func (a *app) controllerListCommand() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the controllers", Args: noArgs}
	n := a.connectionFlags(c)
	format := c.Flags().StringP("output", "o", "table", "table, json or yaml")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := checkFormat(*format); err != nil {
			return usage(c, err)
		}
		defer n.close()
		cl, err := n.dial()
		if err != nil {
			return err
		}
		all, err := cl.Controllers(c.Context())
		if err != nil {
			return err
		}
		if *format != "table" {
			return a.printValue(*format, all)
		}
		rows := [][]string{{"NAME", "STATE", "LEADS", "URL", "PEER"}}
		for _, x := range all {
			leads := ""
			if x.Leads {
				leads = "leads"
			}
			rows = append(rows, []string{printable(x.Name), string(x.State), leads, printable(x.URL), printable(x.PeerURL)})
		}
		return a.write(layout(rows, a.colour(a.out)))
	}
	return c
}

func (a *app) controllerRemoveCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "remove NAME", Short: "Remove a controller that is gone for good", Args: oneArg,
		Long: "Removes a controller, by its name or the ID of its member: its copy of the store counts no more, and another may join in its place.\n" +
			"It never comes back with its old data. One that will come back need not be removed.",
	}
	n := a.connectionFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		defer n.close()
		cl, err := n.dial()
		if err != nil {
			return err
		}
		return cl.RemoveController(c.Context(), args[0])
	}
	return c
}
