package api

import (
	"fmt"
	"strconv"
	"strings"
)

// Operation is a change that a caller can follow. It is a view of the resource
// that it changes, not stored work: "this resource has observed that
// generation". Its ID is op_<resource's ID>_<generation>.
type Operation struct {
	Resource[OperationSpec, OperationStatus]
}

// OperationSpec says what the operation is about.
type OperationSpec struct {
	Kind       string `json:"kind" doc:"Of the resource."`
	Object     string `json:"object" doc:"ID of the resource."`
	Generation int64  `json:"object_generation" doc:"The generation that is to be observed; 0: the resource is to be gone."`
}

// OperationStatus says how far it is.
type OperationStatus struct {
	Status
	Steps   []Condition `json:"steps,omitempty" doc:"The resource's conditions."`
	Message string      `json:"message,omitempty" doc:"The first thing that is not as it should be, in a sentence."`
}

var operationKind = kind[Operation](Kind{
	Name: KindOperation, Plural: "operations", IDPrefix: "op", Scope: ScopeProject,
	Verbs:   []Verb{VerbList, VerbGet},
	Doc:     "A change under way: a view of the resource that it changes.",
	States:  []State{StatePending, StateRunning, StateReady, StateFailed},
	Columns: []Column{{"KIND", "spec.kind"}, {"OBJECT", "spec.object"}, {"MESSAGE", "status.message"}},
})

// Default implements Object.
func (o *Operation) Default() {}

// Validate implements Object.
func (o *Operation) Validate() error { return nil }

// Claims implements Object.
func (o *Operation) Claims() Claims { return Claims{} }

// OperationID is the ID of the operation that ends when the object has
// observed the generation; generation 0 stands for its deletion.
func OperationID(object string, generation int64) string {
	return fmt.Sprintf("op_%s_%d", object, generation)
}

// ParseOperationID is the reverse of OperationID.
func ParseOperationID(id string) (object string, generation int64, ok bool) {
	rest, found := strings.CutPrefix(id, "op_")
	at := strings.LastIndexByte(rest, '_')
	if !found || at < 0 {
		return "", 0, false
	}
	g, err := strconv.ParseInt(rest[at+1:], 10, 64)
	if err != nil || g < 0 {
		return "", 0, false
	}
	return rest[:at], g, true
}

// OperationOf is the operation towards the object's present desired state.
func OperationOf(o Object) *Operation {
	m, s := o.GetMeta(), o.StatusPtr().GetStatus()
	k, _ := KindOf(o)
	op := &Operation{}
	op.Project, op.Name, op.CreatedAt, op.UpdatedAt = m.Project, m.Name, m.UpdatedAt, m.UpdatedAt
	op.Spec = OperationSpec{Kind: k.Name, Object: m.ID, Generation: m.Generation}
	op.Status.Steps = s.Conditions
	switch {
	case m.Deleting():
		op.Spec.Generation = 0
		op.Status.State = StateRunning
	case s.State == StateFailed:
		op.Status.State = StateFailed
	case s.ObservedGeneration >= m.Generation && !s.State.InProgress():
		op.Status.State = StateReady
	case s.State == StatePending || s.State == "":
		op.Status.State = StatePending
	default:
		op.Status.State = StateRunning
	}
	for _, c := range s.Conditions {
		if !c.OK {
			op.Status.Message = c.Message
			break
		}
	}
	op.ID = OperationID(m.ID, op.Spec.Generation)
	return op
}

// InProgress tells whether a resource leaves the state by itself.
func (s State) InProgress() bool {
	switch s {
	case "", StatePending, StateUploading, StateImporting, StateStarting, StateMigrating, StateStopping, StateDeleting:
		return true
	default:
		return false
	}
}
