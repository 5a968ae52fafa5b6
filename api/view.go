package api

import (
	"iter"
	"time"
)

// Latest stands for the newest revision that any controller has acknowledged before.
const Latest int64 = -1

// View is an immutable picture of the cloud at one revision. What it returns
// is shared and must not be changed: Clone first.
type View interface {
	// Revision is the store's revision that the view shows.
	Revision() int64
	// Get returns the object of that kind and ID, its status and placement
	// merged in, or nil.
	Get(kind, id string) Object
	// Lookup is Get by ID or by name in the project ("" for cloud kinds).
	Lookup(kind, project, nameOrID string) Object
	// List yields the kind's objects in order of ID, from the first one after
	// the given ID. An empty project means all.
	List(kind, project, after string) iter.Seq[Object]
	// Referrers yields the objects of the kind that hold a reference to the
	// target: the ports of a network, the instances placed on a host.
	Referrers(kind, targetKind, targetID string) iter.Seq[Object]
	// Owner returns the ID of the object that holds the unique key, or "".
	Owner(key string) string
	// Used returns the amounts of a counter; nil when nothing is counted.
	Used(key string) map[string]int64
	// Alive tells whether the host's lease holds.
	Alive(host string) bool
	// Life is the revision at which the host last came alive; 0: it never did.
	Life(host string) int64
	// Fence says that the host is off for sure; nil: it may run what is placed on
	// it. It ends when the host comes alive.
	Fence(host string) *Fence
}

// Change types of a WatchEvent.
const (
	EventPut      = "put"
	EventDelete   = "delete"
	EventBookmark = "bookmark" // nothing changed: all up to Cursor was sent
)

// Cursor is a place in the history of changes: after the Index-th change of
// the transaction at Revision. Its text form is "1234.2".
type Cursor struct {
	Revision int64
	Index    int
}

// WatchEvent is one change to one object.
type WatchEvent struct {
	Cursor Cursor `json:"-"`
	Type   string `json:"type"`
	Kind   string `json:"kind"`
	// Object is as it is after the change; for a delete, as it was last.
	Object Object `json:"object"`
}

// Preview is what a dry run says beside the object.
type Preview struct {
	Host      string              `json:"host,omitempty" doc:"Name of the host that would be chosen now."`
	Reason    string              `json:"reason,omitempty" doc:"Why this host, or why none."`
	Rejected  []Rejected          `json:"rejected,omitempty"`
	Addresses []string            `json:"addresses,omitempty" doc:"Addresses that it would get; not held."`
	Quota     map[string]QuotaUse `json:"quota,omitempty"`
}

// QuotaUse is a quota before and after a change.
type QuotaUse struct {
	Used  int64 `json:"used"`
	After int64 `json:"after"`
	Limit int64 `json:"limit"`
}

// Principal is who asks.
type Principal struct {
	Actor   string // for events: "token/ci", "host/h1"
	Token   string // ID of the token, or ""
	Project string // ID of the token's project
	Role    Role
	Cloud   bool   // cloud administrator
	Host    string // ID of the host, for an agent's certificate
}

// Write is one change asked for over REST.
type Write struct {
	Principal Principal
	DryRun    bool
	// IdempotencyKey, with Fingerprint (a digest of method, path and body),
	// makes a repeated write return the first one's result.
	IdempotencyKey string
	Fingerprint    string
	// IfMatch is the revision that the object must have; 0: any.
	IfMatch int64
}

// Written is the result of a Write.
type Written struct {
	Object   Object // as it is now; nil when it is gone
	Replayed bool   // the idempotency key was seen before
	Preview  *Preview
	Revision int64 // of the store
}

// JoinRequest is what a machine sends to become a host.
type JoinRequest struct {
	Secret string `json:"secret" doc:"The join token."`
	Name   string `json:"name" doc:"Name of the host."`
	CSR    string `json:"csr" doc:"PKCS#10 request in PEM; only its public key is used."`
}

// JoinResponse is what makes it one.
type JoinResponse struct {
	HostID      string    `json:"host_id"`
	Certificate string    `json:"certificate" doc:"PEM."`
	CA          string    `json:"ca" doc:"PEM."`
	ExpiresAt   time.Time `json:"expires_at"`
}

// Report is what an agent says of one object on its host.
type Report struct {
	Kind  string `json:"kind" enum:"host,instance,port"`
	ID    string `json:"id"`
	Epoch int64  `json:"epoch,omitempty" doc:"Of an instance or the instance of a port: a report from an old placement is dropped."`
	// One of these, by kind.
	Host     *HostStatus     `json:"host,omitempty"`
	Instance *InstanceStatus `json:"instance,omitempty"`
	Port     *PortStatus     `json:"port,omitempty"`
	// Events that explain the change; Kind, Object, Name and Actor are filled in by the controller.
	Events []EventSpec `json:"events,omitempty"`
}
