package memetcd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// corner is something that is easily got wrong. Lines say what comes out of it:
// how many revisions it spends, and what it answers.
type corner struct {
	name string
	do   func(ctx context.Context, s *side, tell func(string, error))
	want []string
}

// told collects what a corner tells, each line with the revisions that were spent since the last.
func (c corner) told(ctx context.Context, s *side) (lines []string) {
	rev := func() int64 {
		r, err := s.client.Get(ctx, "revision")
		if err != nil {
			return -1
		}
		return r.Header.Revision
	}
	before := rev()
	c.do(ctx, s, func(text string, err error) {
		if err != nil {
			text = err.Error()
		}
		now := rev()
		lines = append(lines, fmt.Sprintf("+%d %s", now-before, text))
		before = now
	})
	return lines
}

func putting(key string) clientv3.Op { return clientv3.OpPut(key, "x") }

func succeeded(r *clientv3.TxnResponse, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return fmt.Sprint(r.Succeeded), nil
}

var corners = []corner{
	{
		"a comparison of no keys is one of zeros, but never of a value",
		func(ctx context.Context, s *side, tell func(string, error)) {
			for _, c := range []clientv3.Cmp{
				clientv3.Compare(clientv3.CreateRevision("x").WithPrefix(), "=", 0),
				clientv3.Compare(clientv3.ModRevision("x").WithPrefix(), ">", 0),
				clientv3.Compare(clientv3.Value("x").WithPrefix(), "=", ""),
				clientv3.Compare(clientv3.Value("x"), "!=", "y"),
			} {
				tell(succeeded(s.client.Txn(ctx).If(c).Commit()))
			}
		},
		[]string{"+0 true", "+0 false", "+0 false", "+0 false"},
	},
	{
		"a comparison of a range holds if it does for every key",
		func(ctx context.Context, s *side, tell func(string, error)) {
			tell(succeeded(s.client.Txn(ctx).Then(putting("xa"), putting("xb")).Commit()))
			tell(succeeded(s.client.Txn(ctx).Then(putting("xb")).Commit()))
			tell(succeeded(s.client.Txn(ctx).If(clientv3.Compare(clientv3.Version("x").WithPrefix(), ">", 0)).Commit()))
			tell(succeeded(s.client.Txn(ctx).If(clientv3.Compare(clientv3.Version("x").WithPrefix(), "=", 1)).Commit()))
		},
		[]string{"+1 true", "+1 true", "+0 true", "+0 false"},
	},
	{
		"what writes nothing spends no revision",
		func(ctx context.Context, s *side, tell func(string, error)) {
			r, err := s.client.Delete(ctx, "nothing", clientv3.WithPrefix())
			tell(fmt.Sprint("deleted ", r.Deleted), err)
			tell(succeeded(s.client.Txn(ctx).Commit()))
			tell(succeeded(s.client.Txn(ctx).Then(clientv3.OpDelete("nothing"), clientv3.OpGet("nothing")).Commit()))
		},
		[]string{"+0 deleted 0", "+0 true", "+0 true"},
	},
	{
		"a transaction spends one, and reads what it has written",
		func(ctx context.Context, s *side, tell func(string, error)) {
			r, err := s.client.Txn(ctx).Then(putting("a"), putting("b"), clientv3.OpDelete("a\x00"), clientv3.OpGet("a")).Commit()
			if err == nil {
				kv := r.Responses[3].GetResponseRange().Kvs[0]
				tell(fmt.Sprint(kv.ModRevision == r.Header.Revision), nil)
			}
		},
		[]string{"+1 true"},
	},
	{
		"a transaction inside compares with what was before",
		func(ctx context.Context, s *side, tell func(string, error)) {
			absent := clientv3.Compare(clientv3.Version("a"), "=", 0)
			r, err := s.client.Txn(ctx).Then(putting("a"), clientv3.OpTxn([]clientv3.Cmp{absent}, []clientv3.Op{putting("b")}, nil)).Commit()
			if err == nil {
				inner := r.Responses[1].GetResponseTxn()
				tell(fmt.Sprint(inner.Succeeded, inner.Header.Revision), nil)
			}
		},
		[]string{"+1 true 0"},
	},
	{
		"a key is written once",
		func(ctx context.Context, s *side, tell func(string, error)) {
			for _, ops := range [][]clientv3.Op{
				{putting("a"), putting("a")},
				{putting("a"), clientv3.OpDelete("a")},
				{clientv3.OpDelete("", clientv3.WithPrefix()), putting("a")}, // is "from the key on", and not found
				{clientv3.OpTxn(nil, []clientv3.Op{putting("a")}, []clientv3.Op{putting("a")})},
				{clientv3.OpTxn(nil, []clientv3.Op{putting("a")}, nil), putting("a")},
				{clientv3.OpDelete("a"), clientv3.OpDelete("a")},
			} {
				tell(succeeded(s.client.Txn(ctx).Then(ops...).Commit()))
			}
		},
		[]string{
			"+0 etcdserver: duplicate key given in txn request", "+0 etcdserver: duplicate key given in txn request",
			"+1 true", "+1 true", "+0 etcdserver: duplicate key given in txn request", "+1 true",
		},
	},
	{
		"there is a limit on operations, comparisons, and what is inside",
		func(ctx context.Context, s *side, tell func(string, error)) {
			var ops []clientv3.Op
			var cmps []clientv3.Cmp
			for i := range 129 {
				ops = append(ops, putting(fmt.Sprint(i)))
				cmps = append(cmps, clientv3.Compare(clientv3.Version(fmt.Sprint("none", i)), "=", 0))
			}
			tell(succeeded(s.client.Txn(ctx).Then(ops[:128]...).Commit()))
			tell(succeeded(s.client.Txn(ctx).Then(ops...).Commit()))
			tell(succeeded(s.client.Txn(ctx).If(cmps...).Commit()))
			tell(succeeded(s.client.Txn(ctx).Then(clientv3.OpTxn(nil, ops[:127], nil)).Commit()))
			tell(succeeded(s.client.Txn(ctx).Then(clientv3.OpTxn(nil, ops[:128], nil)).Commit()))
		},
		[]string{
			"+1 true", "+0 etcdserver: too many operations in txn request", "+0 etcdserver: too many operations in txn request",
			"+1 true", "+0 etcdserver: too many operations in txn request",
		},
	},
	{
		"there is a limit on the size of a request",
		func(ctx context.Context, s *side, tell func(string, error)) {
			value := strings.Repeat("x", 1536<<10)
			_, err := s.client.Put(ctx, "a", value)
			tell("put", err)
			_, err = s.client.Put(ctx, "a", value[64:])
			tell("put", err)
			tell(succeeded(s.client.Txn(ctx).Then(clientv3.OpPut("a", value)).Commit()))
			tell(succeeded(s.client.Txn(ctx).If(clientv3.Compare(clientv3.Value("a"), "=", value)).Then(clientv3.OpGet("b")).Commit()))
		},
		[]string{"+0 etcdserver: request is too large", "+1 put", "+0 etcdserver: request is too large", "+0 false"},
	},
	{
		"a put refuses what does not go together",
		func(ctx context.Context, s *side, tell func(string, error)) {
			for _, put := range []clientv3.Op{
				clientv3.OpPut("", "x"),
				clientv3.OpPut("a", "x", clientv3.WithLease(1<<50)),
				clientv3.OpPut("a", "x", clientv3.WithIgnoreValue()),
				clientv3.OpPut("a", "", clientv3.WithIgnoreValue()),
				clientv3.OpPut("a", "x", clientv3.WithIgnoreLease(), clientv3.WithLease(1)),
			} {
				_, err := s.client.Do(ctx, put)
				tell("put", err)
			}
		},
		[]string{
			"+0 etcdserver: key is not provided", "+0 etcdserver: requested lease not found", "+0 etcdserver: value is provided",
			"+0 etcdserver: key not found", "+0 etcdserver: lease is provided",
		},
	},
	{
		"a transaction that is refused in one part is not carried out in another",
		func(ctx context.Context, s *side, tell func(string, error)) {
			tell(succeeded(s.client.Txn(ctx).Then(putting("a"), clientv3.OpPut("b", "", clientv3.WithLease(1<<50))).Commit()))
			tell(succeeded(s.client.Txn(ctx).Then(putting("a"), clientv3.OpGet("a", clientv3.WithRev(1<<50))).Commit()))
			tell(succeeded(s.client.Txn(ctx).If(clientv3.Compare(clientv3.Version("a"), "=", 0)).Commit()))
		},
		[]string{"+0 etcdserver: requested lease not found", "+0 etcdserver: mvcc: required revision is a future revision", "+0 true"},
	},
	{
		"a lease that ends takes its keys in one revision, and only those that it still has",
		func(ctx context.Context, s *side, tell func(string, error)) {
			tell(s.grant(ctx, 600), nil)
			tell(s.grant(ctx, 600), nil)
			for _, key := range []string{"c", "a", "b"} {
				_, err := s.client.Put(ctx, key, "", clientv3.WithLease(s.lease(1)))
				tell("put", err)
			}
			_, err := s.client.Put(ctx, "b", "") // lets the lease go
			tell("put", err)
			_, err = s.client.Revoke(ctx, s.lease(1))
			tell("revoked", err)
			_, err = s.client.Revoke(ctx, s.lease(1))
			tell("revoked", err)
			_, err = s.client.Revoke(ctx, s.lease(2))
			tell("revoked", err)
			r, err := s.client.Get(ctx, "", clientv3.WithPrefix())
			tell(fmt.Sprint(len(r.Kvs), " left"), err)
		},
		nil, // the answers of grant are compared, and too long
	},
	{
		"leases have limits",
		func(ctx context.Context, s *side, tell func(string, error)) {
			for _, ttl := range []int64{-5, 1, 2, 600, 9_000_000_000, 9_000_000_001} {
				r, err := s.client.Grant(ctx, ttl)
				if err == nil {
					tell(fmt.Sprint(r.TTL), nil)
				} else {
					tell("", err)
				}
			}
		},
		[]string{"+0 2", "+0 2", "+0 2", "+0 600", "+0 9000000000", "+0 etcdserver: too large lease TTL"},
	},
}

func TestConformance_corners(t *testing.T) {
	_, real := realEtcd(t)
	for _, c := range corners {
		t.Run(c.name, func(t *testing.T) {
			b := compared(t, t.Context(), real)
			etcd, mem := c.told(t.Context(), b.real), c.told(t.Context(), b.mem)
			if !slices.Equal(etcd, mem) {
				t.Errorf("etcd tells\n%s\nand that in memory\n%s", strings.Join(etcd, "\n"), strings.Join(mem, "\n"))
			}
			if c.want != nil && !slices.Equal(mem, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(mem, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestConformance_noSpace(t *testing.T) {
	e, real := realEtcd(t)
	ctx := t.Context()
	b := compared(t, ctx, real)
	if _, err := e.Server.Alarm(ctx, &pb.AlarmRequest{MemberID: uint64(e.Server.MemberID()), Action: pb.AlarmRequest_ACTIVATE, Alarm: pb.AlarmType_NOSPACE}); err != nil {
		t.Fatal(err)
	}
	b.cluster.RaiseNoSpace()
	writes := func() {
		t.Helper()
		for _, op := range []clientv3.Op{
			putting("a"), clientv3.OpDelete("a"), clientv3.OpGet("a"),
			clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpDelete("a")}, nil),
			clientv3.OpTxn(nil, nil, []clientv3.Op{putting("a")}),
			clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpTxn(nil, []clientv3.Op{putting("a")}, nil)}, nil),
		} {
			b.same(t, described(op), func(s *side) string { return s.op(ctx, op) })
		}
		b.same(t, "grant", func(s *side) string { return s.grant(ctx, 600) })
	}
	alarms := func(r *clientv3.AlarmResponse, err error) func(*side) string {
		return func(s *side) string { return s.text((*pb.AlarmResponse)(r), err) }
	}
	list := func(s *side) string { return alarms(s.client.AlarmList(ctx))(s) }
	writes()
	b.same(t, "list", list)
	b.same(t, "disarm", func(s *side) string { return alarms(s.client.AlarmDisarm(ctx, &clientv3.AlarmMember{}))(s) })
	b.same(t, "list", list)
	writes()
}

// next is what a watch tells next.
func (s *side) next(c clientv3.WatchChan) string {
	r, ok := <-c
	if !ok {
		return "closed"
	}
	text := fmt.Sprintf("revision %d created %t progress %t canceled %t compacted %d %v", r.Header.Revision, r.Created, r.IsProgressNotify(), r.Canceled, r.CompactRevision, r.Err())
	for _, e := range r.Events {
		text += "\n" + s.event(e)
	}
	return text
}

func TestConformance_watchNotices(t *testing.T) {
	_, real := realEtcd(t)
	ctx, cancel := context.WithCancel(t.Context())
	b := compared(t, ctx, real)
	chans := map[*side]clientv3.WatchChan{}
	told := func(want string) {
		t.Helper()
		if got := b.same(t, "watch", func(s *side) string { return s.next(chans[s]) }); !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	open := func(o ...clientv3.OpOption) {
		for _, s := range []*side{b.real, b.mem} {
			chans[s] = s.client.Watch(ctx, "a", o...)
		}
	}
	put := func() {
		t.Helper()
		b.same(t, "put", func(s *side) string { return s.op(ctx, putting("a")) })
	}
	open(clientv3.WithCreatedNotify())
	told("created true")
	b.same(t, "ask for progress", func(s *side) string { return fmt.Sprint(s.client.RequestProgress(ctx)) })
	told("progress true")
	put()
	told(`"version":"1"`)
	put()
	told(`"version":"2"`)
	b.same(t, "compact", func(s *side) string { return s.compact(ctx, b.cluster.Revision()) })
	put()
	told(`"version":"3"`)
	open(clientv3.WithRev(b.cluster.Revision() - 2))
	told("canceled true")
	told("closed")
	open(clientv3.WithRev(b.cluster.Revision() + 2))
	put()
	put()
	told(`"version":"5"`)
	cancel()
	told("closed")
}

func TestConformance_leaseExpires(t *testing.T) {
	_, real := realEtcd(t)
	ctx := t.Context()
	b := compared(t, ctx, real)
	b.same(t, "grant", func(s *side) string { return s.grant(ctx, 2) })
	chans := map[*side]clientv3.WatchChan{}
	for _, key := range []string{"c", "a", "b"} {
		b.same(t, "put", func(s *side) string {
			return s.op(ctx, clientv3.OpPut(key, "", clientv3.WithLease(s.lease(1))))
		})
	}
	for _, s := range []*side{b.real, b.mem} {
		chans[s] = s.client.Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithPrevKV())
	}
	b.clock = b.clock.Add(1999 * time.Millisecond)
	if n := b.cluster.Expire(); n != 0 {
		t.Errorf("%d leases ended too early", n)
	}
	at, _ := b.cluster.NextExpiry()
	b.clock = at
	if n := b.cluster.Expire(); n != 1 {
		t.Errorf("%d leases ended, want 1", n)
	}
	got := b.same(t, "expiry", func(s *side) string { return s.next(chans[s]) })
	if n := strings.Count(got, "DELETE"); n != 3 {
		t.Errorf("the keys of a lease are deleted together, and the watch tells %s", got)
	}
	b.same(t, "time to live", func(s *side) string { return s.timeToLive(ctx, 1) })
	b.same(t, "keep alive", func(s *side) string { return s.keepAliveOnce(ctx, 1) })
	b.same(t, "keep alive", func(s *side) string {
		c, err := s.client.KeepAlive(ctx, s.lease(1))
		_, ok := <-c
		return fmt.Sprint(ok, err)
	})
}
