package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestTLS_speaksHTTP2ToTheCAAndToNobodyElse(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	// The certificate of httptest signs itself, so it is its own CA.
	sum := sha256.Sum256(s.Certificate().Raw)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	for name, x := range map[string]struct {
		o    Options
		fail string
	}{
		"the CA":         {Options{CA: ca}, ""},
		"its digest":     {Options{CAPin: hex.EncodeToString(sum[:])}, ""},
		"another digest": {Options{CAPin: strings.Repeat("00", 32)}, "does not present the CA"},
		"the system's":   {Options{}, "unknown authority"},
	} {
		x.o.Server = s.URL
		x.o.Sleep = func(context.Context, time.Duration) error { t.Errorf("%s: tried again", name); return nil }
		c, err := New(x.o)
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Do(context.Background(), Request{Method: "GET", Path: "/"})
		c.Close()
		switch {
		case x.fail != "" && (err == nil || !strings.Contains(err.Error(), x.fail)):
			t.Errorf("%s: %v", name, err)
		case x.fail == "" && (err != nil || string(r.Body) != "HTTP/2.0"):
			t.Errorf("%s: %+v %v", name, r, err)
		}
	}
}
