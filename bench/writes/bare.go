package main

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// player sends a script's transactions below a prefix of its own, which is as
// long as Cairn's: it knows of each key the revision that the last transaction gave it,
// as a client that caches what it reads would.
type player struct {
	client *clientv3.Client
	prefix string
	lease  clientv3.LeaseID
	mod    map[string]int64
	create map[string]int64
}

// newPlayer also puts what the script compares and has not made itself.
func newPlayer(ctx context.Context, c *clientv3.Client, serial int, lease clientv3.LeaseID, s *script) (*player, error) {
	p := &player{client: c, prefix: fmt.Sprintf("/%05d/", serial), lease: lease, mod: map[string]int64{}, create: map[string]int64{}}
	made := map[string]bool{}
	var ops []clientv3.Op
	var keys []string
	for _, phase := range s.phases {
		for _, t := range phase {
			for _, cmp := range t.compares {
				if key := p.key(cmp.Key); expected(cmp) != 0 && !made[key] {
					made[key] = true
					keys, ops = append(keys, key), append(ops, clientv3.OpPut(key, "x"))
				}
			}
			for _, op := range t.ops {
				if put := op.GetRequestPut(); put != nil {
					made[p.key(put.Key)] = true
				}
			}
		}
	}
	r, err := c.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return nil, fmt.Errorf("prepare a bare writer: %w", err)
	}
	for _, k := range keys {
		p.mod[k], p.create[k] = r.Header.Revision, r.Header.Revision
	}
	return p, nil
}

func (p *player) key(k []byte) string { return p.prefix + string(k[len(prefix):]) }

// expected is not 0 where the comparison is about a key that must be there.
func expected(c *pb.Compare) int64 {
	if c.Result == pb.Compare_GREATER {
		return 1
	}
	return max(c.GetModRevision(), c.GetCreateRevision())
}

var errRefused = errors.New("a comparison did not hold")

// play sends one transaction.
func (p *player) play(ctx context.Context, t *transaction) error {
	cmps := make([]clientv3.Cmp, len(t.compares))
	for i, c := range t.compares {
		cmps[i] = p.compare(c)
	}
	ops := make([]clientv3.Op, len(t.ops))
	for i, op := range t.ops {
		switch put := op.GetRequestPut(); {
		case put == nil:
			ops[i] = clientv3.OpDelete(p.key(op.GetRequestDeleteRange().Key))
		case put.Lease != 0:
			ops[i] = clientv3.OpPut(p.key(put.Key), string(put.Value), clientv3.WithLease(p.lease))
		default:
			ops[i] = clientv3.OpPut(p.key(put.Key), string(put.Value))
		}
	}
	r, err := p.client.Txn(ctx).If(cmps...).Then(ops...).Commit()
	if err == nil && !r.Succeeded {
		err = errRefused
	}
	if err != nil {
		return fmt.Errorf("a bare transaction: %w", err)
	}
	for i, op := range t.ops {
		key := string(ops[i].KeyBytes())
		if op.GetRequestPut() == nil {
			delete(p.mod, key)
			delete(p.create, key)
			continue
		}
		if p.mod[key] = r.Header.Revision; p.create[key] == 0 {
			p.create[key] = r.Header.Revision
		}
	}
	return nil
}

// compare is the same comparison with the revision that the key has here.
func (p *player) compare(c *pb.Compare) clientv3.Cmp {
	key := p.key(c.Key)
	var cmp clientv3.Cmp
	switch {
	case c.Result == pb.Compare_GREATER:
		cmp = clientv3.Compare(clientv3.CreateRevision(key), ">", 0)
	case c.Target == pb.Compare_CREATE && c.GetCreateRevision() != 0:
		cmp = clientv3.Compare(clientv3.CreateRevision(key), "=", p.create[key])
	case c.Target == pb.Compare_CREATE:
		cmp = clientv3.Compare(clientv3.CreateRevision(key), "=", 0)
	case c.GetModRevision() != 0:
		cmp = clientv3.Compare(clientv3.ModRevision(key), "=", p.mod[key])
	default:
		cmp = clientv3.Compare(clientv3.ModRevision(key), "=", 0)
	}
	if len(c.RangeEnd) > 0 {
		cmp = cmp.WithRange(p.key(c.RangeEnd))
	}
	return cmp
}
