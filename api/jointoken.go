package api

import (
	"fmt"
	"time"
)

// JoinToken lets one machine join the cloud, as a host or as a controller, once.
type JoinToken struct {
	Resource[JoinTokenSpec, JoinTokenStatus]
	// Secret is what the machine is given: it holds the token's ID, 256 random
	// bits and the fingerprint of the CA. Shown once and never stored.
	Secret string `json:"secret,omitempty" readOnly:"true" doc:"What cairn agent and cairn controller --join-token-file take. Shown once, in the answer to the create."`
}

// JoinRole is what a machine becomes by joining.
type JoinRole string

// What a machine may join as.
const (
	JoinHost       JoinRole = "host"
	JoinController JoinRole = "controller"
)

// JoinTokenSpec is what is wanted of a join token.
type JoinTokenSpec struct {
	Role         JoinRole   `json:"role,omitempty" enum:"host,controller" doc:"What the machine becomes; default: host. A controller is given the CA with its key."`
	ExpiresAt    *time.Time `json:"expires_at,omitempty" doc:"Default: an hour from now."`
	SecretSHA256 string     `json:"secret_sha256,omitempty" readOnly:"true" doc:"SHA-256 of the random part of the secret, hexadecimal."`
	UsedBy       string     `json:"used_by,omitempty" readOnly:"true" doc:"ID of the host, or name of the controller, that joined with it."`
	KeySHA256    string     `json:"key_sha256,omitempty" readOnly:"true" doc:"SHA-256 of that host's public key, or of the proof of that controller, hexadecimal: it alone may ask again, where the answer was lost."`
}

// JoinTokenStatus is what is seen of a join token.
type JoinTokenStatus struct{ Status }

var joinTokenKind = kind[JoinToken](Kind{
	Name: KindJoinToken, Plural: "join-tokens", IDPrefix: "jtk", Access: AccessCloud, Immediate: true,
	Verbs:   []Verb{VerbList, VerbGet, VerbCreate, VerbDelete},
	Doc:     "A one-time token with which a machine joins as a host, or as a controller.",
	States:  []State{StateReady},
	Columns: []Column{{"ROLE", "spec.role"}, {"EXPIRES", "spec.expires_at"}, {"USED BY", "spec.used_by"}},
})

// Default implements Object.
func (t *JoinToken) Default() {
	if t.Spec.Role == "" {
		t.Spec.Role = JoinHost
	}
}

// Validate implements Object.
func (t *JoinToken) Validate() error {
	f := validateMeta(&t.Meta)
	if t.Spec.Role != JoinHost && t.Spec.Role != JoinController {
		f = append(f, Fault{Field: "spec.role", Code: "invalid_value", Detail: fmt.Sprintf("%q is no role to join in", t.Spec.Role), Hint: "give host or controller"})
	}
	return f.Err()
}

// Claims implements Object.
func (t *JoinToken) Claims() Claims {
	return Claims{Unique: []Unique{NameClaim(KindJoinToken, &t.Meta)}}
}
