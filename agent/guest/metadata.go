package guest

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cairn-cloud/cairn/network"
)

const httpPort = 80

// Headers of EC2's session tokens.
const (
	tokenHeader = "X-Aws-Ec2-Metadata-Token"
	ttlHeader   = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
)

// proxyHeaders are what a proxy adds. A request that came through one may be
// somebody else's wish: a program in the guest that fetches URLs for strangers.
var proxyHeaders = []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Forwarded"}

func newHTTPServer(m *metadata, c *callers, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           m,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       10 * time.Second,
		MaxHeaderBytes:    8 << 10,
		ConnState:         c.track,
		// What a guest does wrong is no affair of the operator's log.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// metadata answers the guests of one network. Who asks is known by the source
// address, to which the network pins each port, and by nothing in the request.
type metadata struct {
	view   *atomic.Pointer[view]
	tokens *tokens
	asked  *throttle[netip.Addr]
}

// ServeHTTP implements http.Handler.
func (m *metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	from := addressOf(r.RemoteAddr)
	g := m.view.Load().byAddr[from]
	if !g.known {
		refuse(w, http.StatusNotFound, "nothing is known of this address")
		return
	}
	if !m.asked.allow(from) {
		refuse(w, http.StatusTooManyRequests, "ask less often")
		return
	}
	if why := foreign(r); why != "" {
		refuse(w, http.StatusForbidden, why)
		return
	}
	switch r.Method {
	case http.MethodPut:
		m.token(w, r, g)
	case http.MethodGet, http.MethodHead:
		m.get(w, r, g)
	default:
		w.Header().Set("Allow", "GET, HEAD, PUT")
		refuse(w, http.StatusMethodNotAllowed, "use GET, HEAD, or PUT for a token")
	}
}

// foreign says why a request is taken not to be the guest's own, or "".
func foreign(r *http.Request) string {
	for _, h := range proxyHeaders {
		if _, ok := r.Header[h]; ok {
			return "requests through a proxy (" + h + ") are refused"
		}
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	// A name that somebody made point here: a browser in the guest was led here.
	if a, err := netip.ParseAddr(host); host != "" && (err != nil || a != network.MetadataAddress()) {
		return fmt.Sprintf("this is %s, and the request is for another host", network.MetadataAddress())
	}
	return ""
}

// token gives out a session token.
func (m *metadata) token(w http.ResponseWriter, r *http.Request, g guest) {
	version, rest, _ := strings.Cut(strings.Trim(r.URL.Path, "/"), "/")
	if rest != "api/token" || version != "latest" {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "only /latest/api/token takes PUT")
		return
	}
	seconds, err := strconv.Atoi(r.Header.Get(ttlHeader))
	if err != nil || seconds < 1 || seconds > maxTokenSeconds {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("the header %s has to be a number from 1 to %d", ttlHeader, maxTokenSeconds))
		return
	}
	w.Header().Set(ttlHeader, strconv.Itoa(seconds))
	answer(w, "text/plain", []byte(m.tokens.issue(g.instance.ID, time.Duration(seconds)*time.Second)))
}

// get answers a path. A token is not needed, but one that is shown has to hold.
func (m *metadata) get(w http.ResponseWriter, r *http.Request, g guest) {
	if shown, ok := r.Header[tokenHeader]; ok && (len(shown) != 1 || !m.tokens.holds(g.instance.ID, shown[0])) {
		refuse(w, http.StatusUnauthorized, "the token is not this instance's, or is over: PUT /latest/api/token for another")
		return
	}
	root, err := g.tree()
	if err != nil {
		refuse(w, http.StatusInternalServerError, "the metadata could not be made")
		return
	}
	n := root.at(r.URL.Path)
	if n == nil {
		refuse(w, http.StatusNotFound, "there is nothing at this path; a list begins at /latest/meta-data/")
		return
	}
	kind := "text/plain"
	if strings.HasSuffix(strings.TrimRight(r.URL.Path, "/"), "user-data") {
		kind = "application/octet-stream"
	}
	answer(w, kind, n.content())
}

func refuse(w http.ResponseWriter, code int, why string) {
	w.Header().Set("Connection", "close")
	http.Error(w, why, code)
}

func answer(w http.ResponseWriter, kind string, b []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b) // who hung up does not want it
}
