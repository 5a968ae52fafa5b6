package controller

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
	"github.com/cairn-cloud/cairn/controller/store/storetest"
)

// etcdLimits is a store with the transactions that etcd allows where nobody
// told it otherwise.
func etcdLimits(o *store.Options) { o.MaxTxnOps = 128 }

// TestReport_ofAFullHostFitsIntoEtcdsTransactions: after a restart an agent says
// all that it knows in one call.
func TestReport_ofAFullHostFitsIntoEtcdsTransactions(t *testing.T) {
	c := newCloudOn(t, storetest.New(t, etcdLimits))
	c.subnet("sub", "10.0.0.0/16")
	h := c.host("h1", 1000, 1<<20, 10000)
	c.place()
	const n = 150
	if got := atOnce(t, n, func(n int) error {
		_, err := c.try(c.write(), instance(fmt.Sprint("i", n)))
		return err
	}); got[""] != n {
		t.Fatalf("the answers are %v", got)
	}
	c.until("all are placed", func(v api.View) bool { return count(v, api.KindInstance, placed) == n })
	c.idle()
	var reports []api.Report
	for o := range c.view().List(api.KindInstance, "", "") {
		s := &api.InstanceStatus{}
		s.State, s.ObservedGeneration = api.StateRunning, 1
		r := api.Report{Kind: api.KindInstance, ID: o.GetMeta().ID, Epoch: 1, Instance: s}
		for e := range 20 {
			r.Events = append(r.Events, api.EventSpec{Reason: "Test", Message: fmt.Sprint(e)})
		}
		reports = append(reports, r)
	}
	if _, err := c.b.Report(c.ctx, h, 0, reports); err != nil {
		t.Fatal(err)
	}
	if got := count(c.view(), api.KindInstance, func(o api.Object) bool { return o.(*api.Instance).Status.State == api.StateRunning }); got != n {
		t.Errorf("%d of %d run", got, n)
	}
}

// TestInstance_theLargestFitsIntoEtcdsTransactions: as many NICs and keys as
// there can be, made, placed and deleted.
func TestInstance_theLargestFitsIntoEtcdsTransactions(t *testing.T) {
	c := newCloudOn(t, storetest.New(t, etcdLimits))
	for n := range 8 {
		c.subnet(fmt.Sprint("sub", n), fmt.Sprintf("10.%d.0.0/16", n))
	}
	h := c.host("h1", 1000, 1<<20, 10000)
	c.run()
	i := instance("large")
	i.Spec.NICs = nil
	for n := range 8 {
		i.Spec.NICs = append(i.Spec.NICs, api.NIC{Addresses: []api.PortAddress{{Subnet: fmt.Sprint("sub", n)}}})
	}
	for n := range 32 {
		k := &api.SSHKey{}
		k.Name, k.Spec.PublicKey = fmt.Sprint("k", n), publicKey(t)
		c.create(k)
		i.Spec.SSHKeys = append(i.Spec.SSHKeys, k.Name)
	}
	w := c.write()
	w.IdempotencyKey, w.Fingerprint = "key", "print"
	done, err := c.try(w, i)
	if err != nil {
		t.Fatal(err)
	}
	id := done.Object.GetMeta().ID
	c.until("it is placed", func(v api.View) bool { return placed(v.Get(api.KindInstance, id)) })
	if _, err := c.b.Delete(c.ctx, c.write(), api.KindInstance, id, false); err != nil {
		t.Fatal(err)
	}
	if err := c.report(h, id, 1, api.StateGone); err != nil {
		t.Fatal(err)
	}
	c.until("it is gone", func(v api.View) bool { return v.Get(api.KindInstance, id) == nil && count(v, api.KindPort, nil) == 0 })
}

// publicKey is a key in OpenSSH's format.
func publicKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	var blob []byte
	for _, part := range [][]byte{[]byte("ecdsa-sha2-nistp256"), []byte("nistp256"), point} {
		blob = binary.BigEndian.AppendUint32(blob, uint32(len(part)))
		blob = append(blob, part...)
	}
	return "ecdsa-sha2-nistp256 " + base64.StdEncoding.EncodeToString(blob)
}

// meanwhile is a store in which something happens between a decision and its
// caller's hearing of it.
type meanwhile struct {
	store.Store
	happens func()
}

func (m meanwhile) Commit(ctx context.Context, decide func(*store.View) (store.Change, error)) (int64, error) {
	defer m.happens()
	return m.Store.Commit(ctx, decide)
}

// TestPlacement_roomThatAppearsDuringADecisionIsNotMissed: the news of it come
// before the instance is known to wait.
func TestPlacement_roomThatAppearsDuringADecisionIsNotMissed(t *testing.T) {
	c := newCloud(t)
	c.subnet("sub", "10.0.0.0/24")
	id := c.create(instance("i")).GetMeta().ID
	p := newPlacements(c.c)
	p.reset(c.view())
	p.store = meanwhile{c.store, func() {
		p.see(c.view(), api.WatchEvent{Type: api.EventPut, Kind: api.KindHost, Object: &api.Host{}})
	}}
	if err := p.batch(c.ctx, p.take()); err != nil {
		t.Fatal(err)
	}
	if !p.fresh.in[id] {
		t.Error("the instance waits for news that have come already")
	}
	p.store = c.store
	if err := p.batch(c.ctx, p.take()); err != nil {
		t.Fatal(err)
	}
	if p.fresh.in[id] || p.waiting[id].IsZero() {
		t.Error("without news it does not wait")
	}
}
