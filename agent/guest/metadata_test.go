package guest

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// clock is a time that tests set.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func metadataOf(t testing.TB, d api.HostDesired, c *clock) *metadata {
	v := &atomic.Pointer[view]{}
	v.Store(viewOf(t, d, 1))
	return &metadata{v, &tokens{now: c.now}, newThrottle[netip.Addr](httpRate, httpBurst, c.now)}
}

// ask sends a request as if it came from that address.
func ask(h http.Handler, from, method, path string, header ...string) *httptest.ResponseRecorder {
	r := &http.Request{Method: method, URL: &url.URL{Path: path}, Host: "169.254.169.254", RemoteAddr: from + ":1234", Header: http.Header{}}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// walk lists a directory as cloud-init does, and all below it.
func walk(t *testing.T, h http.Handler, path string, out *bytes.Buffer) {
	t.Helper()
	w := ask(h, "10.10.0.11", "GET", path)
	if w.Code != 200 {
		t.Fatalf("GET %s: %d %s", path, w.Code, w.Body)
	}
	fmt.Fprintf(out, "== %s\n%s\n", path, w.Body)
	if !strings.HasSuffix(path, "/") {
		return
	}
	for _, name := range strings.Split(w.Body.String(), "\n") {
		if index, _, keyed := strings.Cut(name, "="); keyed {
			name = index + "/"
		}
		walk(t, h, path+name, out)
	}
}

func TestMetadata_isATreeAsEC2Has(t *testing.T) {
	d := twoNICs()
	i := d.Instances["ins_a"]
	i.SSHKeys = []string{"ssh-ed25519 AAAA me@laptop", "ssh-ed25519 BBBB"}
	d.Instances["ins_a"] = i
	var got bytes.Buffer
	walk(t, metadataOf(t, d, &clock{}), "/2009-04-04/meta-data/", &got)
	golden := filepath.Join("testdata", "meta-data.txt")
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("differs from %s (-update writes it anew):\n%s", golden, &got)
	}
}

func TestMetadata_answers(t *testing.T) {
	const guest, tokenPath = "10.10.0.11", "/latest/api/token"
	for name, c := range map[string]struct {
		d      api.HostDesired
		from   string
		method string
		path   string
		header []string
		code   int
		body   string // "": any
	}{
		"the versions":          {method: "GET", path: "/", code: 200, body: "2009-04-04\n2016-09-02\n2018-09-24\n2021-03-23\nlatest"},
		"a version":             {method: "GET", path: "/latest/", code: 200, body: "meta-data"},
		"a version with data":   {d: withKeys(), method: "GET", path: "/latest", code: 200, body: "meta-data\nuser-data"},
		"a version that is not": {method: "GET", path: "/2001-01-01/meta-data/", code: 404},
		"a directory without its slash": {
			method: "GET", path: "/latest/meta-data/network", code: 200, body: "interfaces/",
		},
		"a file with a slash":      {method: "GET", path: "/latest/meta-data/instance-id/", code: 200, body: "ins_a"},
		"below a file":             {method: "GET", path: "/latest/meta-data/instance-id/x", code: 404},
		"slashes twice":            {method: "GET", path: "//latest//meta-data//hostname", code: 200, body: "a"},
		"dots":                     {method: "GET", path: "/latest/meta-data/../user-data", code: 404},
		"no user data":             {method: "GET", path: "/latest/user-data", code: 404},
		"user data":                {d: withKeys(), method: "GET", path: "/latest/user-data", code: 200, body: "ping=10.10.0.11,10.10.0.12\n"},
		"NoCloud's user data":      {method: "GET", path: "/nocloud/user-data", code: 200, body: "#cloud-config\n{}\n"},
		"NoCloud's meta-data":      {method: "GET", path: "/nocloud/meta-data", code: 200, body: "instance-id: ins_a\nlocal-hostname: a\n"},
		"no keys":                  {method: "GET", path: "/latest/meta-data/public-keys/", code: 404},
		"head":                     {method: "HEAD", path: "/latest/meta-data/hostname", code: 200},
		"another method":           {method: "POST", path: "/latest/meta-data/", code: 405},
		"put elsewhere":            {method: "PUT", path: "/latest/user-data", code: 405},
		"a stranger":               {from: "10.10.0.99", method: "GET", path: "/", code: 404},
		"a stranger for a token":   {from: "10.10.0.99", method: "PUT", path: tokenPath, header: []string{ttlHeader, "60"}, code: 404},
		"says that it is another":  {from: "10.10.0.99", method: "GET", path: "/", header: []string{"X-Forwarded-For", guest}, code: 404},
		"through a proxy":          {method: "GET", path: "/latest/meta-data/", header: []string{"X-Forwarded-For", "10.10.0.12"}, code: 403},
		"through a shy proxy":      {method: "GET", path: "/latest/meta-data/", header: []string{"X-Forwarded-For", ""}, code: 403},
		"a token through a proxy":  {method: "PUT", path: tokenPath, header: []string{ttlHeader, "60", "X-Forwarded-For", "x"}, code: 403},
		"a name that leads here":   {method: "GET", path: "/latest/meta-data/", header: []string{"Host", "evil.example"}, code: 403},
		"with the port":            {method: "GET", path: "/latest/meta-data/hostname", header: []string{"Host", "169.254.169.254:80"}, code: 200},
		"without a host":           {method: "GET", path: "/latest/meta-data/hostname", header: []string{"Host", ""}, code: 200},
		"a token":                  {method: "PUT", path: tokenPath, header: []string{ttlHeader, "21600"}, code: 200},
		"a token without a time":   {method: "PUT", path: tokenPath, code: 400},
		"a token for too long":     {method: "PUT", path: tokenPath, header: []string{ttlHeader, "21601"}, code: 400},
		"a token for no time":      {method: "PUT", path: tokenPath, header: []string{ttlHeader, "0"}, code: 400},
		"a token for a word":       {method: "PUT", path: tokenPath, header: []string{ttlHeader, "long"}, code: 400},
		"a token that is made up":  {method: "GET", path: "/latest/meta-data/", header: []string{tokenHeader, "AAAA"}, code: 401},
		"a token that is empty":    {method: "GET", path: "/latest/meta-data/", header: []string{tokenHeader, ""}, code: 401},
		"tokens, two of them":      {method: "GET", path: "/latest/meta-data/", header: []string{tokenHeader, "A", tokenHeader, "B"}, code: 401},
		"the token cannot be read": {method: "GET", path: tokenPath, code: 404},
	} {
		t.Run(name, func(t *testing.T) {
			if c.d.Instances == nil {
				c.d = oneGuest()
			}
			if c.from == "" {
				c.from = guest
			}
			w := ask(metadataOf(t, c.d, &clock{}), c.from, c.method, c.path, c.header...)
			if w.Code != c.code || c.body != "" && w.Body.String() != c.body {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, c.code, c.body)
			}
		})
	}
}

func TestToken_holdsForItsInstanceAndItsTime(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	d := oneGuest()
	addInstance(d, "b", "n", macB, "10.10.0.12")
	m := metadataOf(t, d, c)
	token := ask(m, "10.10.0.11", "PUT", "/latest/api/token", ttlHeader, "60").Body.String()
	code := func(from string) int {
		return ask(m, from, "GET", "/latest/meta-data/", tokenHeader, token).Code
	}
	if got := code("10.10.0.11"); got != 200 {
		t.Errorf("its own: %d", got)
	}
	if got := code("10.10.0.12"); got != 401 {
		t.Errorf("another's: %d", got)
	}
	c.t = c.t.Add(59 * time.Second)
	if got := code("10.10.0.11"); got != 200 {
		t.Errorf("after 59 s: %d", got)
	}
	c.t = c.t.Add(time.Second)
	if got := code("10.10.0.11"); got != 401 {
		t.Errorf("after 60 s: %d", got)
	}
}

func TestThrottle_holdsBackOneAndNotItsNeighbour(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	d := oneGuest()
	addInstance(d, "b", "n", macB, "10.10.0.12")
	m := metadataOf(t, d, c)
	for range httpBurst {
		if got := ask(m, "10.10.0.11", "GET", "/").Code; got != 200 {
			t.Fatalf("within its share: %d", got)
		}
	}
	if got := ask(m, "10.10.0.11", "GET", "/").Code; got != 429 {
		t.Errorf("beyond its share: %d", got)
	}
	if got := ask(m, "10.10.0.12", "GET", "/").Code; got != 200 {
		t.Errorf("its neighbour: %d", got)
	}
	c.t = c.t.Add(time.Second)
	if got := ask(m, "10.10.0.11", "GET", "/").Code; got != 200 {
		t.Errorf("a second later: %d", got)
	}
	m.asked.keep(func(a netip.Addr) bool { return a == addr("10.10.0.12") })
	if len(m.asked.each) != 1 {
		t.Errorf("after a guest left, %d are counted", len(m.asked.each))
	}
}

// Whatever is asked for, the answer is the asker's own, and from a closed list.
func FuzzMetadata(f *testing.F) {
	d := oneGuest()
	addInstance(d, "neighbour", "n", macB, "10.10.0.12")
	h := metadataOf(f, d, &clock{})
	h.asked.rate, h.asked.burst = 1, 1<<30
	for _, path := range []string{"/", "/latest/meta-data/", "/latest/api/token", "/nocloud/meta-data", "/latest/meta-data/network/interfaces/macs/" + macB + "/", "//..%2f"} {
		f.Add("GET", path, tokenHeader, "x")
		f.Add("PUT", path, ttlHeader, "60")
	}
	f.Fuzz(func(t *testing.T, method, path, key, value string) {
		w := ask(h, "10.10.0.11", method, path, http.CanonicalHeaderKey(key), value)
		switch w.Code {
		case 200, 400, 401, 403, 404, 405:
		default:
			t.Errorf("%s %q: %d %s", method, path, w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), "neighbour") || strings.Contains(w.Body.String(), macB) {
			t.Errorf("%s %q tells of another: %s", method, path, w.Body)
		}
	})
}
