package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

// ask sends one request to a console server as the bearer of the certificate.
func ask(t *testing.T, ca *authority, addr string, as *tls.Certificate, path string) (int, string, error) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	config := &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
	if as != nil {
		config.Certificates = []tls.Certificate{*as}
	}
	tr := &http.Transport{TLSClientConfig: config}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func TestConsole_isForControllersOnly(t *testing.T) {
	ca, other := newAuthority(), newAuthority()
	own := ca.issue("hst_a", "cairn:host")
	id := &Identity{HostID: "hst_a", ca: ca.pem}
	id.cert.Store(&own)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	h := http.NewServeMux()
	networkRoutes(h, fakeNetwork{newWorld()}, slog.New(slog.DiscardHandler))
	consoleRoutes(h, fakeHypervisor{newWorld()}, func() api.HostDesired { return testDesired(testInstance("ins_a")) })
	go func() { done <- serve(ctx, l, id, h, slog.New(slog.DiscardHandler)) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	controller, host, foreign := ca.issue("c1", "cairn:controller"), ca.issue("hst_b", "cairn:host"), other.issue("c1", "cairn:controller")
	for name, c := range map[string]*tls.Certificate{"nobody": nil, "a controller of another cloud": &foreign} {
		if code, _, err := ask(t, ca, l.Addr().String(), c, "/v1/console/ins_a"); err == nil {
			t.Errorf("%s got an answer: %d", name, code)
		}
	}
	for _, path := range []string{"/v1/console/ins_a", "/v1/network"} {
		if code, _, err := ask(t, ca, l.Addr().String(), &host, path); err != nil || code != 403 {
			t.Errorf("another host got %d, %v from %s", code, err, path)
		}
	}
	for path, want := range map[string]struct {
		code int
		body string
	}{
		"/v1/network":                           {200, `{"desired":["host: a","host: b"],"actual":["host: a"],"drift":[{"field":"b","desired":"there","actual":"absent"}]}` + "\n"},
		"/v1/console/ins_a":                     {200, "console of ins_a"},
		"/v1/console/ins_a?limit=5":             {200, "ins_a"},
		"/v1/console/ins_a?limit=0":             {400, ""},
		"/v1/console/ins_a?limit=x":             {400, ""},
		"/v1/console/ins_b":                     {404, ""},
		"/v1/console/..%2f..%2fpki%2fhost.key":  {404, ""},
		"/v1/console/ins_a/../../../etc/passwd": {404, ""},
		"/":                                     {404, ""},
		"/v1/instances":                         {404, ""},
		"/debug/pprof/":                         {404, ""},
	} {
		code, body, err := ask(t, ca, l.Addr().String(), &controller, path)
		if err != nil || code/100*100 == 300 {
			if code != 301 && code != 307 {
				t.Errorf("%s: %d %v", path, code, err)
			}
			continue // the path is cleaned; following it ends in 404 as any other
		}
		if code != want.code || want.body != "" && body != want.body {
			t.Errorf("%s: %d %q, want %d %q", path, code, body, want.code, want.body)
		}
	}
}
