package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

const (
	caFile = "ca.pem" // key and certificate in one file, so that they are made in one step
	caLife = 10 * 365 * 24 * time.Hour
	// skew lets clocks differ: certificates begin that much earlier.
	skew = 5 * time.Minute
)

// CA signs certificates. It is safe for concurrent use.
type CA struct {
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	pem    []byte
	random io.Reader
}

// Open reads the CA from dir, or makes it at first start. Where two processes
// start at once, both end with the same CA.
func Open(dir string, now time.Time, random io.Reader) (*CA, error) {
	path := filepath.Join(dir, caFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = create(path, now, random); err == nil {
			b, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open the CA: %w", err)
	}
	ca, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("open the CA: %s: %w; restore it from a backup, for every host trusts it", path, err)
	}
	ca.random = random
	return ca, nil
}

// Exists tells whether there is a CA in dir.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, caFile))
	return err == nil
}

func parse(b []byte) (*CA, error) {
	ca := &CA{}
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		var err error
		switch block.Type {
		case "EC PRIVATE KEY":
			ca.key, err = x509.ParseECPrivateKey(block.Bytes)
		case "CERTIFICATE":
			ca.cert, err = x509.ParseCertificate(block.Bytes)
			ca.pem = pem.EncodeToMemory(block)
		}
		if err != nil {
			return nil, err
		}
	}
	if ca.key == nil || ca.cert == nil {
		return nil, errors.New("it does not hold a key and a certificate")
	}
	if !ca.key.PublicKey.Equal(ca.cert.PublicKey) {
		return nil, errors.New("its key and its certificate do not belong together")
	}
	return ca, nil
}

// create makes the CA in a file of its own and links it to its place, which
// fails where another process was faster; that one's is then the CA.
func create(path string, now time.Time, random io.Reader) error {
	b, err := newCA(now, random)
	if err != nil {
		return err
	}
	return place(path, b)
}

func place(path string, b []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".ca-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func newCA(now time.Time, random io.Reader) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial(random)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Cairn CA", Organization: []string{"cairn"}},
		NotBefore: now.Add(-skew), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(random, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	k, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, b := range []*pem.Block{{Type: "EC PRIVATE KEY", Bytes: k}, {Type: "CERTIFICATE", Bytes: der}} {
		if err := pem.Encode(&out, b); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

func newSerial(random io.Reader) (*big.Int, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	b[0] &= 0x7f
	b[0] |= 0x40 // never short, never zero
	return new(big.Int).SetBytes(b[:]), nil
}

// PEM is the CA's certificate.
func (c *CA) PEM() []byte { return c.pem }

// Pin is the SHA-256 of the CA's certificate, hexadecimal: what a join token carries.
func (c *CA) Pin() string {
	sum := sha256.Sum256(c.cert.Raw)
	return hex.EncodeToString(sum[:])
}

// Pool holds the CA alone.
func (c *CA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c.cert)
	return p
}

// sign makes a certificate of the CA.
func (c *CA) sign(t *x509.Certificate, key crypto.PublicKey) ([]byte, error) {
	serial, err := newSerial(c.random)
	if err != nil {
		return nil, err
	}
	t.SerialNumber = serial
	t.KeyUsage = x509.KeyUsageDigitalSignature
	if t.NotAfter.After(c.cert.NotAfter) {
		t.NotAfter = c.cert.NotAfter
	}
	return x509.CreateCertificate(c.random, t, c.cert, key, c.key)
}
