package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var start = time.Now()

func clock() time.Time { return start }

func openCA(t *testing.T) *CA {
	t.Helper()
	ca, err := Open(t.TempDir(), start, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func csr(t *testing.T, key crypto.Signer) string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"evil.example"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func ecKey(t *testing.T, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestOpen_makesTheCAOnceAlsoWhenManyStart(t *testing.T) {
	dir := t.TempDir()
	pins := make([]string, 8)
	var wg sync.WaitGroup
	for i := range pins {
		wg.Go(func() {
			ca, err := Open(dir, start, rand.Reader)
			if err != nil {
				t.Error(err)
				return
			}
			pins[i] = ca.Pin()
		})
	}
	wg.Wait()
	for _, p := range pins {
		if p != pins[0] || len(p) != 64 {
			t.Fatalf("different CAs: %v", pins)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("left %v, %v", files, err)
	}
	if st, err := os.Stat(filepath.Join(dir, caFile)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the CA's key is readable by others: %v, %v", st.Mode(), err)
	}
}

func TestOpen_neverReplacesADamagedCA(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, caFile), []byte("not a CA"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, start, rand.Reader); err == nil || !strings.Contains(err.Error(), "restore it from a backup") {
		t.Errorf("a damaged CA opened: %v", err)
	}
}

func TestParseCSR_takesTheKeyAndNothingElse(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	good := csr(t, key)
	got, err := ParseCSR(good)
	if err != nil || !key.PublicKey.Equal(got) {
		t.Fatalf("the key is %v, %v", got, err)
	}
	ca := openCA(t)
	c, err := ca.SignHost("hst_a", got, start)
	if err != nil {
		t.Fatal(err)
	}
	cert := parseCert(t, c.PEM)
	if cert.Subject.CommonName != "hst_a" || cert.Subject.Organization[0] != HostOrganization || len(cert.DNSNames) != 1 || cert.DNSNames[0] != "hst_a" {
		t.Errorf("the certificate is of %v, %v", cert.Subject, cert.DNSNames)
	}
	if d := c.ExpiresAt.Sub(start); d < 29*24*time.Hour || d > 30*24*time.Hour {
		t.Errorf("it lives for %v", d)
	}
	small, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	forged := []byte(good)
	block, _ := pem.Decode(forged)
	block.Bytes[len(block.Bytes)-1] ^= 1
	for name, bad := range map[string]string{
		"nothing": "", "text": "hello", "an RSA key": csr(t, small), "a weak curve": csr(t, ecKey(t, elliptic.P224())),
		"a wrong signature": string(pem.EncodeToMemory(block)), "a certificate": string(ca.PEM()),
	} {
		var e *CSRError
		if _, err := ParseCSR(bad); !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func parseCert(t *testing.T, b []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(b)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOwn_renewsAtTwoThirdsOfItsLife(t *testing.T) {
	now := start
	own := openCA(t).Server([]string{"api.example", "127.0.0.1"}, func() time.Time { return now })
	get := func() *tls.Certificate {
		c, err := own.Certificate()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := get()
	now = start.Add(59 * 24 * time.Hour)
	if get() != first {
		t.Error("it was renewed too early")
	}
	now = start.Add(61 * 24 * time.Hour)
	if get() == first {
		t.Error("it was not renewed")
	}
	if len(first.Certificate) != 2 {
		t.Error("the CA does not come behind it")
	}
}

// TestTLS: a controller reaches the agent of one host, and no other host can
// stand in for it.
func TestTLS_aHostIsItselfOnly(t *testing.T) {
	ca := openCA(t)
	serve := func(ca *CA, id string) *httptest.Server {
		key := ecKey(t, elliptic.P256())
		c, err := ca.SignHost(id, key.Public(), start)
		if err != nil {
			t.Fatal(err)
		}
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, strings.Join(r.TLS.PeerCertificates[0].Subject.Organization, ","))
		}))
		srv.TLS = &tls.Config{
			MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
			Certificates: []tls.Certificate{{Certificate: [][]byte{parseCert(t, c.PEM).Raw}, PrivateKey: key}},
		}
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return srv
	}
	cfg := ca.ClientTLS(ca.Controller(clock))
	cfg.ServerName = "hst_a"
	tr := &http.Transport{TLSClientConfig: cfg}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}
	resp, err := client.Get(serve(ca, "hst_a").URL)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || string(b) != ControllerOrganization {
		t.Errorf("the agent saw %q, %v", b, err)
	}
	for name, srv := range map[string]*httptest.Server{"another host": serve(ca, "hst_b"), "a host of another cloud": serve(openCA(t), "hst_a")} {
		if resp, err := client.Get(srv.URL); err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s stood in for the host", name)
		}
	}
}
