package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

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

// complete puts into the options which etcd is named.
func (f *etcdFlags) complete(o *store.Options) (err error) {
	if len(f.endpoints) == 0 && (f.ca != "" || f.cert != "" || f.key != "") {
		return errors.New("--etcd-ca, --etcd-cert and --etcd-key are of use with --etcd-endpoints only")
	}
	o.Endpoints = f.endpoints
	o.TLS, err = f.tls()
	return err
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
