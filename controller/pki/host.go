package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// Organizations tell what a certificate is for.
const (
	HostOrganization       = "cairn:host"
	ControllerOrganization = "cairn:controller"
)

const hostLife = 30 * 24 * time.Hour

// HostCertificate is what a host gets.
type HostCertificate struct {
	PEM       []byte
	ExpiresAt time.Time
}

// CSRError says what is wrong with a certificate request.
type CSRError struct{ why string }

// Error implements error.
func (e *CSRError) Error() string { return e.why }

// ParseCSR returns the public key of a PKCS#10 request in PEM, whose sender has
// proved to hold the private key. Everything else in the request is ignored.
func ParseCSR(csr string) (crypto.PublicKey, error) {
	block, _ := pem.Decode([]byte(csr))
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, &CSRError{"it is no certificate request in PEM"}
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, &CSRError{"it cannot be read: " + err.Error()}
	}
	if err := r.CheckSignature(); err != nil {
		return nil, &CSRError{"its signature is wrong: " + err.Error()}
	}
	switch k := r.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize >= 256 {
			return k, nil
		}
	case ed25519.PublicKey:
		return k, nil
	}
	return nil, &CSRError{fmt.Sprintf("a key of the type %T is not accepted", r.PublicKey)}
}

// KeyDigest is the SHA-256 of a public key, hexadecimal.
func KeyDigest(key crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("digest of a key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// SignHost makes a host's certificate: it shows who it is to the API, and serves
// consoles to controllers. Its name is the host's ID, in the subject and as DNS name.
func (c *CA) SignHost(id string, key crypto.PublicKey, now time.Time) (HostCertificate, error) {
	if id == "" {
		return HostCertificate{}, errors.New("sign a host's certificate: the host has no ID")
	}
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: id, Organization: []string{HostOrganization}},
		DNSNames:    []string{id},
		NotBefore:   now.Add(-skew),
		NotAfter:    now.Add(hostLife),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := c.sign(t, key)
	if err != nil {
		return HostCertificate{}, fmt.Errorf("sign the certificate of host %s: %w", id, err)
	}
	return HostCertificate{PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), ExpiresAt: t.NotAfter.Truncate(time.Second)}, nil
}
