package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"github.com/cairn-cloud/cairn/api"
)

// Hold says that a store was restored and is not yet accepted: nothing is
// written to it but what Change.WhileHeld says.
type Hold struct {
	Since time.Time `json:"since"`
}

const heldKey = clusterPrefix + "held"

// ErrHeld answers whoever wants to change a store that is held.
var ErrHeld error = api.NewProblem(503, "held", "", "a cloud administrator has to look at `cairn controller check`, and accept what it says", "this cloud was restored from a backup and is held: nothing is changed until it is accepted")

// Held is nil unless the store is held.
func (v *View) Held() *Hold { return v.t.held }

func applyHeld(t *tables, gone bool, kv *mvccpb.KeyValue) error {
	t.held = nil
	if gone {
		return nil
	}
	h := &Hold{}
	if err := json.Unmarshal(kv.Value, h); err != nil {
		return err
	}
	t.held = h
	return nil
}

// Release implements Store.
func (s *Etcd) Release(ctx context.Context) error {
	r, err := s.client.Delete(ctx, heldKey)
	if err != nil {
		return fmt.Errorf("release the store: %w", err)
	}
	_, err = s.mirror.wait(ctx, r.Header.Revision)
	return err
}

// Snapshot implements Store.
func (s *Etcd) Snapshot(ctx context.Context, w io.Writer) (err error) {
	if s.server == nil {
		return fmt.Errorf("take a snapshot: %w", ErrNotEmbedded)
	}
	// The answer to a read comes when this member has all that was acknowledged before.
	if _, err := s.server.client.Get(ctx, schemaKey, clientv3.WithCountOnly()); err != nil {
		return fmt.Errorf("take a snapshot: %w", err)
	}
	r, err := s.server.client.SnapshotWithVersion(ctx)
	if err != nil {
		return fmt.Errorf("take a snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, r.Snapshot.Close()) }()
	if _, err := io.Copy(w, r.Snapshot); err != nil {
		return fmt.Errorf("take a snapshot: %w", err)
	}
	return nil
}

// skipped is how many revisions a restored store leaves out: more than there can
// have been since its backup. So no revision ever means two things, and whoever
// has seen the ones that are lost (agents, watchers, holders of ETags) has not seen more
// than there is.
const skipped = 1_000_000_000

// Restore makes the directory of an embedded etcd of one member from a snapshot,
// and holds it. The directory must not be there, or be empty; it is there when all
// is done.
func Restore(ctx context.Context, file, dir string, o Options) (err error) {
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("restore: there is something in %s, and nothing is restored over it: %w", dir, err)
	}
	o.Embedded = &Embedded{Dir: dir + ".restoring"}
	if err := o.complete(); err != nil {
		return err
	}
	token, err := o.processID() // no member of the old cluster can be one of the new
	if err != nil {
		return err
	}
	if err := os.RemoveAll(o.Embedded.Dir); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	const name, url = "restored", "http://localhost:2380" // until it starts and says its own
	err = snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath: file, OutputDataDir: filepath.Join(o.Embedded.Dir, "etcd"),
		Name: name, PeerURLs: []string{url}, InitialCluster: name + "=" + url, InitialClusterToken: token,
		RevisionBump: skipped, MarkCompacted: true,
	})
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := o.hold(ctx); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := os.Rename(o.Embedded.Dir, dir); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// hold writes into an etcd that it is held.
func (o Options) hold(ctx context.Context) (err error) {
	s, err := startServer(ctx, o, o.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	b, err := json.Marshal(Hold{Since: o.Now().UTC()})
	if err != nil {
		return err
	}
	if err := s.forget(ctx); err != nil {
		return err
	}
	// That a host was off for sure when the backup was made says nothing of now.
	_, err = s.client.Txn(ctx).Then(clientv3.OpPut(heldKey, string(b)), clientv3.OpDelete(fencePrefix, clientv3.WithPrefix())).Commit()
	return err
}
