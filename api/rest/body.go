package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/cairn-cloud/cairn/api"
)

// Limits of request bodies.
const (
	maxBody       = 1 << 20
	maxReportBody = 16 << 20
	maxDepth      = 32
)

const (
	typeJSON       = "application/json"
	typeMergePatch = "application/merge-patch+json"
)

// readBody reads a JSON body. What is too large is refused by its length where
// that is told, and else after the limit, never read to its end.
func (c *call) readBody(limit int64, types ...string) ([]byte, error) {
	r := c.request()
	if r.ContentLength > limit {
		return nil, bodyTooLarge(limit)
	}
	b, err := io.ReadAll(http.MaxBytesReader(c.echo.Response(), r.Body, limit))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, bodyTooLarge(limit)
		}
		return nil, api.NewProblem(400, "body_unreadable", "", "send it again", "the body did not arrive whole")
	}
	if len(b) == 0 {
		return nil, nil
	}
	if err := wantType(r.Header.Get("Content-Type"), types...); err != nil {
		return nil, err
	}
	return b, nil
}

func wantType(header string, types ...string) error {
	got, params, err := mime.ParseMediaType(header)
	charset := params["charset"]
	if err == nil && (charset == "" || strings.EqualFold(charset, "utf-8")) {
		for _, t := range types {
			if got == t {
				return nil
			}
		}
	}
	return api.NewProblem(415, "unsupported_media_type", "", "send Content-Type: "+types[0], "the content type %q is not accepted here", header)
}

func bodyTooLarge(limit int64) *api.Problem {
	return api.NewProblem(413, "body_too_large", "", "send less; the bytes of an image go to its /data", "the body is larger than %d bytes", limit)
}

// parseJSON reads one JSON value into maps, slices, strings, json.Numbers,
// bools and nil. Beyond what encoding/json refuses it refuses text that is not
// UTF-8, depth over maxDepth, and an object that has a key twice.
func parseJSON(b []byte) (any, error) {
	if !utf8.Valid(b) {
		return nil, invalidJSON("the body is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, err := parseValue(d, "", 0)
	if err != nil {
		var p *api.Problem
		if errors.As(err, &p) {
			return nil, err
		}
		return nil, invalidJSON(fmt.Sprintf("at byte %d: %s", d.InputOffset(), strings.TrimPrefix(err.Error(), "json: ")))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, invalidJSON(fmt.Sprintf("at byte %d: something follows the value", d.InputOffset()))
	}
	return v, nil
}

func invalidJSON(why string) error {
	return api.NewProblem(400, "invalid_json", "", "send one JSON value in UTF-8", "the body is not JSON: %s", why)
}

func parseValue(d *json.Decoder, path string, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		}
		return nil, err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth >= maxDepth {
		return nil, invalidJSON(fmt.Sprintf("it is nested more than %d deep", maxDepth))
	}
	if delim == '{' {
		return parseObject(d, path, depth)
	}
	list := []any{}
	for d.More() {
		v, err := parseValue(d, fmt.Sprintf("%s[%d]", path, len(list)), depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err = d.Token()
	return list, err
}

func parseObject(d *json.Decoder, path string, depth int) (any, error) {
	m := map[string]any{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, ok := t.(string)
		if !ok {
			return nil, errors.New("a key that is not a string")
		}
		at := join(path, key)
		if _, twice := m[key]; twice {
			return nil, api.NewProblem(400, "duplicate_field", at, "give it once", "%s is given more than once", at)
		}
		if m[key], err = parseValue(d, at, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return m, err
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// decode puts a checked value into a Go value. A fault here is one that the
// schema cannot tell, such as a number that does not fit.
func decode(v any, into any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return decodeBytes(b, into)
}

func decodeBytes(b []byte, into any) error {
	err := json.Unmarshal(b, into)
	var typ *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &typ):
		return api.Faults{{Field: typ.Field, Code: "wrong_type", Detail: fmt.Sprintf("a %s does not fit here", typ.Value)}}
	}
	return invalidJSON(strings.TrimPrefix(err.Error(), "json: "))
}
