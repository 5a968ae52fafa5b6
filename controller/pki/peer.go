package pki

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Peer is how a controller's etcd speaks to those of other controllers.
type Peer struct {
	TLS *tls.Config // lets controllers in and nobody else: hosts have certificates of the same CA
	// The files of what it shows to others, and of the CA that they are to be
	// signed by, in PEM: etcd reads them at each connection.
	CertFile, KeyFile, CAFile string
}

// Peer makes a certificate for a controller that is reached under these DNS names
// and addresses, with its files in dir. They live as long as the CA, whose own key is
// beside them: a shorter life would protect nothing.
func (c *CA) Peer(dir string, names []string, now func() time.Time) (*Peer, error) {
	own := c.Server(names, now)
	own.life = caLife
	own.template.Subject = pkix.Name{CommonName: "Cairn controller", Organization: []string{ControllerOrganization}}
	own.template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	p := &Peer{CertFile: filepath.Join(dir, "peer.crt"), KeyFile: filepath.Join(dir, "peer.key"), CAFile: filepath.Join(dir, "ca.crt")}
	cert, err := own.Certificate()
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("write the key for other controllers: %w", err)
	}
	for _, f := range []struct {
		path, kind string
		der        []byte
	}{{p.KeyFile, "PRIVATE KEY", key}, {p.CertFile, "CERTIFICATE", cert.Certificate[0]}, {p.CAFile, "CERTIFICATE", c.cert.Raw}} {
		if err := WriteFile(f.path, pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der})); err != nil {
			return nil, fmt.Errorf("write the certificate for other controllers: %w", err)
		}
	}
	p.TLS = &tls.Config{
		MinVersion:     tls.VersionTLS13,
		ClientAuth:     tls.RequireAndVerifyClientCert,
		ClientCAs:      c.Pool(),
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own.Certificate() },
		VerifyConnection: func(s tls.ConnectionState) error {
			if !slices.Contains(s.PeerCertificates[0].Subject.Organization, ControllerOrganization) {
				return errors.New("only controllers may come in here")
			}
			return nil
		},
	}
	return p, nil
}

// WriteFile puts a file in its place in one step, and on the disk (mode 0600).
func WriteFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".pki-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
