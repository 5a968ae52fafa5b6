package controller

import (
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
	"github.com/cairn-cloud/cairn/scheduler"
)

// Kind is what the control plane does for one kind of resource. All but Name may be absent.
type Kind struct {
	Name string
	// Admit judges and completes an object before it is written: old is nil for
	// a create. References become IDs; what goes with the object is added to the
	// admission's change. It may be called more than once for one request.
	Admit func(a *admission, old, o api.Object) error
	// Preview adds to what a dry run says of an admitted object.
	Preview func(a *admission, o api.Object, p *api.Preview)
	// Remove is asked before a deletion: it refuses, or says with now that the
	// object can go at once in spite of its finalizers. What goes with it is added to the
	// admission's change.
	Remove func(a *admission, o api.Object, force bool) (now bool, err error)
	// Watches: other kind → which of mine a change of it concerns.
	Watches map[string]func(v api.View, o api.Object) []string
	// Reconcile says what to write about one object, given all that is, and when to
	// look again (0: when something changes).
	Reconcile func(r reconciling, id string) (store.Change, time.Duration, error)
}

// reconciling is what a Reconcile decides on.
type reconciling struct {
	api.View
	now   time.Time
	place scheduler.Placer
}

// Kinds is the list of kinds.
var Kinds = []Kind{
	projectKind,
	tokenKind,
	instanceTypeKind,
	imageKind,
	sshKeyKind,
	networkKind,
	subnetKind,
	securityGroupKind,
	portKind,
	externalNetworkKind,
	floatingIPKind,
	instanceKind,
	hostKind,
	joinTokenKind,
}

func kindOf(name string) Kind {
	for _, k := range Kinds {
		if k.Name == name {
			return k
		}
	}
	return Kind{Name: name}
}

// get returns the object of that kind and ID, or a nil pointer.
func get[T api.Object](v api.View, kind, id string) T {
	o, _ := v.Get(kind, id).(T)
	return o
}
