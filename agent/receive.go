package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// receiver answers the host that an instance comes from, and no other.
type receiver struct {
	hypervisor Hypervisor
	layout     Layout
	underlay   Underlay
	wanted     func() api.HostDesired
	still      func(ctx context.Context, i api.HostInstance) // its guest stands still to go on here
	log        *slog.Logger

	streams sync.WaitGroup
}

func (r *receiver) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/incoming/{id}", func(w http.ResponseWriter, q *http.Request) {
		want := r.wanted()
		i, ok := r.expected(want, q)
		if !ok {
			http.Error(w, "no such instance comes to this host from yours", http.StatusNotFound)
			return
		}
		made, _ := networkDesired(r.underlay, want)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(domainSpec(r.layout, want, i, made, Mark{})) // whoever asked sees that it broke off
	})
	mux.HandleFunc("POST /v1/incoming/{id}", func(w http.ResponseWriter, q *http.Request) {
		i, ok := r.expected(r.wanted(), q)
		if !ok {
			http.Error(w, "no such instance comes to this host from yours", http.StatusNotFound)
			return
		}
		r.still(q.Context(), i)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /v1/incoming/{id}/{channel}", func(w http.ResponseWriter, q *http.Request) {
		i, ok := r.expected(r.wanted(), q)
		c := Channel(q.PathValue("channel"))
		if !ok || !slices.Contains([]Channel{ChannelHypervisor, ChannelMemory, ChannelDisks, ChannelConsole}, c) {
			http.Error(w, "no such instance comes to this host from yours", http.StatusNotFound)
			return
		}
		r.streams.Add(1)
		defer r.streams.Done()
		if err := r.stream(w, q, i.ID, c); err != nil {
			r.log.Warn("a channel of a migration broke", "instance", i.ID, "channel", c, "error", err)
		}
	})
}

// expected finds the instance that comes from the host whose certificate was shown.
func (r *receiver) expected(want api.HostDesired, q *http.Request) (api.HostInstance, bool) {
	who := q.TLS.PeerCertificates[0].Subject
	i, ok := want.Instances[q.PathValue("id")]
	return i, ok && i.Incoming != nil && slices.Contains(who.Organization, hostOrganization) && who.CommonName == i.Incoming.From
}

func (r *receiver) stream(w http.ResponseWriter, q *http.Request, instance string, c Channel) error {
	to, err := r.hypervisor.Receive(q.Context(), instance, c)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return err
	}
	conn, rest, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = to.Close()
		return err
	}
	_ = conn.SetDeadline(time.Time{})
	_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", streamProtocol)
	if err != nil {
		_, _ = conn.Close(), to.Close()
		return err
	}
	Join(q.Context(), struct {
		io.Reader
		io.WriteCloser
	}{rest.Reader, conn}, to)
	return nil
}

// Join passes bytes both ways until both sides have ended, one has failed or ctx
// ends; then both are closed.
func Join(ctx context.Context, a, b io.ReadWriteCloser) {
	var once sync.Once
	shut := func() { once.Do(func() { _, _ = a.Close(), b.Close() }) }
	defer shut()
	defer context.AfterFunc(ctx, shut)()
	var wg sync.WaitGroup
	pass := func(to, from io.ReadWriteCloser) {
		_, err := io.Copy(to, from)
		half, ok := to.(interface{ CloseWrite() error })
		if err != nil || !ok || half.CloseWrite() != nil {
			shut()
		}
	}
	wg.Go(func() { pass(a, b) })
	pass(b, a)
	wg.Wait()
}

var _ net.Conn = buffered{}
