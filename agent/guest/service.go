package guest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// Options of a Service.
type Options struct {
	// Underlay is what guests' packets have to fit into: with it, a network
	// that names no MTU has one.
	Underlay     agent.Underlay
	NamespaceDir string // where the routers' namespaces are; default network.NamespaceDir
	// Forwarders are asked what no network knows; default: those of ResolvConf,
	// but for what is private.
	Forwarders []netip.AddrPort
	ResolvConf string           // default /etc/resolv.conf
	Now        func() time.Time // default time.Now
	Log        *slog.Logger     // default slog.Default
}

// Service is an agent.Guests.
type Service struct {
	o      Options
	tokens tokens
	// forward is shared, so that all networks together ask only so much.
	forward *forwarder

	mu      sync.Mutex // one Set or Close at a time
	closed  bool
	servers map[uint32]*server // by VNI
}

var _ agent.Guests = (*Service)(nil)

// Open returns a Service that serves nothing until Set.
func Open(o Options) *Service {
	if o.NamespaceDir == "" {
		o.NamespaceDir = network.NamespaceDir
	}
	if o.ResolvConf == "" {
		o.ResolvConf = "/etc/resolv.conf"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &Service{o: o, servers: map[uint32]*server{}}
	s.forward = newForwarder(o.Forwarders, o.ResolvConf, o.Log)
	s.tokens.now = o.Now
	_, _ = rand.Read(s.tokens.key[:]) // never fails, by its documentation
	return s
}

// Set implements agent.Guests. A network that cannot be served does not keep
// the others from it; the error names each. What a network's servers answer
// changes in one step, and their sockets stay as long as the namespace and the
// link in it are the same.
func (s *Service) Set(ctx context.Context, want api.HostDesired) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("serve guests: the service is closed")
	}
	views, bad := buildViews(want, s.o.Underlay)
	for _, why := range bad {
		s.o.Log.Warn("a port gets neither an address nor metadata", "reason", why)
	}
	for vni, sv := range s.servers {
		if views[vni] == nil {
			sv.close()
			delete(s.servers, vni)
		}
	}
	var errs []error
	for _, vni := range slices.Sorted(maps.Keys(views)) {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, fmt.Errorf("serve guests: %w", err))...)
		}
		if err := s.serve(ctx, vni, views[vni]); err != nil {
			errs = append(errs, fmt.Errorf("serve guests of network %s: %w", views[vni].network, err))
		}
	}
	return errors.Join(errs...)
}

// serve makes one network served with the view.
func (s *Service) serve(ctx context.Context, vni uint32, v *view) error {
	file := filepath.Join(s.o.NamespaceDir, network.Namespace(vni))
	old := s.servers[vni]
	var at place
	err := enter(file, func(now place) error { at = now; return nil })
	if old != nil && (err == nil && old.at == at && old.alive() || err != nil && !errors.Is(err, fs.ErrNotExist)) {
		old.show(v) // also where the look failed: what serves goes on
		return err
	}
	if old != nil {
		old.close()
		delete(s.servers, vni)
	}
	if err != nil {
		return err
	}
	fresh, err := openServer(ctx, file, v, &s.tokens, s.forward, s.o.Log.With("network", v.network))
	if err != nil {
		return err
	}
	s.servers[vni] = fresh
	return nil
}

// ConfigDrive implements agent.Guests. A port that is not known yet is left out:
// the drive is written again when it is, before the instance starts.
func (s *Service) ConfigDrive(want api.HostDesired, instance string) (map[string][]byte, error) {
	if _, ok := want.Instances[instance]; !ok {
		return nil, fmt.Errorf("config drive: the instance %s is not to be on this host", instance)
	}
	return noCloud(guestOf(want, s.o.Underlay, instance))
}

// Close ends all serving, and waits for it.
func (s *Service) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for vni, sv := range s.servers {
		sv.close()
		delete(s.servers, vni)
	}
}
