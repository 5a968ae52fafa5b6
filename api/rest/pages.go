package rest

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/cairn-cloud/cairn/web"
)

// contentPolicy lets a page load what the binary serves, and nothing else.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// pages serves what needs no token: the OpenAPI document, the reference, health.
func (s *Server) pages() error {
	doc, err := json.MarshalIndent(s.huma.OpenAPI(), "", "  ")
	if err != nil {
		return fmt.Errorf("write the OpenAPI document: %w", err)
	}
	s.openapi = append(doc, '\n')
	s.echo.GET("/openapi.json", func(ec echo.Context) error {
		return ec.Blob(http.StatusOK, "application/openapi+json", s.openapi)
	})
	s.echo.GET("/healthz", func(ec echo.Context) error {
		if _, err := s.backend.View(ec.Request().Context(), 0); err != nil {
			return err
		}
		return ec.String(http.StatusOK, "ok\n")
	})
	page, err := template.ParseFS(web.Docs, "docs/*.html")
	if err != nil {
		return fmt.Errorf("read the pages of the reference: %w", err)
	}
	s.echo.GET("/docs", func(ec echo.Context) error { return render(ec, page, "reference.html", nil) })
	s.echo.GET("/docs/problems", func(ec echo.Context) error { return render(ec, page, "problems.html", Problems) })
	for name, mime := range map[string]string{"reference.js": "text/javascript; charset=utf-8", "reference.css": "text/css; charset=utf-8"} {
		b, err := web.Docs.ReadFile("docs/" + name)
		if err != nil {
			return fmt.Errorf("read the pages of the reference: %w", err)
		}
		s.echo.GET("/docs/"+name, func(ec echo.Context) error { return ec.Blob(http.StatusOK, mime, b) })
	}
	return nil
}

func render(ec echo.Context, pages *template.Template, name string, data any) error {
	h := ec.Response().Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	return pages.ExecuteTemplate(ec.Response(), name, data)
}

// OpenAPI is the document that /openapi.json serves.
func (s *Server) OpenAPI() []byte { return s.openapi }
