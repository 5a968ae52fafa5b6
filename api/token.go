package api

import "time"

// Token lets its bearer act in its project with its role.
type Token struct {
	Resource[TokenSpec, TokenStatus]
	// Secret is the bearer token itself: shown once, in the answer to the
	// create, and never stored.
	Secret string `json:"secret,omitempty" readOnly:"true" doc:"The bearer token. Shown once, in the answer to the create."`
}

// Role says what the bearer of a token may do in its project.
type Role string

// The roles.
const (
	RoleViewer Role = "viewer" // read
	RoleMember Role = "member" // and change resources
	RoleAdmin  Role = "admin"  // and manage tokens; in the project "system": everything
)

// TokenSpec is what is wanted of a token.
type TokenSpec struct {
	Role         Role       `json:"role" enum:"admin,member,viewer" doc:"What its bearer may do in the project: viewer reads, member changes resources, admin also manages tokens."`
	ExpiresAt    *time.Time `json:"expires_at,omitempty" doc:"After this time the token is refused. Absent: never."`
	SecretSHA256 string     `json:"secret_sha256,omitempty" readOnly:"true" doc:"SHA-256 of the secret, hexadecimal."`
}

// TokenStatus is what is seen of a token.
type TokenStatus struct{ Status }

var tokenKind = kind[Token](Kind{
	Name: KindToken, Plural: "tokens", IDPrefix: "tok", Scope: ScopeProject, Access: AccessProjectAdmin, Immediate: true,
	Verbs:   []Verb{VerbList, VerbGet, VerbCreate, VerbDelete},
	Doc:     "A bearer token, bound to a project and a role.",
	States:  []State{StateReady},
	Columns: []Column{{"ROLE", "spec.role"}, {"EXPIRES", "spec.expires_at"}},
})

// Default implements Object.
func (t *Token) Default() {}

// Validate implements Object.
func (t *Token) Validate() error {
	f := validateMeta(&t.Meta)
	switch t.Spec.Role {
	case RoleViewer, RoleMember, RoleAdmin:
	default:
		f.Add("spec.role", "give one of admin, member, viewer", "%q is no role", string(t.Spec.Role))
	}
	return f.Err()
}

// Claims implements Object.
func (t *Token) Claims() Claims {
	return Claims{
		Unique: []Unique{NameClaim(KindToken, &t.Meta), {Key: TokenKey(t.Spec.SecretSHA256), Field: "secret", Code: "internal"}},
		Refs:   []Ref{{Kind: KindProject, ID: t.Project, Field: "project"}},
	}
}

// TokenKey is the claim by which a token is found from the SHA-256 of its secret.
func TokenKey(sha256hex string) string { return "token/" + sha256hex }
