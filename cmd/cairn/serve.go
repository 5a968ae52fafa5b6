package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// shutdownGrace is how long requests may take to end once the process is to stop.
const shutdownGrace = 10 * time.Second

// listen opens all addresses, or none.
func listen(ctx context.Context, addresses []string) ([]net.Listener, error) {
	var out []net.Listener
	for _, a := range addresses {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a)
		if err != nil {
			for _, open := range out {
				_ = open.Close() // it was never used
			}
			return nil, fmt.Errorf("listen on %s: %w", a, err)
		}
		out = append(out, l)
	}
	return out, nil
}

// serve serves HTTPS on all listeners until ctx ends, then lets requests end.
func serve(ctx context.Context, log *slog.Logger, s *http.Server, listeners []net.Listener) error {
	g, failed := errgroup.WithContext(ctx)
	for _, l := range listeners {
		g.Go(func() error {
			log.Info("listening", "address", l.Addr().String())
			if err := s.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve on %s: %w", l.Addr(), err)
			}
			return nil
		})
	}
	g.Go(func() error {
		<-failed.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if err := s.Shutdown(grace); err != nil {
			return errors.Join(fmt.Errorf("requests did not end in %s: %w", shutdownGrace, err), s.Close())
		}
		return nil
	})
	return g.Wait()
}
