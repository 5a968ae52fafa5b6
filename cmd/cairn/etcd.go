package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-cloud/cairn/controller/store"
)

// etcdFlags name an etcd that somebody else runs; without them there is one inside.
type etcdFlags struct {
	endpoints     []string
	ca, cert, key string
}

func (f *etcdFlags) add(c *cobra.Command) {
	c.Flags().StringSliceVar(&f.endpoints, "etcd-endpoints", nil, "etcd to use, as URLs (default: one inside, in the data directory)")
	c.Flags().StringVar(&f.ca, "etcd-ca", "", "file of etcd's CA, in PEM")
	c.Flags().StringVar(&f.cert, "etcd-cert", "", "file of the certificate to show to etcd, in PEM")
	c.Flags().StringVar(&f.key, "etcd-key", "", "file of that certificate's key, in PEM")
}

// open opens the store: on the etcd that is named, or on one of its own in dir.
func (f *etcdFlags) open(ctx context.Context, log *slog.Logger, dir string, now func() time.Time) (*store.Etcd, error) {
	o := store.Options{Now: now, Rand: rand.Reader, Log: log, Endpoints: f.endpoints}
	if len(f.endpoints) == 0 {
		if f.ca != "" || f.cert != "" || f.key != "" {
			return nil, errors.New("--etcd-ca, --etcd-cert and --etcd-key are of use with --etcd-endpoints only")
		}
		return store.OpenEmbedded(ctx, dir, o)
	}
	var err error
	if o.TLS, err = f.tls(); err != nil {
		return nil, err
	}
	return store.Open(ctx, o)
}

func (f *etcdFlags) tls() (*tls.Config, error) {
	if f.ca == "" && f.cert == "" {
		return nil, nil // plain, as the URLs say
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.ca != "" {
		b, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, fmt.Errorf("read etcd's CA: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("read etcd's CA: %s holds no certificate", f.ca)
		}
	}
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, fmt.Errorf("read the certificate for etcd: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
