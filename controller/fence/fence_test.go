package fence

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

func host(b *api.BMC) *api.Host {
	h := &api.Host{}
	h.ID, h.Name, h.Spec.BMC = "hst_a", "h1", b
	return h
}

func program(t *testing.T, script string) *Exec {
	t.Helper()
	p := filepath.Join(t.TempDir(), "fence")
	if err := os.WriteFile(p, []byte("#!/bin/sh\n"+script), 0o700); err != nil { // #nosec G306 -- it is run
		t.Fatal(err)
	}
	return &Exec{Program: p}
}

func TestExec_isToldTheHostAndSaysHow(t *testing.T) {
	e := program(t, `grep -q '"id":"hst_a"' && echo "outlet 7 of $CAIRN_HOST is off"`)
	how, err := e.Fence(t.Context(), host(nil))
	if err != nil || how != "the fence program says: outlet 7 of h1 is off" {
		t.Errorf("%q, %v", how, err)
	}
}

func TestExec_aProgramThatFailsHasSwitchedNothingOff(t *testing.T) {
	_, err := program(t, "echo no answer from the outlet >&2; exit 3").Fence(t.Context(), host(nil))
	if err == nil || !strings.Contains(err.Error(), "no answer from the outlet") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := program(t, "exec sleep 60").Fence(ctx, host(nil)); err == nil {
		t.Error("a program that does not end was believed")
	}
}

// machine is a management controller as far as this package asks of one. A real
// one cannot be had in tests.
type machine struct {
	*testing.T
	power string
	stuck bool
	posts []string
}

func (m *machine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if user, password, _ := r.BasicAuth(); user != "cairn" || password != "secret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /redfish/v1/Systems":
		_, _ = io.WriteString(w, `{"Members":[{"@odata.id":"/redfish/v1/Systems/1"}]}`)
	case "GET /redfish/v1/Systems/1":
		s := map[string]any{"PowerState": m.power, "Actions": map[string]any{"#ComputerSystem.Reset": map[string]string{"target": "/reset/1"}}}
		if err := json.NewEncoder(w).Encode(s); err != nil {
			m.Error(err)
		}
	case "POST /reset/1":
		b, err := io.ReadAll(r.Body)
		if err != nil {
			m.Error(err)
		}
		m.posts = append(m.posts, string(b))
		if !m.stuck {
			m.power = "Off"
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// serve returns the BMC, and a Redfish that knows it by its certificate.
func (m *machine) serve(password string) (*Redfish, *api.BMC) {
	m.Helper()
	s := httptest.NewTLSServer(m)
	m.Cleanup(s.Close)
	sum := sha256.Sum256(s.Certificate().Raw)
	file := filepath.Join(m.TempDir(), "credentials")
	b, err := json.Marshal(map[string]Credentials{"default": {User: "cairn", Password: password, CertificateSHA256: hex.EncodeToString(sum[:])}})
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		m.Fatal(err)
	}
	r, err := OpenRedfish(file)
	if err != nil {
		m.Fatal(err)
	}
	r.poll = time.Millisecond
	return r, &api.BMC{URL: s.URL}
}

func TestRedfish_forcesThePowerOffAndSeesIt(t *testing.T) {
	m := &machine{T: t, power: "On"}
	r, b := m.serve("secret")
	f := &Fencer{Redfish: r}
	for range 2 { // asked again, there is nothing left to do
		if how, err := f.Fence(t.Context(), host(b)); err != nil || !strings.Contains(how, "power is off") {
			t.Errorf("%q, %v", how, err)
		}
	}
	if len(m.posts) != 1 || m.posts[0] != `{"ResetType":"ForceOff"}` {
		t.Errorf("it was asked %v", m.posts)
	}
}

func TestRedfish_believesOnlyThePower(t *testing.T) {
	stuck := &machine{T: t, power: "On", stuck: true}
	r, b := stuck.serve("secret")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Fence(ctx, host(b)); err == nil {
		t.Error("a machine whose power is on counts as off")
	}
	m := &machine{T: t, power: "On"}
	r, b = m.serve("wrong")
	if _, err := r.Fence(t.Context(), host(b)); err == nil || !strings.Contains(err.Error(), "401") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("%v", err)
	}
	other := &machine{T: t, power: "Off"}
	_, b = other.serve("secret")
	r.credentials["default"] = Credentials{User: "cairn", Password: "secret", CertificateSHA256: strings.Repeat("0", 64)}
	if _, err := r.Fence(t.Context(), host(b)); err == nil || !strings.Contains(err.Error(), "another certificate") {
		t.Errorf("%v", err)
	}
}

func TestOpenRedfish_refusesWhatOthersCanReadOrIsIncomplete(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	for _, x := range []struct {
		content string
		mode    os.FileMode
		want    string
	}{
		{`{}`, 0o644, "chmod 600"},
		{`{"default":{"user":"u"}}`, 0o600, "needs a user"},
		{`{"default":{"user":"u","password":"p","certificate_sha256":"12"}}`, 0o600, "needs a user"},
		{`{"default":{"usr":"u"}}`, 0o600, "unknown field"},
	} {
		if err := os.WriteFile(file, []byte(x.content), x.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, x.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenRedfish(file); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v", x.content, err)
		}
	}
}

func TestFencer_saysWhereThereIsNoWay(t *testing.T) {
	f := &Fencer{}
	if f.Can(host(&api.BMC{URL: "https://192.0.2.1"})) {
		t.Error("without credentials there is a way")
	}
	if _, err := f.Fence(t.Context(), host(nil)); err == nil {
		t.Error("a host was switched off by nothing")
	}
	f.Redfish = &Redfish{credentials: map[string]Credentials{"default": {}}}
	if !f.Can(host(&api.BMC{})) || f.Can(host(nil)) || f.Can(host(&api.BMC{Credentials: "other"})) {
		t.Error("whether there is a way does not follow from the BMC and its credentials")
	}
}
