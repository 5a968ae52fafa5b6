package store

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/cairn-cloud/cairn/api"
)

// external is an etcd as an operator would run it: reached over TLS, with
// etcd's own limits.
type external struct {
	dir  string
	urls []url.URL
	etcd *embed.Etcd
}

func (x *external) start(t *testing.T) {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Dir, cfg.UnsafeNoFsync = x.dir, true
	cfg.TickMs, cfg.ElectionMs = 20, 100
	cfg.ListenPeerUrls = nil
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = x.urls, x.urls
	cfg.ClientAutoTLS, cfg.SelfSignedCertValidity = true, 1
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	<-e.Server.ReadyNotify()
	x.etcd = e
	// Port 0 was a wish; a restarted etcd has to be where the clients look.
	x.urls = []url.URL{{Scheme: "https", Host: e.Clients[0].Addr().String()}}
}

// trust is a TLS configuration that knows etcd's self-signed certificate.
func (x *external) trust(t *testing.T) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(x.dir, "fixtures", "client", "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate")
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
}

func outside(t *testing.T) (*external, *Etcd) {
	x := &external{dir: t.TempDir(), urls: []url.URL{{Scheme: "https", Host: "127.0.0.1:0"}}}
	x.start(t)
	t.Cleanup(func() { x.etcd.Close() })
	s, err := Open(t.Context(), Options{
		Now: time.Now, Rand: rand.Reader, DetectMutations: true,
		Endpoints: []string{x.urls[0].String()}, TLS: x.trust(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return x, s
}

func TestExternal_overTLSAndWithinItsLimits(t *testing.T) {
	_, s := outside(t)
	var rs []*request
	for _, n := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		var c Change
		for i := range 10 {
			p := projectNamed(n + string(rune('a'+i)))
			c.Create = append(c.Create, p)
		}
		rs = append(rs, &request{ctx: t.Context(), decide: func(*View) (Change, error) { return c, nil }, done: make(chan result, 1)})
	}
	s.queue.back(rs) // 160 comparisons and writes in all, of at most 128 a transaction
	revs := map[int64]bool{}
	for _, r := range rs {
		d := <-r.done
		if d.err != nil {
			t.Fatal(d.err)
		}
		revs[d.rev] = true
	}
	if len(revs) != 2 {
		t.Errorf("%d transactions, want 2", len(revs))
	}
}

func TestExternal_aRestartOfEtcdIsAPause(t *testing.T) {
	x, s := outside(t)
	mustCommit(t, s, creating(projectNamed("before")))
	x.etcd.Close()
	if got := s.mirror.view(); got.Get(api.KindProject, "prj_before") == nil {
		t.Error("without etcd nothing can be read")
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		_, err := s.Commit(ctx, creating(projectNamed("meanwhile")))
		done <- err
	}()
	x.start(t)
	if err := <-done; err != nil {
		t.Errorf("a commit while etcd was away: %v", err)
	}
	rev := mustCommit(t, s, creating(projectNamed("after")))
	v, err := s.View(ctx, rev)
	if err != nil || len(names(v, api.KindProject)) != 3 {
		t.Errorf("%v, %v", names(v, api.KindProject), err)
	}
}
