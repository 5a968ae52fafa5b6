package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// ownLife is how long the control plane's own certificates live. They are made
// in memory, at start and again when two thirds of their life are over, so
// that no key of theirs is on a disk.
const ownLife = 90 * 24 * time.Hour

// Own is a certificate of the control plane's own that renews itself when it is
// asked for. It is safe for concurrent use.
type Own struct {
	ca       *CA
	now      func() time.Time
	life     time.Duration
	template x509.Certificate

	mu      sync.Mutex
	current *tls.Certificate
	renewAt time.Time
}

// Server is the certificate of an API server that is reached under these DNS
// names and addresses. It carries the CA's certificate behind it, for machines that
// know the CA by its digest only.
func (c *CA) Server(names []string, now func() time.Time) *Own {
	t := x509.Certificate{
		Subject:     pkix.Name{CommonName: "Cairn API", Organization: []string{ControllerOrganization}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else if n != "" && !slices.Contains(t.DNSNames, n) {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	return &Own{ca: c, now: now, life: ownLife, template: t}
}

// Controller is the certificate with which a controller calls agents.
func (c *CA) Controller(now func() time.Time) *Own {
	return &Own{ca: c, now: now, life: ownLife, template: x509.Certificate{
		Subject:     pkix.Name{CommonName: "Cairn controller", Organization: []string{ControllerOrganization}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}}
}

// Certificate returns the certificate, a new one when it is time.
func (o *Own) Certificate() (*tls.Certificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	if o.current != nil && now.Before(o.renewAt) {
		return o.current, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), o.ca.random)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	t := o.template
	t.NotBefore, t.NotAfter = now.Add(-skew), now.Add(o.life)
	der, err := o.ca.sign(&t, key.Public())
	if err != nil {
		return nil, fmt.Errorf("sign the certificate %q: %w", t.Subject.CommonName, err)
	}
	o.current = &tls.Certificate{Certificate: [][]byte{der, o.ca.cert.Raw}, PrivateKey: key}
	o.renewAt = now.Add(o.life / 3 * 2)
	return o.current, nil
}

// ClientTLS is how a controller calls an agent: it shows own and trusts the CA alone.
func (c *CA) ClientTLS(own *Own) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		RootCAs:    c.Pool(),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return own.Certificate()
		},
	}
}
