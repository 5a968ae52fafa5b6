package rest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/api/client"
	"github.com/cairn-cloud/cairn/api/rest"
)

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key = a.newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Cairn CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return k
}

func (a *authority) pin() string {
	sum := sha256.Sum256(a.cert.Raw)
	return hex.EncodeToString(sum[:])
}

// issue makes a certificate that is good for both ends, with the CA behind it.
func (a *authority) issue(organization, name string, ips ...net.IP) *tls.Certificate {
	key := a.newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name, Organization: []string{organization}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: ips,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}
}

// tlsCloud is a cloud that listens as a controller does.
func tlsCloud(t *testing.T, ca *authority) (*cloud, string) {
	c := newCloud(t)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	cert := ca.issue("cairn:controller", "c1", net.IPv4(127, 0, 0, 1))
	s := c.rest.HTTPServer(rest.TLSConfig(func() (*tls.Certificate, error) { return cert, nil }, pool))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		c.rest.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		<-served
	})
	return c, "https://" + l.Addr().String()
}

func agentClient(t *testing.T, ca *authority, url string, cert *tls.Certificate) *client.Client {
	t.Helper()
	o := client.Options{Server: url, CAPin: ca.pin(), Attempts: 1}
	if cert != nil {
		o.Certificate = func() (*tls.Certificate, error) { return cert, nil }
	}
	cl, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func TestHost_opensItsOwnRoutesAndNothingElse(t *testing.T) {
	ca := newAuthority(t)
	c, url := tlsCloud(t, ca)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	h1, h2 := &api.Host{}, &api.Host{}
	h1.Name, h2.Name = "h1", "h2"
	c.put(h1)
	c.put(h2)
	cl := agentClient(t, ca, url, ca.issue("cairn:host", h1.ID))

	if _, err := cl.Heartbeat(ctx, h1.ID); err != nil {
		t.Error(err)
	}
	if _, err := cl.Report(ctx, h1.ID, 0, []api.Report{{Kind: api.KindHost, ID: h1.ID, Host: &api.HostStatus{}}}); err != nil {
		t.Error(err)
	}
	if a, err := cl.Renew(ctx, h1.ID, "csr"); err != nil || a.HostID != h1.ID {
		t.Errorf("%+v %v", a, err)
	}
	for items, err := range cl.Desired(ctx, h1.ID, nil) {
		if err != nil || len(items) != 2 || items[0].ID != h1.ID || items[1].Op != "synced" {
			t.Errorf("%+v %v", items, err)
		}
		break
	}
	for what, err := range map[string]error{
		"another's heartbeat": errorOf(cl.Heartbeat(ctx, h2.ID)),
		"another's reports":   errorOf(cl.Report(ctx, h2.ID, 0, []api.Report{{}})),
		"another's renewal":   second(cl.Renew(ctx, h2.ID, "csr")),
		"a list":              second(cl.ListPage(ctx, api.Kinds[0], client.ListOptions{}, "")),
		"itself as an object": second(client.Get[*api.Host](ctx, cl, "", h1.ID)),
	} {
		if !client.IsCode(err, "not_your_host") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, err := range cl.Desired(ctx, h2.ID, nil) {
		if !client.IsCode(err, "not_your_host") {
			t.Error(err)
		}
		break
	}
	stranger := agentClient(t, ca, url, ca.issue("cairn:host", "hst_gone"))
	if _, err := stranger.Heartbeat(ctx, "hst_gone"); !client.IsCode(err, "unauthenticated") {
		t.Errorf("a host that is not in the cloud: %v", err)
	}
	controller := agentClient(t, ca, url, ca.issue("cairn:controller", h1.ID))
	if _, err := controller.Heartbeat(ctx, h1.ID); !client.IsCode(err, "unauthenticated") {
		t.Errorf("a controller's certificate: %v", err)
	}
	foreign := agentClient(t, ca, url, newAuthority(t).issue("cairn:host", h1.ID))
	if _, err := foreign.Heartbeat(ctx, h1.ID); err == nil {
		t.Error("a certificate of another CA was let in")
	}
}

func TestTLS_offersHTTP2AndAsksHostsForCertificates(t *testing.T) {
	ca := newAuthority(t)
	_, url := tlsCloud(t, ca)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	asked := false
	conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{
		RootCAs: pool, NextProtos: []string{"h2", "http/1.1"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return &tls.Certificate{}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if s := conn.ConnectionState(); s.NegotiatedProtocol != "h2" || s.Version != tls.VersionTLS13 || !asked {
		t.Errorf("%s over %x, asked for a certificate: %v", s.NegotiatedProtocol, s.Version, asked)
	}
}

func second[T any](_ T, err error) error { return err }

func TestHost_readsTheImagesOfItsInstances(t *testing.T) {
	ca := newAuthority(t)
	c, url := tlsCloud(t, ca)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	h := &api.Host{}
	h.Name = "h1"
	c.put(h)
	var images []*api.Image
	for _, name := range []string{"used", "unused"} {
		i := &api.Image{}
		i.Name, i.Project = name, c.p.ID
		c.put(i)
		if err := c.client("p-member").Upload(ctx, "p", name, strings.NewReader("bytes of "+name), nil); err != nil {
			t.Fatal(err)
		}
		images = append(images, i)
	}
	ins := &api.Instance{}
	ins.Name, ins.Project, ins.Spec.Image, ins.Placement.Host = "web", c.p.ID, images[0].ID, h.ID
	c.put(ins)
	cl := agentClient(t, ca, url, ca.issue("cairn:host", h.ID))
	body, err := cl.ImageData(ctx, "", images[0].ID, 9)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil || string(b) != "used" {
		t.Errorf("%q %v", b, err)
	}
	if _, err := cl.ImageData(ctx, "", images[1].ID, 0); !client.IsCode(err, "not_found") {
		t.Errorf("an image of nobody on this host: %v", err)
	}
}

func TestJoin_trustsTheCAOfItsTokenAlone(t *testing.T) {
	ca := newAuthority(t)
	_, url := tlsCloud(t, ca)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	secret := "cjt_jtk_1.c2VjcmV0." + ca.pin()
	a, err := client.Join(ctx, client.JoinOptions{Server: url, Secret: secret, Name: "h1", CSR: "csr"})
	if err != nil || a.HostID != "hst_h1" {
		t.Errorf("%+v %v", a, err)
	}
	_, err = client.Join(ctx, client.JoinOptions{Server: url, Secret: "cjt_jtk_1.c2VjcmV0." + newAuthority(t).pin(), Name: "h1", CSR: "csr"})
	if err == nil || !strings.Contains(err.Error(), "does not present the CA") {
		t.Errorf("another CA: %v", err)
	}
	_, err = client.Join(ctx, client.JoinOptions{Server: strings.Replace(url, "127.0.0.1", "localhost", 1), Secret: secret, Name: "h1", CSR: "csr"})
	if err == nil || !strings.Contains(err.Error(), "localhost") {
		t.Errorf("a name that the certificate does not have: %v", err)
	}
	if _, err := client.Join(ctx, client.JoinOptions{Server: url, Secret: "cjt_x", Name: "h1", CSR: "csr"}); err == nil {
		t.Error("half a token was taken")
	}
	_, err = client.Join(ctx, client.JoinOptions{Server: url, Secret: secret, Name: "h1"})
	if !client.IsCode(err, "missing_field") {
		t.Errorf("without a CSR: %v", err)
	}
}

func errorOf(_ int64, err error) error { return err }
