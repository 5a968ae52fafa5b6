package client

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
)

func tlsConfig(o Options, host string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.Certificate != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return o.Certificate() }
	}
	switch {
	case len(o.CA) > 0 && o.CAPin != "":
		return nil, errors.New("both a CA and the digest of one are given; give one of them")
	case len(o.CA) > 0:
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(o.CA) {
			return nil, errors.New("the CA holds no certificate in PEM")
		}
	case o.CAPin != "":
		pin, err := hex.DecodeString(o.CAPin)
		if err != nil || len(pin) != sha256.Size {
			return nil, errors.New("the digest of the CA is not 64 hexadecimal digits")
		}
		// Not less safe but more: VerifyConnection below does all that the
		// standard verification does, with the one CA of that digest as its root.
		config.InsecureSkipVerify = true
		config.VerifyConnection = func(s tls.ConnectionState) error { return verifyPinned(s, host, pin) }
	}
	return config, nil
}

// verifyPinned demands that the server presents a CA of the digest, and a
// certificate for its name that this CA signed. The name is passed in: the
// state has none where the server is named by its address.
func verifyPinned(s tls.ConnectionState, host string, pin []byte) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	found := false
	for _, c := range s.PeerCertificates {
		sum := sha256.Sum256(c.Raw)
		if c.IsCA && subtle.ConstantTimeCompare(sum[:], pin) == 1 {
			roots.AddCert(c)
			found = true
		} else {
			between.AddCert(c)
		}
	}
	if !found {
		return &untrustedError{fmt.Errorf("the server %s does not present the CA with SHA-256 %x: it is another cloud, or somebody is in between", host, pin)}
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{
		DNSName: host, Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return &untrustedError{err}
	}
	return nil
}

// untrustedError says that the server is not the one that was meant. Trying
// again is of no use.
type untrustedError struct{ err error }

func (e *untrustedError) Error() string { return e.err.Error() }
func (e *untrustedError) Unwrap() error { return e.err }

func untrusted(err error) bool {
	var ours *untrustedError
	var theirs *tls.CertificateVerificationError
	return errors.As(err, &ours) || errors.As(err, &theirs)
}
