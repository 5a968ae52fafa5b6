package api

import "time"

// JoinToken lets one machine join the cloud as a host, once.
type JoinToken struct {
	Resource[JoinTokenSpec, JoinTokenStatus]
	// Secret is what the machine is given: it holds the token's ID, 256 random
	// bits and the fingerprint of the CA. Shown once and never stored.
	Secret string `json:"secret,omitempty" readOnly:"true" doc:"What cairn agent --join-token takes. Shown once, in the answer to the create."`
}

// JoinTokenSpec is what is wanted of a join token.
type JoinTokenSpec struct {
	ExpiresAt    *time.Time `json:"expires_at,omitempty" doc:"Default: an hour from now."`
	SecretSHA256 string     `json:"secret_sha256,omitempty" readOnly:"true" doc:"SHA-256 of the random part of the secret, hexadecimal."`
	UsedBy       string     `json:"used_by,omitempty" readOnly:"true" doc:"ID of the host that joined with it."`
	KeySHA256    string     `json:"key_sha256,omitempty" readOnly:"true" doc:"SHA-256 of that host's public key, hexadecimal: it alone may ask again, where the answer was lost."`
}

// JoinTokenStatus is what is seen of a join token.
type JoinTokenStatus struct{ Status }

var joinTokenKind = kind[JoinToken](Kind{
	Name: KindJoinToken, Plural: "join-tokens", IDPrefix: "jtk", Access: AccessCloud, Immediate: true,
	Verbs:   []Verb{VerbList, VerbGet, VerbCreate, VerbDelete},
	Doc:     "A one-time token with which a machine joins as a host.",
	States:  []State{StateReady},
	Columns: []Column{{"EXPIRES", "spec.expires_at"}, {"USED BY", "spec.used_by"}},
})

// Default implements Object.
func (t *JoinToken) Default() {}

// Validate implements Object.
func (t *JoinToken) Validate() error { return validateMeta(&t.Meta).Err() }

// Claims implements Object.
func (t *JoinToken) Claims() Claims {
	return Claims{Unique: []Unique{NameClaim(KindJoinToken, &t.Meta)}}
}
