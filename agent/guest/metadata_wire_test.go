package guest

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
)

// counted makes a browser count its connections.
func counted(c *http.Client, dials *atomic.Int32) {
	tr := c.Transport.(*http.Transport)
	dial := tr.DialContext
	tr.DialContext = func(ctx context.Context, network, to string) (net.Conn, error) {
		dials.Add(1)
		return dial(ctx, network, to)
	}
}

// browser is an HTTP client in a guest.
func (n *namespace) browser(t *testing.T, from netip.Addr) *http.Client {
	tr := &http.Transport{DialContext: n.dial(from)}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func fetch(ctx context.Context, t *testing.T, c *http.Client, method, path string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "http://169.254.169.254"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestMetadata_twoNetworksWithTheSameAddressesAnswerEachItsOwn(t *testing.T) {
	w := newWires(t)
	d := nothing()
	guests := map[string]*namespace{}
	for i, name := range []string{"a", "b"} {
		vni := uint32(i + 1)
		w.router(vni, "10.10.0.1/24")
		addNetwork(d, name, vni)
		addInstance(d, name, name, macA, "10.10.0.11")
		guests[name] = w.guest(vni, macA)
		w.address(guests[name], "10.10.0.11/24", "10.10.0.1")
	}
	if err := w.service().Set(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	for name, g := range guests {
		code, body := fetch(patient(t), t, g.browser(t, netip.Addr{}), "GET", "/latest/meta-data/instance-id")
		if code != 200 || body != "ins_"+name {
			t.Errorf("%s is told %d %q", name, code, body)
		}
		lease, err := g.client(t, macA).Request(patient(t))
		if err != nil || lease.ACK.HostName() != name {
			t.Errorf("%s is leased %v (%v)", name, lease, err)
		}
	}
}
