package rest

import (
	"io"
	"net/http"
	"time"
)

const (
	// requestTimeout bounds the reading and answering of all that does not last.
	requestTimeout = 60 * time.Second
	// stallTimeout is how long the next bytes of what lasts (a stream, the bytes
	// of an image) may take before the client counts as gone.
	stallTimeout = 30 * time.Second
)

// Socket deadlines are the kernel's business: they are in its time, not in that
// of the clock passed in. A writer that cannot have them (in a test) goes without.

// hurry bounds a request before anything is known of it: what is at no path and
// who is nobody must not hold a connection for long either.
func hurry(w http.ResponseWriter) {
	rc, end := http.NewResponseController(w), time.Now().Add(requestTimeout)
	_ = rc.SetReadDeadline(end)
	_ = rc.SetWriteDeadline(end)
}

// unhurried lifts that bound for a caller who is known and may take longer.
func (c *call) unhurried() *http.ResponseController {
	rc := http.NewResponseController(c.echo.Response())
	_ = rc.SetReadDeadline(time.Time{})
	_ = rc.SetWriteDeadline(time.Time{})
	return rc
}

// patientReader reads a body of any length, as long as it goes on.
type patientReader struct {
	body io.Reader
	rc   *http.ResponseController
}

func (p *patientReader) Read(b []byte) (int, error) {
	_ = p.rc.SetReadDeadline(time.Now().Add(stallTimeout))
	return p.body.Read(b)
}

// patientWriter writes an answer of any length, as long as the client takes it.
type patientWriter struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func (p *patientWriter) Write(b []byte) (int, error) {
	_ = p.rc.SetWriteDeadline(time.Now().Add(stallTimeout))
	return p.ResponseWriter.Write(b)
}
