package fence

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// Redfish switches hosts off by their management controllers. What it needs of
// Redfish is four requests, for which no library that is to be had is worth its size.
type Redfish struct {
	credentials map[string]Credentials
	poll        time.Duration
}

// Credentials let a controller in at BMCs.
type Credentials struct {
	User     string `json:"user"`
	Password string `json:"password"`
	// CertificateSHA256 is the digest (hexadecimal) of the certificate that the BMC
	// shows, where no authority that the machine trusts has signed it.
	CertificateSHA256 string `json:"certificate_sha256,omitempty"`
}

// defaultCredentials are those of a BMC that names none.
const defaultCredentials = "default"

// pollEvery is how long to wait between looks at whether the power is off.
const pollEvery = 2 * time.Second

// OpenRedfish reads credentials by name from a JSON file that only its owner can read.
func OpenRedfish(file string) (*Redfish, error) {
	st, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("BMC credentials: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("BMC credentials: %s can be read by others: chmod 600 %s", file, file)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("BMC credentials: %w", err)
	}
	r := &Redfish{credentials: map[string]Credentials{}, poll: pollEvery}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&r.credentials); err != nil {
		return nil, fmt.Errorf("BMC credentials in %s: %w", file, err)
	}
	for name, c := range r.credentials {
		if pin, err := hex.DecodeString(c.CertificateSHA256); err != nil || c.User == "" || c.Password == "" || len(pin) != 0 && len(pin) != sha256.Size {
			return nil, fmt.Errorf("BMC credentials in %s: %q needs a user, a password and, if any, the SHA-256 of a certificate in 64 hexadecimal digits", file, name)
		}
	}
	return r, nil
}

func (r *Redfish) has(name string) bool {
	_, ok := r.credentials[cmp.Or(name, defaultCredentials)]
	return ok
}

// system is what is needed of a ComputerSystem.
type system struct {
	PowerState string `json:"PowerState"`
	Actions    struct {
		Reset struct {
			Target string `json:"target"`
		} `json:"#ComputerSystem.Reset"`
	} `json:"Actions"`
}

// Fence forces the machine's power off, and returns when the BMC says that it is.
func (r *Redfish) Fence(ctx context.Context, h *api.Host) (how string, err error) {
	b := &bmc{base: strings.TrimSuffix(h.Spec.BMC.URL, "/"), Credentials: r.credentials[cmp.Or(h.Spec.BMC.Credentials, defaultCredentials)]}
	b.client = b.dial()
	defer b.client.CloseIdleConnections()
	defer func() {
		if err != nil {
			err = fmt.Errorf("fence host %s by its BMC at %s: %w", h.Name, b.base, err)
		}
	}()
	path := h.Spec.BMC.System
	if path == "" {
		if path, err = b.only(ctx); err != nil {
			return "", err
		}
	}
	for asked := false; ; {
		var s system
		if err := b.do(ctx, http.MethodGet, path, nil, &s); err != nil {
			return "", err
		}
		if s.PowerState == "Off" {
			return "its BMC says that its power is off", nil
		}
		if !asked {
			target := cmp.Or(s.Actions.Reset.Target, path+"/Actions/ComputerSystem.Reset")
			if err := b.do(ctx, http.MethodPost, target, map[string]string{"ResetType": "ForceOff"}, nil); err != nil {
				return "", err
			}
			asked = true
		}
		t := time.NewTimer(r.poll)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return "", fmt.Errorf("its power is %q and does not go off: %w", s.PowerState, ctx.Err())
		}
	}
}

// bmc is one management controller.
type bmc struct {
	Credentials
	base   string
	client *http.Client
}

// dial makes a client that trusts the certificate of the pin alone or, without
// one, what the machine trusts. Credentials are not sent to where a redirect leads.
func (b *bmc) dial() *http.Client {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if b.CertificateSHA256 != "" {
		t.InsecureSkipVerify = true // #nosec G402 -- the certificate itself is compared
		t.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) > 0 {
				if sum := sha256.Sum256(raw[0]); strings.EqualFold(hex.EncodeToString(sum[:]), b.CertificateSHA256) {
					return nil
				}
			}
			return errors.New("it shows another certificate than the one of certificate_sha256")
		}
	}
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: t},
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// only finds the BMC's only machine.
func (b *bmc) only(ctx context.Context) (string, error) {
	var list struct {
		Members []struct {
			ID string `json:"@odata.id"`
		} `json:"Members"`
	}
	if err := b.do(ctx, http.MethodGet, "/redfish/v1/Systems", nil, &list); err != nil {
		return "", err
	}
	if len(list.Members) != 1 {
		return "", fmt.Errorf("it has %d machines: say which is the host's in spec.bmc.system", len(list.Members))
	}
	return list.Members[0].ID, nil
}

// maxAnswer bounds what is read of a BMC's answer.
const maxAnswer = 1 << 20

func (b *bmc) do(ctx context.Context, method, path string, body, into any) error {
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("%q is no path", path)
	}
	var in io.Reader
	if body != nil {
		j, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(j)
	}
	r, err := http.NewRequestWithContext(ctx, method, b.base+path, in)
	if err != nil {
		return err
	}
	r.SetBasicAuth(b.User, b.Password)
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := b.client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}
