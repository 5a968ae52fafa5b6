package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// Limits of a console log's tail, in bytes.
const (
	consoleDefault = 64 << 10
	consoleMax     = 4 << 20
)

// networkRoutes serve controllers a look at the host's network.
func networkRoutes(mux *http.ServeMux, n Network, log *slog.Logger) {
	mux.HandleFunc("GET /v1/network", func(w http.ResponseWriter, r *http.Request) {
		if !byController(r) {
			http.Error(w, "only controllers may look at the network", http.StatusForbidden)
			return
		}
		found, err := n.Look(r.Context())
		if err != nil {
			log.Warn("the host's network cannot be looked at", "err", err)
			http.Error(w, "the host's network cannot be looked at", http.StatusInternalServerError)
			return
		}
		out := api.NetworkReport{Desired: append([]string{}, found.Desired...), Actual: append([]string{}, found.Actual...), Drift: []api.NetworkDrift{}}
		for _, d := range found.Drift {
			out.Drift = append(out.Drift, api.NetworkDrift{Field: d.Field, Desired: d.Want, Actual: d.Is})
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out)
	})
}

func byController(r *http.Request) bool {
	return slices.Contains(r.TLS.PeerCertificates[0].Subject.Organization, controllerOrganization)
}

// consoleRoutes serve controllers the end of the console logs of the instances
// that wanted tells of.
func consoleRoutes(mux *http.ServeMux, h Hypervisor, wanted func() api.HostDesired) {
	mux.HandleFunc("GET /v1/console/{id}", func(w http.ResponseWriter, r *http.Request) {
		if !byController(r) {
			http.Error(w, "only controllers may read consoles", http.StatusForbidden)
			return
		}
		// The ID is looked up, not made a path of: what is not ours leads nowhere.
		i, ok := wanted().Instances[r.PathValue("id")]
		if !ok {
			http.Error(w, "no such instance on this host", http.StatusNotFound)
			return
		}
		limit := int64(consoleDefault)
		if s := r.URL.Query().Get("limit"); s != "" {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil || n < 1 {
				http.Error(w, "limit is a number of bytes", http.StatusBadRequest)
				return
			}
			limit = min(n, consoleMax)
		}
		serveTail(w, r, h, i.ID, limit)
	})
}

func serveTail(w http.ResponseWriter, r *http.Request, h Hypervisor, id string, limit int64) {
	w.Header().Set("Content-Type", "application/octet-stream")
	f, err := h.ConsoleLog(r.Context(), id)
	if errors.Is(err, fs.ErrNotExist) {
		return // it has not said anything yet
	}
	if err != nil {
		http.Error(w, "the console log cannot be read", http.StatusInternalServerError)
		return
	}
	defer func() { _ = f.Close() }()
	end, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(max(0, end-limit), io.SeekStart)
	}
	if err != nil {
		http.Error(w, "the console log cannot be read", http.StatusInternalServerError)
		return
	}
	_, _ = io.Copy(w, io.LimitReader(f, limit))
}

// serve answers controllers and hosts until ctx ends.
func serve(ctx context.Context, l net.Listener, id *Identity, h http.Handler, log *slog.Logger) error {
	s := &http.Server{
		Handler: h, TLSConfig: id.serverTLS(),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx }, // also of streams, which outlive the server
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = s.Close()
	})
	err := s.ServeTLS(l, "", "")
	if !stop() {
		<-done
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
