package api

import (
	"encoding/json"
	"reflect"
)

// Scope says what a kind's resources belong to.
type Scope int

// The scopes.
const (
	ScopeCloud   Scope = iota // one list for the whole cloud: /v1/hosts
	ScopeProject              // a list a project: /v1/projects/{project}/instances
)

// Access says who may read and change a kind.
type Access int

// The access rules. A cloud administrator (an admin token of the project
// "system") may do everything.
const (
	// AccessTenant: a project's viewers read, its members and admins change.
	AccessTenant Access = iota
	// AccessProjectAdmin: a project's admins read and change.
	AccessProjectAdmin
	// AccessCatalog: everybody reads, cloud administrators change.
	AccessCatalog
	// AccessCloud: cloud administrators read and change.
	AccessCloud
	// AccessOwnProject: a token's own project is readable, cloud administrators change.
	AccessOwnProject
)

// Verb is one thing that can be done to a kind over REST.
type Verb string

// The verbs.
const (
	VerbList   Verb = "list" // and watch
	VerbGet    Verb = "get"
	VerbCreate Verb = "create"
	VerbUpdate Verb = "update"
	VerbDelete Verb = "delete"
)

// Action is a change with a name: POST …/{id}/{action}. It is a function from
// the object and the request's body to a changed spec, so it follows the same
// path as a PATCH.
type Action struct {
	Name  string
	Doc   string
	Input any // pointer to a zero value of the body's type; nil when there is none
	Apply func(o Object, input any) error
}

// Kind describes one kind of resource. The zero values of Verbs, Access and
// Schema mean: all verbs, AccessTenant, schema 1.
type Kind struct {
	Name, Plural string // in URLs and the CLI: "instance-type", "instance-types"
	IDPrefix     string // "typ"
	Doc          string // one sentence for people
	Scope        Scope
	Access       Access
	Verbs        []Verb
	Actions      []Action
	States       []State // the states that its resources can be in
	// Immediate: the resource is in effect as soon as it is written. It has no
	// status record: its status is "ready" at its own generation.
	Immediate bool
	// Shared: the resources of the project "system" can be read, and referred to, by every project.
	Shared  bool
	Columns []Column // what a table in the CLI and the console shows
	New     func() Object
	Schema  int // version of the stored JSON
	// Upgrade[i] turns a stored record of schema i+1 into one of schema i+2.
	Upgrade []func(json.RawMessage) (json.RawMessage, error)
}

// Column is one column of a table: a title and the JSON path of its value.
type Column struct{ Title, Path string }

// Kinds is the list of all kinds. Order is the order in documents.
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
	eventKind,
	operationKind,
}

// The names of the kinds that the code itself speaks of.
const (
	KindProject         = "project"
	KindToken           = "token"
	KindInstanceType    = "instance-type"
	KindImage           = "image"
	KindSSHKey          = "ssh-key"
	KindNetwork         = "network"
	KindSubnet          = "subnet"
	KindPort            = "port"
	KindExternalNetwork = "external-network"
	KindFloatingIP      = "floating-ip"
	KindInstance        = "instance"
	KindHost            = "host"
	KindJoinToken       = "join-token"
	KindEvent           = "event"
	KindOperation       = "operation"
	KindSecurityGroup   = "security-group"
)

// KindByName finds a kind by its singular or plural name.
func KindByName(name string) (Kind, bool) {
	for _, k := range Kinds {
		if k.Name == name || k.Plural == name {
			return k, true
		}
	}
	return Kind{}, false
}

// KindOf finds the kind of an object by its Go type.
func KindOf(o Object) (Kind, bool) {
	k, ok := kindByType[reflect.TypeOf(o)]
	return k, ok
}

// KindByID finds the kind of an ID by its prefix.
func KindByID(id string) (Kind, bool) {
	for _, k := range Kinds {
		if len(id) > len(k.IDPrefix)+1 && id[:len(k.IDPrefix)] == k.IDPrefix && id[len(k.IDPrefix)] == '_' {
			return k, true
		}
	}
	return Kind{}, false
}

// Can tells whether the kind has that verb.
func (k Kind) Can(v Verb) bool {
	if k.Verbs == nil {
		return true
	}
	for _, x := range k.Verbs {
		if x == v {
			return true
		}
	}
	return false
}

var kindByType = func() map[reflect.Type]Kind {
	m := map[reflect.Type]Kind{}
	for _, k := range Kinds {
		m[reflect.TypeOf(k.New())] = k
	}
	return m
}()

// kind fills in what the literal leaves out.
func kind[T any, P interface {
	*T
	Object
}](k Kind) Kind {
	k.New = func() Object { return P(new(T)) }
	if k.Schema == 0 {
		k.Schema = 1
	}
	return k
}
