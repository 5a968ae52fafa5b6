package memetcd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"
	"pgregory.net/rapid"
)

// These tests say the same to etcd and to the one in memory, and compare every answer.

var (
	allKeys     = []string{"a", "a\x00", "aa", "ab", "b", "c"}
	someKeys    = rapid.SampledFrom(allKeys)
	someValues  = rapid.SampledFrom([]string{"", "x", "y"})
	someNumbers = rapid.Int64Range(0, 3)
	sometimes   = rapid.Custom(func(t *rapid.T) bool { return rapid.IntRange(0, 4).Draw(t, "of 5") == 0 })
)

// machine draws operations. What it draws depends on the revision, which both have.
type machine struct {
	*both
	ctx     context.Context
	watches []*watched
}

func (m *machine) check(t *rapid.T, what string, do func(s *side) string) { m.same(t, what, do) }

func (m *machine) rev(t *rapid.T) int64 {
	if !sometimes.Draw(t, "at a revision") {
		return 0
	}
	return m.cluster.Revision() + rapid.Int64Range(-6, 2).Draw(t, "from now")
}

func (m *machine) lease(t *rapid.T) int {
	return rapid.IntRange(unknownLease, len(m.mem.leases)).Draw(t, "lease")
}

// in draws a range of keys.
func in(t *rapid.T) (string, []clientv3.OpOption) {
	key := someKeys.Draw(t, "key")
	switch rapid.IntRange(0, 4).Draw(t, "range") {
	case 0:
		return key, []clientv3.OpOption{clientv3.WithPrefix()}
	case 1:
		return key, []clientv3.OpOption{clientv3.WithFromKey()}
	case 2:
		return key, []clientv3.OpOption{clientv3.WithRange(someKeys.Draw(t, "end"))}
	case 3:
		return "", []clientv3.OpOption{clientv3.WithPrefix()}
	}
	return key, nil
}

// asked is an operation before the leases in it have their IDs.
type asked func(s *side) clientv3.Op

func (m *machine) put(t *rapid.T) asked { return m.putting(t, true) }

func (m *machine) putting(t *rapid.T, ignoring bool) asked {
	key, value := someKeys.Draw(t, "key"), someValues.Draw(t, "value")
	lease, prev := 0, rapid.Bool().Draw(t, "prev")
	if sometimes.Draw(t, "leased") {
		lease = m.lease(t)
	}
	ignoreValue := ignoring && sometimes.Draw(t, "ignore value")
	ignoreLease := ignoring && sometimes.Draw(t, "ignore lease")
	return func(s *side) clientv3.Op {
		o := []clientv3.OpOption{clientv3.WithLease(s.lease(lease))}
		if prev {
			o = append(o, clientv3.WithPrevKV())
		}
		if ignoreValue {
			o = append(o, clientv3.WithIgnoreValue())
		}
		if ignoreLease {
			o = append(o, clientv3.WithIgnoreLease())
		}
		return clientv3.OpPut(key, value, o...)
	}
}

func (m *machine) get(t *rapid.T) asked {
	key, o := in(t)
	o = append(o, clientv3.WithRev(m.rev(t)), clientv3.WithLimit(rapid.Int64Range(0, 3).Draw(t, "limit")))
	if sometimes.Draw(t, "count") {
		o = append(o, clientv3.WithCountOnly())
	}
	if sometimes.Draw(t, "keys") {
		o = append(o, clientv3.WithKeysOnly())
	}
	if rapid.Bool().Draw(t, "sorted") {
		o = append(o, clientv3.WithSort(clientv3.SortTarget(rapid.IntRange(0, 4).Draw(t, "by")), clientv3.SortOrder(rapid.IntRange(0, 2).Draw(t, "order"))))
	}
	for _, filter := range []func(int64) clientv3.OpOption{clientv3.WithMinModRev, clientv3.WithMaxModRev, clientv3.WithMinCreateRev, clientv3.WithMaxCreateRev} {
		if sometimes.Draw(t, "filtered") {
			o = append(o, filter(m.cluster.Revision()-rapid.Int64Range(0, 6).Draw(t, "ago")))
		}
	}
	return func(*side) clientv3.Op { return clientv3.OpGet(key, o...) }
}

func (m *machine) delete(t *rapid.T) asked {
	key, o := in(t)
	if rapid.Bool().Draw(t, "prev") {
		o = append(o, clientv3.WithPrevKV())
	}
	return func(*side) clientv3.Op { return clientv3.OpDelete(key, o...) }
}

func (m *machine) compare(t *rapid.T) func(s *side) clientv3.Cmp {
	key, end := someKeys.Draw(t, "key"), ""
	if sometimes.Draw(t, "of a range") {
		end = rapid.SampledFrom([]string{"b", "c", "\x00"}).Draw(t, "end")
	}
	is := rapid.SampledFrom([]string{"=", "!=", "<", ">"}).Draw(t, "is")
	of, n, lease, value := rapid.IntRange(0, 4).Draw(t, "of"), someNumbers.Draw(t, "n"), m.lease(t), someValues.Draw(t, "value")
	ago := m.cluster.Revision() - n
	return func(s *side) clientv3.Cmp {
		var c clientv3.Cmp
		switch of {
		case 0:
			c = clientv3.Compare(clientv3.Value(key), is, value)
		case 1:
			c = clientv3.Compare(clientv3.Version(key), is, n)
		case 2:
			c = clientv3.Compare(clientv3.CreateRevision(key), is, ago*(n%2))
		case 3:
			c = clientv3.Compare(clientv3.ModRevision(key), is, ago*(n%2))
		default: // the order of lease IDs is not the same
			c = clientv3.Compare(clientv3.LeaseValue(key), map[bool]string{true: "=", false: "!="}[is == "="], s.lease(lease))
		}
		if end != "" {
			c = c.WithRange(end)
		}
		return c
	}
}

// txn draws a transaction that deletes, or one whose puts may keep what there is.
// Both in one would crash etcd 3.7 where the deletion is one from a key on.
func (m *machine) txn(t *rapid.T, depth int, deleting bool) asked {
	var compares []func(s *side) clientv3.Cmp
	for range rapid.IntRange(0, 2).Draw(t, "comparisons") {
		compares = append(compares, m.compare(t))
	}
	ops := func(label string) (all []asked) {
		for range rapid.IntRange(0, 3).Draw(t, label) {
			all = append(all, m.any(t, depth-1, deleting))
		}
		return all
	}
	then, otherwise := ops("then"), ops("else")
	return func(s *side) clientv3.Op {
		var cmps []clientv3.Cmp
		for _, c := range compares {
			cmps = append(cmps, c(s))
		}
		return clientv3.OpTxn(cmps, on(s, then), on(s, otherwise))
	}
}

func on(s *side, all []asked) (ops []clientv3.Op) {
	for _, a := range all {
		ops = append(ops, a(s))
	}
	return ops
}

func (m *machine) any(t *rapid.T, depth int, deleting bool) asked {
	switch n := rapid.IntRange(0, 6).Draw(t, "operation"); {
	case n < 3:
		return m.putting(t, !deleting)
	case n == 3 && deleting:
		return m.delete(t)
	case n == 4 && depth > 0:
		return m.txn(t, depth, deleting)
	}
	return m.get(t)
}

// watched is a watch of both.
type watched struct {
	in        span
	start     int64
	deletes   bool // it sees them
	real, mem clientv3.WatchChan
}

func (m *machine) watch(t *rapid.T) {
	key, o := in(t)
	op := clientv3.OpGet(key, o...)
	w := &watched{in: span{string(op.KeyBytes()), string(op.RangeBytes())}, start: m.rev(t), deletes: true}
	o = append(o, clientv3.WithRev(w.start), clientv3.WithPrevKV())
	switch rapid.IntRange(0, 3).Draw(t, "filter") {
	case 0:
		o = append(o, clientv3.WithFilterDelete())
		w.deletes = false
	case 1:
		o = append(o, clientv3.WithFilterPut())
	}
	// A watch that shares its stream with one that failed is ended with it.
	ctx := metadata.AppendToOutgoingContext(m.ctx, "stream", fmt.Sprintf("%p", w))
	w.real = m.real.client.Watch(ctx, key, o...)
	w.mem = m.mem.client.Watch(ctx, key, o...)
	m.watches = append(m.watches, w)
}

// settle waits until both have been told all that there was, and compares it.
func (m *machine) settle(t *rapid.T) {
	last := map[*watched]int64{} // what each sees last
	for again := len(m.watches) > 0; again; {
		again = false
		for _, key := range allKeys {
			m.check(t, "put", func(s *side) string { return s.op(m.ctx, clientv3.OpPut(key, "")) })
			m.check(t, "delete", func(s *side) string { return s.op(m.ctx, clientv3.OpDelete(key)) })
			for _, w := range m.watches {
				if rev := m.cluster.Revision(); w.in.contains(key) && w.deletes {
					last[w] = rev
				} else if w.in.contains(key) {
					last[w] = rev - 1
				}
				again = again || m.cluster.Revision() < w.start+int64(2*len(allKeys))
			}
		}
	}
	open := m.watches[:0]
	for _, w := range m.watches {
		real, goesOn := m.real.until(w.real, last[w])
		mem, _ := m.mem.until(w.mem, last[w])
		if !slices.Equal(real, mem) {
			t.Fatalf("a watch of %q from %d on\nof etcd:\n%s\nof that in memory:\n%s", w.in, w.start, strings.Join(real, "\n"), strings.Join(mem, "\n"))
		}
		if goesOn {
			open = append(open, w)
		}
	}
	m.watches = open
}

// until reads until the event of that revision; false where the watch ends.
func (s *side) until(c clientv3.WatchChan, rev int64) (told []string, goesOn bool) {
	for r := range c {
		for _, e := range r.Events {
			told = append(told, s.event(e))
			if e.Kv.ModRevision == rev {
				return told, true
			}
		}
		if err := r.Err(); err != nil {
			// An error that etcd's client has no name for cannot be told but with a code.
			text := strings.TrimPrefix(err.Error(), "rpc error: code = FailedPrecondition desc = ")
			told = append(told, fmt.Sprintf("ended %d %t %s", r.CompactRevision, r.Canceled, text))
		}
	}
	return told, false
}

func TestConformance_drawnSequences(t *testing.T) {
	_, real := realEtcd(t)
	rapid.Check(t, func(t *rapid.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		m := &machine{both: compared(t, ctx, real), ctx: ctx}
		do := func(draw func(*rapid.T) asked) func(*rapid.T) {
			return func(t *rapid.T) {
				op := draw(t)
				m.check(t, described(op(m.mem)), func(s *side) string { return s.op(ctx, op(s)) })
			}
		}
		txn := do(func(t *rapid.T) asked { return m.txn(t, 3, rapid.Bool().Draw(t, "deleting")) })
		t.Repeat(map[string]func(*rapid.T){
			"put": do(m.put), "get": do(m.get), "delete": do(m.delete), "txn": txn, "txn again": txn,
			"grant": func(t *rapid.T) { m.check(t, "grant", func(s *side) string { return s.grant(ctx, 600) }) },
			"revoke": func(t *rapid.T) {
				n := m.lease(t)
				m.check(t, "revoke", func(s *side) string { return s.revoke(ctx, n) })
			},
			"lease": func(t *rapid.T) {
				n := m.lease(t)
				m.check(t, "time to live", func(s *side) string { return s.timeToLive(ctx, n) })
				m.check(t, "keep alive", func(s *side) string { return s.keepAliveOnce(ctx, n) })
				m.check(t, "leases", func(s *side) string { return s.listLeases(ctx) })
			},
			"compact": func(t *rapid.T) {
				m.settle(t)
				rev := m.cluster.Revision() + rapid.Int64Range(-6, 1).Draw(t, "from now")
				m.check(t, "compact", func(s *side) string { return s.compact(ctx, rev) })
			},
			"watch": m.watch,
		})
		m.settle(t)
	})
}
