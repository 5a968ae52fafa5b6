package rest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/cairn-cloud/cairn/api"
)

// fail answers with a problem, if nothing was answered yet.
func (c *call) fail(err error) { c.Server.fail(c.echo, err) }

func (s *Server) fail(ec echo.Context, err error) {
	if ec.Response().Committed {
		s.log.Debug("the answer was cut short", "method", ec.Request().Method, "path", ec.Request().URL.Path, "err", err)
		return
	}
	p := s.problem(ec.Request().Context(), err)
	b, err := json.Marshal(p)
	if err != nil { // a Problem is strings and numbers
		panic("rest: a problem that does not marshal: " + err.Error())
	}
	h := ec.Response().Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(b)+1))
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="cairn"`)
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	}
	ec.Response().WriteHeader(p.Status)
	if ec.Request().Method != http.MethodHead {
		_, _ = ec.Response().Write(append(b, '\n'))
	}
}

// problem turns any error into what a client may see of it. What is not meant
// for clients is logged under an ID that the client is told.
func (s *Server) problem(ctx context.Context, err error) *api.Problem {
	var p *api.Problem
	var faults api.Faults
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &faults) && len(faults) > 0:
		return api.InvalidProblem(faults)
	case errors.As(err, &tooLarge):
		return bodyTooLarge(tooLarge.Limit)
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return api.NewProblem(499, "cancelled", "", "", "the client went away")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return api.NewProblem(503, "unavailable", "", "try again", "the control plane did not answer in time")
	}
	id := s.incident()
	s.log.Error("request failed", "incident", id, "err", err)
	return api.NewProblem(500, "internal", "", "look for this ID in the controller's log", "something went wrong inside Cairn: incident %s", id)
}

func (s *Server) incident() string {
	var b [8]byte
	if _, err := io.ReadFull(s.random, b[:]); err != nil {
		return "without-id"
	}
	return hex.EncodeToString(b[:])
}

// echoError answers for what never reached a handler of ours.
func (s *Server) echoError(err error, ec echo.Context) {
	var he *echo.HTTPError
	if errors.As(err, &he) {
		switch he.Code {
		case http.StatusNotFound:
			err = api.NewProblem(404, "no_such_route", "", "see /docs for what there is", "there is nothing at %s", ec.Request().URL.Path)
		case http.StatusMethodNotAllowed:
			err = api.NewProblem(405, "method_not_allowed", "", "see /docs for what there is", "%s is not possible on %s", ec.Request().Method, ec.Request().URL.Path)
		}
	}
	s.fail(ec, err)
}

// guard is around every request: it catches panics, sets the headers that all
// answers have, and logs.
func (s *Server) guard(next echo.HandlerFunc) echo.HandlerFunc {
	return func(ec echo.Context) error {
		hurry(ec.Response())
		start := s.now()
		h := ec.Response().Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		// An ETag here speaks of the spec alone, so no cache may answer for us.
		h.Set("Cache-Control", "no-store")
		defer func() {
			if r := recover(); r != nil {
				if r == http.ErrAbortHandler { //nolint:errorlint // net/http itself compares so
					panic(r)
				}
				id := s.incident()
				s.log.Error("panic", "incident", id, "panic", r, "stack", string(debug.Stack()))
				s.fail(ec, api.NewProblem(500, "internal", "", "look for this ID in the controller's log", "something went wrong inside Cairn: incident %s", id))
			}
			if s.log.Enabled(ec.Request().Context(), slog.LevelDebug) {
				s.log.Debug("request", "method", ec.Request().Method, "path", ec.Request().URL.Path, "status", ec.Response().Status,
					"bytes", ec.Response().Size, "took", s.now().Sub(start), "from", ec.RealIP())
			}
		}()
		if err := next(ec); err != nil {
			s.echoError(err, ec)
		}
		return nil
	}
}
