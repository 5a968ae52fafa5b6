package memetcd

import (
	"cmp"
	"maps"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

const (
	// minTTL is what etcd's default election timeout allows, in seconds; maxTTL is
	// what it allows at all.
	minTTL = 2
	maxTTL = 9_000_000_000
)

type lease struct {
	id     int64
	ttl    int64 // s
	expiry time.Time
	keys   map[string]struct{}
}

func (c *Cluster) attach(key string, id int64) {
	if l := c.leases[id]; l != nil {
		l.keys[key] = struct{}{}
	}
}

func (c *Cluster) detach(key string, id int64) {
	if l := c.leases[id]; l != nil {
		delete(l.keys, key)
	}
}

func (c *Cluster) refresh(l *lease) { l.expiry = c.now().Add(time.Duration(l.ttl) * time.Second) }

func (c *Cluster) grant(r *pb.LeaseGrantRequest, out *pb.LeaseGrantResponse) error {
	if c.noSpace {
		return rpctypes.ErrGRPCNoSpace
	}
	if r.TTL > maxTTL {
		return rpctypes.ErrGRPCLeaseTTLTooLarge
	}
	id := r.ID
	for id == 0 || r.ID == 0 && c.leases[id] != nil {
		c.granted++
		id = c.granted
	}
	if c.leases[id] != nil {
		return rpctypes.ErrGRPCLeaseExist
	}
	l := &lease{id: id, ttl: max(r.TTL, minTTL), keys: map[string]struct{}{}}
	c.refresh(l)
	c.leases[id] = l
	out.Header, out.ID, out.TTL = header(c.rev), id, l.ttl
	return nil
}

func (c *Cluster) revokeRequest(r *pb.LeaseRevokeRequest, out *pb.LeaseRevokeResponse) error {
	l := c.leases[r.ID]
	if l == nil {
		return rpctypes.ErrGRPCLeaseNotFound
	}
	c.revoke(l)
	out.Header = header(c.rev)
	return nil
}

// revoke ends the lease and deletes its keys, all in one revision.
func (c *Cluster) revoke(l *lease) {
	w := writing{c: c}
	for _, key := range slices.Sorted(maps.Keys(l.keys)) {
		w.delete(span{key: key})
	}
	delete(c.leases, l.id)
	w.end()
}

// keepAlive answers 0 s when there is no such lease. etcd answers the renewal of
// a lease that is over when it has revoked it; so it is revoked now.
func (c *Cluster) keepAlive(id int64, out *pb.LeaseKeepAliveResponse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out.Header, out.ID = header(c.rev), id
	l := c.leases[id]
	switch {
	case l == nil:
	case c.over(l):
		c.revoke(l)
	default:
		c.refresh(l)
		out.TTL = l.ttl
	}
}

func (c *Cluster) over(l *lease) bool { return !l.expiry.After(c.now()) }

func (c *Cluster) timeToLive(r *pb.LeaseTimeToLiveRequest, out *pb.LeaseTimeToLiveResponse) {
	out.Header, out.ID = header(c.rev), r.ID
	l := c.leases[r.ID]
	if l == nil {
		out.TTL = -1
		return
	}
	out.TTL, out.GrantedTTL = int64(l.expiry.Sub(c.now()).Seconds()), l.ttl
	if r.Keys {
		for _, key := range slices.Sorted(maps.Keys(l.keys)) {
			out.Keys = append(out.Keys, []byte(key))
		}
	}
}

// byExpiry are the leases, the first to end first.
func (c *Cluster) byExpiry() []*lease {
	return slices.SortedFunc(maps.Values(c.leases), func(a, b *lease) int {
		return cmp.Or(a.expiry.Compare(b.expiry), cmp.Compare(a.id, b.id))
	})
}

// NextExpiry is when the next lease ends; false where there is none.
func (c *Cluster) NextExpiry() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.byExpiry()
	if len(all) == 0 {
		return time.Time{}, false
	}
	return all[0].expiry, true
}

// Expire revokes the leases whose time is over, the first to end first, each with
// a revision of its own if it has keys, and returns how many there were. Until it is
// called, their keys stay, as they do while etcd is busy.
func (c *Cluster) Expire() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.byExpiry() {
		if c.over(l) {
			c.revoke(l)
			n++
		}
	}
	return n
}

// ChangeLeader gives every lease its whole time again, as a new leader of etcd does.
func (c *Cluster) ChangeLeader() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.leases {
		c.refresh(l)
	}
}
