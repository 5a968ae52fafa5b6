package agent

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// signing answers requests for certificates.
type signing struct {
	*plane
	ca   *authority
	life time.Duration
	cn   string
}

func (s *signing) issue(csr string) (api.JoinResponse, error) {
	block, _ := pem.Decode([]byte(csr))
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return api.JoinResponse{}, err
	}
	now := time.Now()
	cert := s.ca.sign(r.PublicKey, s.cn, "cairn:host", now, now.Add(s.life))
	return api.JoinResponse{HostID: s.cn, Certificate: string(cert), CA: string(s.ca.pem), ExpiresAt: now.Add(s.life)}, nil
}

func (s *signing) Renew(_ context.Context, _, csr string) (api.JoinResponse, error) {
	s.mu.Lock()
	s.calls++
	s.mu.Unlock()
	return s.issue(csr)
}

func (s *signing) renewals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// joinServer is a control plane that lets machines join.
func joinServer(t *testing.T, s *signing) (url, secret string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var j api.JoinRequest
		b, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(b, &j); err != nil || r.URL.Path != "/v1/join" || j.Name != "h1" {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		a, err := s.issue(j.CSR)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a)
	}))
	c := s.ca.issue("server", "cairn:controller")
	c.Certificate = append(c.Certificate, s.ca.cert.Raw)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{c}}
	server.StartTLS()
	t.Cleanup(server.Close)
	sum := sha256.Sum256(s.ca.cert.Raw)
	return server.URL, "cjt_jtk_a." + strings.Repeat("x", 43) + "." + hex.EncodeToString(sum[:])
}

func TestEnrol_joinsOnceAndIsKnownAfterwards(t *testing.T) {
	s := &signing{plane: newPlane(), ca: newAuthority(), life: time.Hour, cn: "hst_a"}
	url, secret := joinServer(t, s)
	l := Layout(t.TempDir())
	if _, err := Enrol(t.Context(), EnrolOptions{Layout: l, Server: url, Name: "h1"}); err == nil || !strings.Contains(err.Error(), "join token") {
		t.Fatalf("without a token: %v", err)
	}
	id, err := Enrol(t.Context(), EnrolOptions{Layout: l, Server: url, Name: "h1", JoinToken: secret})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Enrol(t.Context(), EnrolOptions{Layout: l, Server: "https://127.0.0.1:1"}) // no control plane
	if err != nil || again.HostID != "hst_a" || id.HostID != "hst_a" {
		t.Errorf("%v, %+v", err, again)
	}
	for name, mode := range map[string]fs.FileMode{keyFile: 0o600, certFile: 0o644, caFile: 0o644} {
		if st, err := os.Stat(filepath.Join(l.PKI(), name)); err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v, want %v", name, st, err, mode)
		}
	}
}

func TestEnrol_trustsOnlyTheCAInTheToken(t *testing.T) {
	s := &signing{plane: newPlane(), ca: newAuthority(), life: time.Hour, cn: "hst_a"}
	url, _ := joinServer(t, s)
	_, other := joinServer(t, &signing{plane: newPlane(), ca: newAuthority()})
	l := Layout(t.TempDir())
	if _, err := Enrol(t.Context(), EnrolOptions{Layout: l, Server: url, Name: "h1", JoinToken: other}); err == nil {
		t.Fatal("it joined a server of another CA")
	}
	if _, err := loadIdentity(l); err == nil {
		t.Error("half a join left an identity")
	}
}

func TestCertificate_isRenewedAtTwoThirdsOfItsLife(t *testing.T) {
	dir := Layout(t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		s := &signing{plane: newPlane(), ca: newAuthority(), life: 30 * time.Hour, cn: "hst_a"}
		if err := os.MkdirAll(dir.PKI(), 0o700); err != nil {
			t.Fatal(err)
		}
		key, err := loadOrMakeKey(filepath.Join(dir.PKI(), keyFile))
		if err != nil {
			t.Fatal(err)
		}
		csr, err := makeCSR(key, "h1")
		if err != nil {
			t.Fatal(err)
		}
		first, err := s.issue(csr)
		if err != nil {
			t.Fatal(err)
		}
		if err := storeIdentity(dir.PKI(), first); err != nil {
			t.Fatal(err)
		}
		id, err := loadIdentity(dir)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		a := &Agent{o: Options{Identity: id, ControlPlane: s, Now: time.Now, Rand: func() float64 { return 0 }, Log: discard()}}
		done := make(chan struct{})
		go func() { defer close(done); a.keepCertificate(ctx) }()
		old, _ := id.Certificate()
		later(20*time.Hour - time.Second)
		if s.renewals() != 0 {
			t.Error("it was renewed before its time")
		}
		later(2 * time.Second)
		now, _ := id.Certificate()
		if s.renewals() != 1 || now == old || !now.Leaf.NotAfter.After(old.Leaf.NotAfter) {
			t.Errorf("after two thirds: %d renewals", s.renewals())
		}
		if kept, err := loadIdentity(dir); err != nil || kept.cert.Load().Leaf.SerialNumber.Cmp(now.Leaf.SerialNumber) != 0 {
			t.Errorf("the new one is not on the disk: %v", err)
		}
		cancel()
		<-done
	})
}
