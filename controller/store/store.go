package store

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/cairn-cloud/cairn/api"
)

// Errors of the store. Others are problems (*api.Problem) or come from etcd.
var (
	// ErrTooOld: the history in memory does not go back to the cursor. List again.
	// It comes together with a *api.Problem (410).
	ErrTooOld = errors.New("the history does not go back that far")
	// ErrNotLeader: another process leads, or nobody.
	ErrNotLeader = errors.New("this process does not lead any more")
	// ErrStale: a change was computed from another version of an object than the
	// one in the view that decide was given.
	ErrStale = errors.New("it is not the version that the view shows")
	// ErrRemoved: this controller's etcd is not one of the members any more.
	ErrRemoved = errors.New("this controller was removed from the others")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("the store is closed")
)

// Change is what one transaction does, all or nothing. Every object in it is a
// whole value; the store writes of it the record that the field names. The
// revisions of the records written are compared with those of the view that
// the change was computed from.
type Change struct {
	Create []api.Object    // spec records of new objects, with their claims
	Update []api.Object    // spec records, with the difference of their claims
	Status []api.Object    // status records; dropped where nothing changed
	Place  []*api.Instance // placement records, with their claims
	Delete []api.Object    // every record and claim of an object
	Events []*api.Event    // kept for a day
	// Idempotency remembers the answer to a request for a day.
	Idempotency *Idempotency
	// Guards must hold too: each object must have the revision that the view
	// shows, and the placement.
	Guards []api.Object
	// Fences say that hosts are off for sure. They are refused once the host has
	// come alive again since the life that they are about.
	Fences []*api.Fence
	// Fenced are the IDs of hosts whose fence in the view must still hold.
	Fenced []string

	// WhileHeld lets it through although the store is held; see Hold.
	WhileHeld bool

	rewrite []api.Object // records of an older schema, written again as they are
}

// Idempotency is the remembered answer to a request.
type Idempotency struct {
	Key         string       `json:"key"` // scoped by its writer
	Fingerprint string       `json:"fingerprint"`
	Kind        string       `json:"kind"`
	ID          string       `json:"id,omitempty"`      // of what was written
	Refused     *api.Problem `json:"refused,omitempty"` // why nothing was written
}

// Store keeps the objects. There is one implementation, Etcd.
type Store interface {
	// View returns an immutable picture at least as new as the revision, which
	// may be api.Latest.
	View(ctx context.Context, atLeast int64) (*View, error)
	// Commit calls decide with the newest view, and writes what it returns in
	// one transaction. Commits of one process are decided one after the other, each seeing
	// those before it, and share transactions where they can. After a conflict with another
	// process decide is called again. An error of decide is returned as it is and nothing is written;
	// an empty Change writes nothing.
	// The revision is that of the transaction or, where nothing was written, of
	// what decide saw. decide is never running when Commit returns, and the view that it gets is
	// good until it returns.
	Commit(ctx context.Context, decide func(*View) (Change, error)) (rev int64, err error)
	// Watch yields the changes after the cursor; see rest.Backend.
	Watch(ctx context.Context, kind string, after api.Cursor) iter.Seq2[api.WatchEvent, error]
	// SetAlive holds the host's lease while this process lives, and returns the life
	// that the host then has; false lets it go.
	SetAlive(ctx context.Context, host string, alive bool) (life int64, err error)
	// Holds tells whether this process holds the host's lease, as far as it has heard.
	Holds(host string) bool
	// Lead returns when this process leads; the context that it returns ends
	// with the leadership. Commits made with that context are refused once another one leads.
	// The leadership is given up when ctx ends.
	Lead(ctx context.Context, name string) (context.Context, error)
	// Controllers are those that live, and those that have a copy of the store, by name.
	Controllers(ctx context.Context) ([]Controller, error)
	// AddMember makes room in the embedded etcd for a member at that URL, which is
	// going to start there, and returns the URLs of all members. It may be
	// repeated. Where etcd is not embedded there are none, and nothing is done.
	AddMember(ctx context.Context, peerURL string) (urls []string, err error)
	// RemoveMember takes a member away. It never comes back; another may join in its place.
	RemoveMember(ctx context.Context, id uint64) error
	// Snapshot writes all that is in the embedded etcd, with all that was acknowledged before.
	Snapshot(ctx context.Context, w io.Writer) error
	// Release ends the hold of a store that was restored.
	Release(ctx context.Context) error
	// Close lets go of all leases and waits for what is under way.
	Close() error
}
