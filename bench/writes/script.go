package main

import (
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// script is what a writer's changes of one subject came to: for each verb, its
// transactions in order.
type script struct {
	name   string
	phases [len(verbs)][]*transaction
}

// transaction is one that Cairn has sent, without the mark of its writer: that
// settles for a process what became of a transaction, and a bare client has none.
type transaction struct {
	compares []*pb.Compare
	ops      []*pb.RequestOp
}

// Cairn's keys are below the prefix; the marks of its writers are below writers.
const (
	prefix  = "/cairn/"
	writers = prefix + "writer/"
)

// kept makes a transaction of a request; nil where it is none of the store's,
// such as those of elections.
func kept(r *pb.TxnRequest) *transaction {
	t, marked := &transaction{}, false
	for _, c := range r.Compare {
		if !strings.HasPrefix(string(c.Key), writers) {
			t.compares = append(t.compares, c)
		}
	}
	for _, op := range r.Success {
		if p := op.GetRequestPut(); p != nil && strings.HasPrefix(string(p.Key), writers) {
			marked = true
			continue
		}
		t.ops = append(t.ops, op)
	}
	if !marked {
		return nil
	}
	return t
}

// shape says what the transactions of each verb hold, on average over changes.
func (s *script) shape(changes int) string {
	var all []string
	for v, ts := range s.phases {
		compares, puts, deletes, bytes := 0, 0, 0, 0
		for _, t := range ts {
			compares += len(t.compares)
			for _, op := range t.ops {
				if p := op.GetRequestPut(); p != nil {
					puts++
					bytes += len(p.Key) + len(p.Value)
				} else {
					deletes++
				}
			}
		}
		all = append(all, fmt.Sprintf("%s %.3g transactions, %.3g comparisons, %.3g puts of %d bytes, %.3g deletes", verbs[v], share(len(ts), changes),
			share(compares, changes), share(puts, changes), bytes/changes, share(deletes, changes)))
	}
	return s.name + ": " + strings.Join(all, "; ")
}

func share(n, of int) float64 { return float64(n) / float64(of) }
