package api

import "time"

// Object is a resource of any kind. Every kind gets GetMeta, SpecPtr and
// StatusPtr from Resource, and writes the other three itself.
type Object interface {
	GetMeta() *Meta
	// SpecPtr points at the desired state, StatusPtr at the observed one.
	// The store keeps the two in records of their own.
	SpecPtr() any
	StatusPtr() Observed
	// Default fills what the user left out. It is idempotent.
	Default()
	// Validate reports every fault it finds as Faults, or nil. It judges the
	// object alone; what depends on other objects is judged at admission.
	Validate() error
	// Claims lists what the object holds while it exists. It is a pure
	// function of an admitted object (its references are IDs by then).
	Claims() Claims
}

// Meta is what every resource has beside its spec and status.
type Meta struct {
	ID         string            `json:"id" readOnly:"true" doc:"Opaque identifier, prefixed by kind." example:"ins_3b7gq0d9t2k5m8r1w6xz"`
	Name       string            `json:"name" doc:"Unique in its project and kind: lower-case letters, digits and dashes, starting with a letter." minLength:"1" maxLength:"63" pattern:"^[a-z]([a-z0-9-]*[a-z0-9])?$"`
	Project    string            `json:"project,omitempty" readOnly:"true" doc:"ID of the project that owns the resource; absent for kinds that belong to the cloud."`
	Labels     map[string]string `json:"labels,omitempty" doc:"Free key/value pairs for selection."`
	Generation int64             `json:"generation" readOnly:"true" doc:"Raised by one at every change of the spec."`
	Revision   int64             `json:"revision" readOnly:"true" doc:"Store revision of the last change by a user; the ETag of the resource."`
	CreatedAt  time.Time         `json:"created_at" readOnly:"true" doc:"Time of the create."`
	UpdatedAt  time.Time         `json:"updated_at" readOnly:"true" doc:"Time of the last change by a user."`
	DeletedAt  *time.Time        `json:"deleted_at,omitempty" readOnly:"true" doc:"When deletion was asked for; the resource goes once its finalizers are done."`
	Finalizers []string          `json:"finalizers,omitempty" readOnly:"true" doc:"What must be cleaned up outside the store before the resource goes."`
	Protected  bool              `json:"protected,omitempty" doc:"Refuse deletion while true."`
}

// GetMeta makes every struct that embeds Meta half an Object.
func (m *Meta) GetMeta() *Meta { return m }

// Deleting tells whether deletion was asked for.
func (m *Meta) Deleting() bool { return m.DeletedAt != nil }

// Resource is the common shape: metadata, what is wanted (S), what is seen (T).
type Resource[S any, T any] struct {
	Meta
	Spec   S `json:"spec"`
	Status T `json:"status" readOnly:"true"`
}

// SpecPtr returns a pointer to the spec.
func (r *Resource[S, T]) SpecPtr() any { return &r.Spec }

// StatusPtr returns a pointer to the status. Every status embeds Status.
func (r *Resource[S, T]) StatusPtr() Observed { return any(&r.Status).(Observed) }

// State is where a resource stands. The list is closed; each Kind names the
// states that it can be in.
type State string

// The states.
const (
	StatePending     State = "pending"     // accepted, nothing done yet
	StateReady       State = "ready"       // usable
	StateNotReady    State = "not_ready"   // a host that does not report
	StateDraining    State = "draining"    // a host that its instances leave
	StateMaintenance State = "maintenance" // a host that was drained
	StateLost        State = "lost"        // a host that has been silent for long, or is off for sure
	StateUploading   State = "uploading"   // an image whose bytes are arriving
	StateImporting   State = "importing"   // an image that is being fetched from its URL
	StateStarting    State = "starting"    // an instance being prepared on its host
	StateRunning     State = "running"
	StateMigrating   State = "migrating" // an instance that runs and is being moved
	StateStopping    State = "stopping"
	StateStopped     State = "stopped"
	StateFailed      State = "failed" // needs a change by somebody; the conditions say which
	StateDeleting    State = "deleting"
	StateGone        State = "gone" // nothing of it is left on its host
	StateActive      State = "active"
	StateDown        State = "down"
	StateAttached    State = "attached" // a floating IP that leads to a port
	StateDetached    State = "detached" // one that leads nowhere
)

// Status is the head of every kind's status.
type Status struct {
	State              State       `json:"state" doc:"Where the resource stands."`
	ObservedGeneration int64       `json:"observed_generation" doc:"The generation that this status answers to."`
	Conditions         []Condition `json:"conditions,omitempty" doc:"What is known about the resource, one entry a matter."`
}

// Observed is implemented by every kind's status.
type Observed interface{ GetStatus() *Status }

// GetStatus makes every struct that embeds Status Observed.
func (s *Status) GetStatus() *Status { return s }

// Condition is one thing known about a resource.
type Condition struct {
	Type    string    `json:"type" doc:"What is judged, as a CamelCase noun." example:"Scheduled"`
	OK      bool      `json:"ok" doc:"Whether it is as it should be."`
	Reason  string    `json:"reason,omitempty" doc:"Stable CamelCase word for programs."`
	Message string    `json:"message,omitempty" doc:"A sentence for people: the cause and what to do."`
	Since   time.Time `json:"since,omitempty,omitzero" doc:"When it became so."`
}

// SetCondition puts c in place of the condition of the same type. It keeps
// Since when nothing changed, so that an unchanged status stays byte-equal.
func (s *Status) SetCondition(c Condition) {
	for i, old := range s.Conditions {
		if old.Type == c.Type {
			if old.OK == c.OK && old.Reason == c.Reason {
				c.Since = old.Since
			}
			s.Conditions[i] = c
			return
		}
	}
	s.Conditions = append(s.Conditions, c)
}

// Condition returns the condition of that type, or nil.
func (s *Status) Condition(typ string) *Condition {
	for i := range s.Conditions {
		if s.Conditions[i].Type == typ {
			return &s.Conditions[i]
		}
	}
	return nil
}

// Claims is what an object holds in the store while it exists. All of it is
// written in the transaction that writes the object and goes in the one that
// removes it, so nothing leaks and nothing is given twice.
type Claims struct {
	Unique []Unique
	Counts []Count
	Refs   []Ref
}

// Unique is a key that one object may own at a time: a name, an address, a MAC.
type Unique struct {
	Key   string // such as "ip/net_x/10.0.0.5"; no leading slash
	Field string // the field at fault when it is taken, such as "spec.address"
	Code  string // the problem's code when it is taken, such as "address_taken"
}

// Count is a use of a counter, such as a project's quota or a host's room.
type Count struct {
	Key     string // such as "quota/prj_x"
	Amounts map[string]int64
}

// Ref says that the object cannot do without another one, which therefore
// cannot be deleted.
type Ref struct {
	Kind, ID string
	Field    string // the field that holds it, such as "spec.network"
}

// NameClaim is the claim on a resource's name in its project and kind.
func NameClaim(kind string, m *Meta) Unique {
	return Unique{Key: "name/" + kind + "/" + m.Project + "/" + m.Name, Field: "name", Code: "name_taken"}
}
