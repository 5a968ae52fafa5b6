package api

import (
	"fmt"
	"strings"
)

// Problem is an error as a client sees it (RFC 9457, application/problem+json).
type Problem struct {
	Type   string  `json:"type" doc:"URI of the problem's page in the reference." example:"/docs/problems#name_taken"`
	Title  string  `json:"title"`
	Status int     `json:"status" doc:"HTTP status."`
	Code   string  `json:"code" doc:"Stable word for programs." example:"name_taken"`
	Detail string  `json:"detail" doc:"What is wrong here, with the values concerned."`
	Field  string  `json:"field,omitempty" doc:"The field at fault." example:"spec.cidr"`
	Hint   string  `json:"hint,omitempty" doc:"What to do next."`
	Errors []Fault `json:"errors,omitempty" doc:"Every fault found, where there are several."`
}

// Error implements error.
func (p *Problem) Error() string {
	s := p.Code + ": " + p.Detail
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

// Fault is one thing wrong with one field.
type Fault struct {
	Field  string `json:"field"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
}

// Faults is what Validate returns: all faults of an object at once.
type Faults []Fault

// Error implements error.
func (f Faults) Error() string {
	var b []string
	for _, x := range f {
		b = append(b, x.Field+": "+x.Detail)
	}
	return strings.Join(b, "; ")
}

// Add appends a fault of code "invalid_value".
func (f *Faults) Add(field, hint, format string, args ...any) {
	*f = append(*f, Fault{Field: field, Code: "invalid_value", Detail: fmt.Sprintf(format, args...), Hint: hint})
}

// Err returns nil when there are no faults.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// NewProblem makes a problem; field may be empty.
func NewProblem(status int, code, field, hint, format string, args ...any) *Problem {
	return &Problem{Type: "/docs/problems#" + code, Title: strings.ReplaceAll(code, "_", " "), Status: status, Code: code, Field: field, Hint: hint, Detail: fmt.Sprintf(format, args...)}
}

// InvalidProblem turns the faults of Validate into one problem (422).
func InvalidProblem(f Faults) *Problem {
	at := f[0].Field
	if at == "" {
		at = "the body"
	}
	p := NewProblem(422, f[0].Code, f[0].Field, f[0].Hint, "%s: %s", at, f[0].Detail)
	if len(f) > 1 {
		p.Errors = f
	}
	return p
}

// NotFound is the problem for something that is not there, or that the caller
// may not know of (404).
func NotFound(kind, nameOrID string) *Problem {
	return NewProblem(404, "not_found", "", "list them to see what there is", "there is no %s %q", kind, nameOrID)
}
