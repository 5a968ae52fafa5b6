package controller

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/pki"
)

// agentServer serves as the agent of a host does: with the host's certificate,
// to controllers only.
func agentServer(t *testing.T, ca *pki.CA, host string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ca.SignHost(host, key.Public(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(c.PEM)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS.PeerCertificates[0].Subject.Organization[0] == pki.ControllerOrganization && r.URL.Path == "/v1/network" {
			_, _ = io.WriteString(w, `{"desired":["a"],"actual":["b"],"drift":[{"field":"f","desired":"x","actual":"y"}]}`)
			return
		}
		if r.TLS.PeerCertificates[0].Subject.Organization[0] != pki.ControllerOrganization || r.URL.Query().Get("limit") != "100" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, "console of "+r.URL.Path)
	}))
	srv.TLS = &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
		Certificates: []tls.Certificate{{Certificate: [][]byte{block.Bytes}, PrivateKey: key}},
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestConsoleLog_fromTheInstancesOwnHostOnly(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	i := c.create(instance("i")).(*api.Instance)
	_, err := c.b.ConsoleLog(c.ctx, i, 100)
	refused(t, err, 409, "not_placed", "placement.host")
	host := c.host("h1", 8, 8192, 100)
	c.place()
	c.until("it is placed", func(v api.View) bool { return placed(v.Get(api.KindInstance, i.ID)) })
	i = c.getInstance(i.ID)
	_, err = c.b.ConsoleLog(c.ctx, i, 100)
	refused(t, err, 503, "host_unreachable", "placement.host")
	at := func(url string) {
		t.Helper()
		s := get[*api.Host](c.view(), api.KindHost, host).Status
		s.AgentURL = url
		if _, err := c.b.Report(c.ctx, host, 0, []api.Report{{Kind: api.KindHost, ID: host, Host: &s}}); err != nil {
			t.Fatal(err)
		}
	}
	at(agentServer(t, c.b.ca, host))
	r, err := c.b.ConsoleLog(c.ctx, i, 100)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || string(b) != "console of /v1/console/"+i.ID {
		t.Errorf("got %q, %v", b, err)
	}
	report, err := c.b.HostNetwork(c.ctx, get[*api.Host](c.view(), api.KindHost, host))
	if err != nil || report.Desired[0] != "a" || report.Actual[0] != "b" || report.Drift[0].Field != "f" {
		t.Errorf("the host's network is %+v (%v)", report, err)
	}
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a host made a controller ask somebody else") }))
	defer plain.Close()
	at(plain.URL)
	_, err = c.b.ConsoleLog(c.ctx, i, 100)
	refused(t, err, 503, "host_unreachable", "placement.host")
	at(agentServer(t, c.b.ca, "hst_another"))
	_, err = c.b.HostNetwork(c.ctx, get[*api.Host](c.view(), api.KindHost, host))
	refused(t, err, 503, "host_unreachable", "")
	_, err = c.b.ConsoleLog(c.ctx, i, 100)
	refused(t, err, 503, "host_unreachable", "placement.host")
}
