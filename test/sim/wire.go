package sim

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// wire carries HTTP from one part to the controllers, in place of TCP and TLS: a
// http.RoundTripper. Requests, answers and each piece of a stream are steps of
// the world. It takes the next controller when one does not answer.
type wire struct {
	w           *world
	from        string
	by          *life // nil: a user, who does not crash
	certificate func() (*tls.Certificate, error)
	mu          sync.Mutex
	at          int // the controller that it speaks to
}

// Times after which a connection counts as broken, as those of api/client and
// api/rest do.
const (
	dialTimeout = 4 * time.Second
	pingTimeout = 30 * time.Second
)

var (
	errRefused = errors.New("connection refused")
	errReset   = errors.New("connection reset")
	errSilent  = errors.New("no answer to a ping")
)

// RoundTrip implements http.RoundTripper.
func (x *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	x.mu.Lock()
	to := x.w.controllers[x.at%len(x.w.controllers)]
	x.mu.Unlock()
	resp, err := x.roundTrip(r, to)
	if err != nil || resp.StatusCode >= http.StatusInternalServerError {
		x.mu.Lock()
		x.at++
		x.mu.Unlock()
	}
	return resp, err
}

func (x *wire) roundTrip(r *http.Request, to *process) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
		body = b
	}
	what := r.Method + " " + r.URL.Path
	dial, cancel := context.WithTimeoutCause(r.Context(), dialTimeout, errSilent)
	defer cancel()
	if _, err := x.w.pass(dial, x.by, x.from, to.name, what); err != nil {
		return nil, err
	}
	l := to.running()
	serve := x.w.handler(l)
	if serve == nil {
		return nil, errRefused
	}
	ex := newExchange(x, r, l, what)
	go ex.serve(serve, r, body)
	return ex.response()
}

// exchange is a request on its way through a controller.
type exchange struct {
	x       *wire
	client  context.Context
	l       *life // the controller's
	what    string
	ctx     context.Context // the handler's
	cancel  context.CancelCauseFunc
	header  http.Header
	sent    http.Header // the header as it was when the answer began
	status  int
	buffer  bytes.Buffer
	mu      sync.Mutex
	out     [][]byte      // written, and not yet delivered
	done    bool          // the handler has returned
	more    chan struct{} // of one: out or done changed
	stream  *inflow
	arrived chan *http.Response
}

func newExchange(x *wire, r *http.Request, l *life, what string) *exchange {
	e := &exchange{x: x, client: r.Context(), l: l, what: what, header: http.Header{}, more: make(chan struct{}, 1), arrived: make(chan *http.Response, 1)}
	e.ctx, e.cancel = context.WithCancelCause(l.ctx)
	e.stream = &inflow{e: e, more: make(chan struct{}, 1)}
	return e
}

// serve runs the handler, and then what is left of the delivery.
func (e *exchange) serve(h http.Handler, r *http.Request, body []byte) {
	req := r.Clone(e.ctx)
	req.Body = io.NopCloser(bytes.NewReader(body))
	req.RemoteAddr = "192.0.2.1:1"
	req.RequestURI = r.URL.RequestURI()
	if e.x.certificate != nil {
		if c, err := e.x.certificate(); err == nil {
			chain := []*x509.Certificate{c.Leaf}
			req.TLS = &tls.ConnectionState{PeerCertificates: chain, VerifiedChains: [][]*x509.Certificate{chain}}
		}
	}
	go e.deliver()
	h.ServeHTTP(e, req)
	e.flush(true)
}

// Header implements http.ResponseWriter.
func (e *exchange) Header() http.Header { return e.header }

// WriteHeader implements http.ResponseWriter.
func (e *exchange) WriteHeader(status int) {
	if e.status == 0 {
		e.status, e.sent = status, e.header.Clone()
	}
}

// Write implements http.ResponseWriter.
func (e *exchange) Write(b []byte) (int, error) {
	e.WriteHeader(http.StatusOK)
	if err := e.ctx.Err(); err != nil {
		return 0, err
	}
	return e.buffer.Write(b)
}

// Flush implements http.Flusher.
func (e *exchange) Flush() { e.flush(false) }

func (e *exchange) flush(done bool) {
	e.WriteHeader(http.StatusOK)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.out = append(e.out, bytes.Clone(e.buffer.Bytes()))
	e.buffer.Reset()
	e.done = done
	poke(e.more)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// deliver brings what the handler writes to the client, piece by piece.
func (e *exchange) deliver() {
	defer e.cancel(errReset)
	begun := false
	for {
		select {
		case <-e.more:
		case <-e.ctx.Done():
			e.stream.broke(errReset)
			return
		}
		for {
			e.mu.Lock()
			done := e.done
			if len(e.out) == 0 {
				e.mu.Unlock()
				if done {
					e.stream.broke(io.EOF)
					return
				}
				break
			}
			piece := e.out[0]
			e.out = e.out[1:]
			e.mu.Unlock()
			// A connection over which nothing comes for long is broken on both sides.
			ping, cancel := context.WithTimeoutCause(e.ctx, pingTimeout, errSilent)
			occasion, err := e.x.w.pass(ping, e.l, e.l.name, e.x.from, "answers "+e.what)
			cancel()
			if err == nil && e.x.w.faults.lostAnswer(e.l.name, e.x.from, occasion) {
				err = errReset
			}
			if err != nil {
				e.stream.broke(errReset)
				return
			}
			e.stream.add(piece)
			if e.x.w.mutant == MutantStutter && begun && e.x.from == "watcher" && occasion%10 == 0 {
				e.stream.add(piece)
			}
			if !begun {
				begun = true
				e.arrived <- &http.Response{
					StatusCode: e.status, Status: http.StatusText(e.status), Proto: "HTTP/2.0", ProtoMajor: 2,
					Header: e.sent, Body: e.stream, ContentLength: -1,
				}
			}
		}
	}
}

// response waits for the answer's beginning.
func (e *exchange) response() (*http.Response, error) {
	select {
	case r := <-e.arrived:
		return r, nil
	case <-e.stream.ended():
		select {
		case r := <-e.arrived:
			return r, nil
		default:
			return nil, errReset
		}
	case <-e.client.Done():
		e.hangUp()
		return nil, context.Cause(e.client)
	}
}

// hangUp tells the controller that the client is gone, unless it cannot be told.
func (e *exchange) hangUp() {
	if e.ctx.Err() != nil {
		return
	}
	go func() {
		ping, cancel := context.WithTimeoutCause(e.ctx, pingTimeout, errSilent)
		defer cancel()
		_, _ = e.x.w.pass(ping, e.x.by, e.x.from, e.l.name, "hangs up "+e.what)
		e.cancel(errReset)
	}()
}

// inflow is the client's end of an answer.
type inflow struct {
	e    *exchange
	mu   sync.Mutex
	data []byte
	err  error // after data
	end  chan struct{}
	more chan struct{} // of one
}

func (s *inflow) add(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = append(s.data, b...)
	poke(s.more)
}

func (s *inflow) broke(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		if s.end != nil {
			close(s.end)
		}
	}
	poke(s.more)
}

func (s *inflow) ended() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end == nil {
		s.end = make(chan struct{})
		if s.err != nil {
			close(s.end)
		}
	}
	return s.end
}

// Read implements io.Reader. Nothing for so long that pings must have failed
// is an error.
func (s *inflow) Read(b []byte) (int, error) {
	t := time.NewTimer(pingTimeout)
	defer t.Stop()
	for {
		s.mu.Lock()
		n := copy(b, s.data)
		s.data = s.data[n:]
		err := s.err
		s.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		select {
		case <-s.more:
		case <-t.C:
			s.e.hangUp()
			return 0, errSilent
		case <-s.e.client.Done():
			s.e.hangUp()
			return 0, context.Cause(s.e.client)
		}
	}
}

// Close implements io.Closer.
func (s *inflow) Close() error {
	s.e.hangUp()
	return nil
}
