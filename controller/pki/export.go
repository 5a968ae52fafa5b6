package pki

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
)

// Export is the CA with its key, in PEM: for another controller, and for backups.
// Whoever has it can be any host and any controller.
func (c *CA) Export() ([]byte, error) {
	k, err := x509.MarshalECPrivateKey(c.key)
	if err != nil {
		return nil, fmt.Errorf("export the CA: %w", err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: k}), c.pem...), nil
}

// Import puts a CA that was exported into dir, where there is none yet or the same.
func Import(dir string, exported []byte) error {
	ca, err := parse(exported)
	if err != nil {
		return fmt.Errorf("import the CA: %w", err)
	}
	path := filepath.Join(dir, caFile)
	if err := place(path, exported); err != nil {
		return fmt.Errorf("import the CA: %w", err)
	}
	// Where there was one before, place has left it.
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("import the CA: %w", err)
	}
	if have, err := parse(b); err != nil || have.Pin() != ca.Pin() {
		return fmt.Errorf("import the CA: there is another one in %s", path)
	}
	return nil
}
