package agent

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
)

// Identity is who the host is: its key, its certificate, and the CA that it trusts.
type Identity struct {
	HostID string
	dir    string
	ca     []byte
	cert   atomic.Pointer[tls.Certificate]
}

// The files of an identity.
const (
	keyFile  = "host.key"
	certFile = "host.crt"
	caFile   = "ca.crt"
)

// EnrolOptions of Enrol.
type EnrolOptions struct {
	Layout    Layout
	Server    string // URL of the control plane
	JoinToken string // needed once
	Name      string // of the host
	Client    client.Options
}

// Enrolled tells whether the machine has joined before.
func Enrolled(l Layout) bool {
	_, err := os.Stat(filepath.Join(l.PKI(), certFile))
	return err == nil
}

// Enrol returns the host's identity: from the disk where it has joined before,
// which needs no control plane; otherwise by joining with the token.
func Enrol(ctx context.Context, o EnrolOptions) (*Identity, error) {
	id, err := loadIdentity(o.Layout)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	if o.JoinToken == "" {
		return nil, fmt.Errorf("this machine is not a host yet: give a join token (cairn join-token create NAME)")
	}
	if err := os.MkdirAll(o.Layout.PKI(), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the host's key: %w", err)
	}
	key, err := loadOrMakeKey(filepath.Join(o.Layout.PKI(), keyFile))
	if err != nil {
		return nil, err
	}
	csr, err := makeCSR(key, o.Name)
	if err != nil {
		return nil, err
	}
	a, err := client.Join(ctx, client.JoinOptions{Server: o.Server, Secret: o.JoinToken, Name: o.Name, CSR: csr, Client: o.Client})
	if err != nil {
		return nil, err
	}
	if err := storeIdentity(o.Layout.PKI(), a); err != nil {
		return nil, err
	}
	return loadIdentity(o.Layout)
}

// storeIdentity writes the certificate last: with it the machine is a host.
func storeIdentity(dir string, a api.JoinResponse) error {
	if err := writeFile(filepath.Join(dir, caFile), 0o644, []byte(a.CA)); err != nil {
		return fmt.Errorf("store the CA's certificate: %w", err)
	}
	if err := writeFile(filepath.Join(dir, certFile), 0o644, []byte(a.Certificate)); err != nil {
		return fmt.Errorf("store the host's certificate: %w", err)
	}
	return nil
}

func loadIdentity(l Layout) (*Identity, error) {
	id := &Identity{dir: l.PKI()}
	ca, err := os.ReadFile(filepath.Join(id.dir, caFile))
	if err != nil {
		return nil, fmt.Errorf("load the CA's certificate: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("load the CA's certificate: %s holds none", filepath.Join(id.dir, caFile))
	}
	id.ca = ca
	c, err := loadPair(id.dir)
	if err != nil {
		return nil, err
	}
	id.HostID = c.Leaf.Subject.CommonName
	id.cert.Store(c)
	return id, nil
}

func loadPair(dir string) (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(filepath.Join(dir, certFile), filepath.Join(dir, keyFile))
	if err != nil {
		return nil, fmt.Errorf("load the host's certificate: %w", err)
	}
	return &c, nil
}

// loadOrMakeKey keeps a key that a join which broke off has left.
func loadOrMakeKey(path string) (*ecdsa.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if err == nil {
		if block, _ := pem.Decode(b); block != nil {
			if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
				if k, ok := key.(*ecdsa.PrivateKey); ok {
					return k, nil
				}
			}
		}
		return nil, fmt.Errorf("load the host's key: %s holds none; remove it to make another", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("load the host's key: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the host's key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make the host's key: %w", err)
	}
	if err := writeFile(path, 0o600, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return nil, fmt.Errorf("store the host's key: %w", err)
	}
	return key, nil
}

func makeCSR(key *ecdsa.PrivateKey, name string) (string, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		return "", fmt.Errorf("make the request for a certificate: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

// Certificate returns the present certificate.
func (id *Identity) Certificate() (*tls.Certificate, error) { return id.cert.Load(), nil }

// Client makes the client with which the host speaks to the control plane. It
// takes each connection's certificate anew, so a renewed one is used by itself.
func (id *Identity) Client(server string, o client.Options) (*client.Client, error) {
	o.Server, o.CA, o.Certificate, o.Token = server, id.ca, id.Certificate, ""
	if o.UserAgent == "" {
		o.UserAgent = "cairn-agent"
	}
	return client.New(o)
}

// renewAt is when the certificate wants renewing: at two thirds of its life.
func (id *Identity) renewAt() time.Time {
	leaf := id.cert.Load().Leaf
	return leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) * 2 / 3)
}

// renew gets a new certificate for the same key and puts it in use.
func (id *Identity) renew(ctx context.Context, cp ControlPlane) error {
	key, err := loadOrMakeKey(filepath.Join(id.dir, keyFile))
	if err != nil {
		return err
	}
	csr, err := makeCSR(key, id.HostID)
	if err != nil {
		return err
	}
	a, err := cp.Renew(ctx, id.HostID, csr)
	if err != nil {
		return err
	}
	if a.CA == "" {
		a.CA = string(id.ca)
	}
	if err := storeIdentity(id.dir, a); err != nil {
		return err
	}
	c, err := loadPair(id.dir)
	if err != nil {
		return err
	}
	id.cert.Store(c)
	return nil
}

// controllerOrganization marks the certificates of controllers.
const controllerOrganization = "cairn:controller"

// serverTLS accepts controllers, and hosts, which see only what comes from them.
func (id *Identity) serverTLS() *tls.Config {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(id.ca)
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return id.cert.Load(), nil },
		ClientAuth:     tls.RequireAndVerifyClientCert,
		ClientCAs:      pool,
		VerifyConnection: func(s tls.ConnectionState) error {
			for _, o := range s.PeerCertificates[0].Subject.Organization {
				if o == controllerOrganization || o == hostOrganization {
					return nil
				}
			}
			return errors.New("only controllers and hosts may ask an agent")
		},
	}
}
