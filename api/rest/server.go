package rest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/labstack/echo/v4"
)

// Options of New. Backend is required.
type Options struct {
	Backend Backend
	Now     func() time.Time // default: time.Now
	Log     *slog.Logger     // default: none
	Version string           // of Cairn, shown in the OpenAPI document
	Random  io.Reader        // default: crypto/rand
	// NewTicker makes the ticker of the heartbeats on streams, and returns how
	// to stop it. Default: time.NewTicker.
	NewTicker func(time.Duration) (<-chan time.Time, func())
	// CatchUp is how long a watch waits for a revision that another controller
	// told the client of. Default: 5 s.
	CatchUp time.Duration
}

// Server serves the API. It is made by New.
type Server struct {
	backend   Backend
	now       func() time.Time
	log       *slog.Logger
	random    io.Reader
	newTicker func(time.Duration) (<-chan time.Time, func())
	catchUp   time.Duration

	echo    *echo.Echo
	huma    huma.API
	schemas *schemas
	views   *viewCache
	readers map[string]reader // kinds that are not records of the store
	openapi []byte

	closing context.Context // ends when streams are to end
	close   context.CancelFunc
}

// New makes a server. Its OpenAPI document is derived from api.Kinds here, so a
// kind that cannot be described is an error of New, not of a request.
func New(o Options) (*Server, error) {
	if o.Backend == nil {
		return nil, errors.New("make the API server: Options.Backend is missing")
	}
	s := &Server{backend: o.Backend, now: o.Now, log: o.Log, random: o.Random, newTicker: o.NewTicker, catchUp: o.CatchUp}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.random == nil {
		s.random = rand.Reader
	}
	if s.newTicker == nil {
		s.newTicker = func(d time.Duration) (<-chan time.Time, func()) {
			t := time.NewTicker(d)
			return t.C, t.Stop
		}
	}
	if s.catchUp == 0 {
		s.catchUp = 5 * time.Second
	}
	s.closing, s.close = context.WithCancel(context.Background())
	s.views = newViewCache(s.now)
	s.readers = readers(s)

	s.echo = echo.New()
	s.echo.IPExtractor = echo.ExtractIPDirect() // no header may claim another address
	s.echo.HTTPErrorHandler = s.echoError
	s.echo.Use(s.guard)
	s.huma = humaecho.New(s.echo, document(o.Version))
	s.schemas = deriveSchemas(s.huma.OpenAPI().Components)
	s.register()
	if err := s.pages(); err != nil {
		return nil, err
	}
	return s, nil
}

// Handler is the whole API.
func (s *Server) Handler() http.Handler { return s.echo }

// Close ends all streams, so that http.Server.Shutdown need not wait for them.
// Clients resume elsewhere, or here after a restart.
func (s *Server) Close() { s.close() }

// HTTPServer is an http.Server with the limits that the API wants. It sets no
// timeout on whole requests, because streams have none: see hurry.
func (s *Server) HTTPServer(tlsConfig *tls.Config) *http.Server {
	h := &http.Server{
		Handler:           s.Handler(),
		TLSConfig:         tlsConfig,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second, MaxConcurrentStreams: 1000,
			// Tables of the headers that came before save a hundred bytes a request
			// and cost 12 kB for each connection, which every host has one of.
			MaxDecoderHeaderTableSize: 1, MaxEncoderHeaderTableSize: 1,
		},
	}
	h.RegisterOnShutdown(s.Close)
	return h
}

// TLSConfig is what the API listens with. Hosts show a certificate of the CA;
// everybody else shows none and sends a token. The certificate should come with its
// CA's behind it: a machine that joins knows the CA by its digest only.
func TLSConfig(certificate func() (*tls.Certificate, error), hosts *x509.CertPool) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		NextProtos:     []string{"h2", "http/1.1"},
		ClientAuth:     tls.VerifyClientCertIfGiven,
		ClientCAs:      hosts,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate() },
	}
}
