package memetcd

import (
	"sync"
	"time"

	"github.com/tidwall/btree"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// Cluster is the state that all clients share. Its methods may be called by many at once.
type Cluster struct {
	// MaxTxnOps and MaxRequestBytes are etcd's limits, at first its defaults: 128
	// operations a transaction, 1.5 MiB a request. They are set before the first request.
	MaxTxnOps       int
	MaxRequestBytes int

	now func() time.Time

	mu        sync.Mutex
	rev       int64 // of the last change
	compacted int64 // nothing older than this revision can be read
	keys      btree.Map[string, *versions]
	log       [][]*mvccpb.Event // what each revision from logged on changed
	logged    int64
	leases    map[int64]*lease
	granted   int64 // the last lease's ID
	noSpace   bool
	watches   map[*watch]struct{}
	changed   chan struct{} // closed when rev or compacted changes
}

// New returns an empty cluster. Leases run by its clock.
func New(now func() time.Time) *Cluster {
	return &Cluster{
		MaxTxnOps: 128, MaxRequestBytes: 1536 << 10,
		now: now, rev: 1, compacted: -1, logged: 2,
		leases: map[int64]*lease{}, watches: map[*watch]struct{}{}, changed: make(chan struct{}),
	}
}

// Revision is that of the last change.
func (c *Cluster) Revision() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rev
}

// header is what a member that has always led says of itself.
func header(rev int64) *pb.ResponseHeader {
	return &pb.ResponseHeader{ClusterId: 1, MemberId: member, RaftTerm: 2, Revision: rev}
}

const member = 1

// wake tells the watches that there is something new.
func (c *Cluster) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}
