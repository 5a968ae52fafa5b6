package api

import "time"

// Event is something that happened to a resource. Events go by themselves
// after a day.
type Event struct {
	Resource[EventSpec, EventStatus]
}

// EventSpec is what an event says.
type EventSpec struct {
	Kind    string    `json:"kind" doc:"Of the resource."`
	Object  string    `json:"object" doc:"ID of the resource."`
	Name    string    `json:"object_name,omitempty" doc:"Its name at the time."`
	Warning bool      `json:"warning,omitempty" doc:"Whether somebody should look at it."`
	Reason  string    `json:"reason" doc:"Stable CamelCase word for programs." example:"Crashed"`
	Message string    `json:"message" doc:"A sentence for people."`
	Actor   string    `json:"actor,omitempty" doc:"Who did it: token/…, host/…, or a controller's name."`
	Time    time.Time `json:"time" doc:"When it happened."`
}

// EventStatus is empty: an event has happened.
type EventStatus struct{ Status }

var eventKind = kind[Event](Kind{
	Name: KindEvent, Plural: "events", IDPrefix: "evt", Scope: ScopeProject, Immediate: true,
	Verbs:   []Verb{VerbList, VerbGet},
	Doc:     "Something that happened to a resource; kept for a day.",
	States:  []State{StateReady},
	Columns: []Column{{"TIME", "spec.time"}, {"KIND", "spec.kind"}, {"OBJECT", "spec.object_name"}, {"REASON", "spec.reason"}, {"MESSAGE", "spec.message"}},
})

// Default implements Object.
func (e *Event) Default() {}

// Validate implements Object.
func (e *Event) Validate() error { return nil }

// Claims implements Object.
func (e *Event) Claims() Claims { return Claims{} }
