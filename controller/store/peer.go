package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/etcdhttp"
	"go.uber.org/zap"
)

// Peer is how an embedded etcd speaks to the other members of its cluster.
type Peer struct {
	URL string // https, where the others reach this member

	// Listener is where the others come in, TLS how they are let in: by a
	// certificate of a controller and nothing else.
	Listener net.Listener
	TLS      *tls.Config
	// CertFile and KeyFile are shown to the others, and are read at each connection;
	// CAFile is whom they are to be signed by. In PEM.
	CertFile, KeyFile, CAFile string

	// Join are the URLs of all members, of this one too, when a new one starts for
	// the first time; nil begins a cluster of its own.
	Join []string
}

// Elections among machines. A leader that is not heard of for a second is
// replaced.
const (
	peerTick     = 100  // ms
	peerElection = 1000 // ms
	// maxLearners is how many controllers may join at a time.
	maxLearners = 4
)

// configure adds to the configuration what there is of several members.
func (p *Peer) configure(cfg *embed.Config, name, apiURL string) error {
	own, err := url.Parse(p.URL)
	if err != nil {
		return fmt.Errorf("the address %q for other controllers: %w", p.URL, err)
	}
	api, err := url.Parse(apiURL)
	if err != nil {
		return fmt.Errorf("the URL %q of the API: %w", apiURL, err)
	}
	cfg.Name = name
	cfg.TickMs, cfg.ElectionMs = peerTick, peerElection
	cfg.MaxLearners = maxLearners
	cfg.AdvertisePeerUrls, cfg.AdvertiseClientUrls = []url.URL{*own}, []url.URL{*api}
	cfg.InitialCluster = cfg.Name + "=" + p.URL
	cfg.PeerTLSInfo = transport.TLSInfo{CertFile: p.CertFile, KeyFile: p.KeyFile, TrustedCAFile: p.CAFile, MinVersion: tls.VersionTLS13}
	if p.Join == nil {
		return nil
	}
	cfg.ClusterState = embed.ClusterStateFlagExisting
	for i, u := range p.Join {
		if u != p.URL {
			cfg.InitialCluster += fmt.Sprintf(",other-%d=%s", i, u)
		}
	}
	return nil
}

// peerServer lets other members in.
type peerServer struct {
	http *http.Server
	done chan struct{}
}

func servePeers(p *Peer, srv *etcdserver.EtcdServer, log *slog.Logger) *peerServer {
	s := &peerServer{done: make(chan struct{}), http: &http.Server{
		Handler:           etcdhttp.NewPeerHandler(zap.NewNop(), srv),
		TLSConfig:         p.TLS,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		// etcd's streams are written for HTTP/1.1.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}}
	go func() {
		defer close(s.done)
		if err := s.http.ServeTLS(p.Listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			log.Error("other controllers are not served any more", "err", err)
		}
	}()
	return s
}

func (s *peerServer) close() {
	if s == nil {
		return
	}
	_ = s.http.Close() // connections that break are what the others expect
	<-s.done
}

// alone tells whether the etcd has no other members.
func (s *server) alone() bool { return len(s.etcd.Server.Cluster().Members()) <= 1 }

// takePart makes the member one that votes, at the address that it has now.
func (s *server) takePart(ctx context.Context, p *Peer, log *slog.Logger) error {
	id := s.etcd.Server.MemberID()
	for said := false; s.etcd.Server.IsLearner(); {
		_, err := s.client.MemberPromote(ctx, uint64(id))
		switch {
		case err == nil, errors.Is(err, rpctypes.ErrMemberNotLearner):
			log.Info("this controller has caught up with the others")
		case ctx.Err() != nil:
			return fmt.Errorf("become a member that votes: %w", context.Cause(ctx))
		case !said:
			said = true
			log.Info("this controller is catching up with the others", "why", err)
		}
		if err != nil {
			pause(ctx, retryAfter)
			continue
		}
		break
	}
	me := s.etcd.Server.Cluster().Member(id)
	if me == nil {
		return ErrRemoved
	}
	if slices.Equal(me.PeerURLs, []string{p.URL}) {
		return nil
	}
	// The first start of several, or another address: the others have to know.
	if _, err := s.client.MemberUpdate(ctx, uint64(id), []string{p.URL}); err != nil {
		return fmt.Errorf("tell the other controllers the address %s: %w", p.URL, err)
	}
	return nil
}

// Removed is closed when this process's etcd has ended by itself, most often
// because the member was removed. It is nil where etcd is another process.
func (s *Etcd) Removed() <-chan struct{} {
	if s.server == nil {
		return nil
	}
	return s.server.etcd.Server.StopNotify()
}
