package api

import (
	"encoding/base64"
	"strings"
)

// SSHKey is a public key that instances let in.
type SSHKey struct {
	Resource[SSHKeySpec, SSHKeyStatus]
}

// SSHKeySpec is what is wanted of an SSH key.
type SSHKeySpec struct {
	PublicKey string `json:"public_key" doc:"One line in OpenSSH's format." maxLength:"16384" example:"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI… me@laptop"`
}

// SSHKeyStatus is what is seen of an SSH key.
type SSHKeyStatus struct{ Status }

var sshKeyKind = kind[SSHKey](Kind{
	Name: KindSSHKey, Plural: "ssh-keys", IDPrefix: "key", Scope: ScopeProject, Immediate: true,
	Doc:     "A public key that instances let in.",
	States:  []State{StateReady},
	Columns: []Column{{"PUBLIC KEY", "spec.public_key"}},
})

// Default implements Object.
func (k *SSHKey) Default() { k.Spec.PublicKey = strings.TrimSpace(k.Spec.PublicKey) }

// Validate implements Object.
func (k *SSHKey) Validate() error {
	f := validateMeta(&k.Meta)
	if why := badPublicKey(k.Spec.PublicKey); why != "" {
		f.Add("spec.public_key", "paste the line of a .pub file, such as ~/.ssh/id_ed25519.pub", "%s", why)
	}
	return f.Err()
}

// badPublicKey says what is wrong with a line in OpenSSH's format, or "".
func badPublicKey(s string) string {
	if strings.ContainsAny(s, "\n\r\x00") {
		return "it is more than one line"
	}
	if strings.Contains(s, "PRIVATE KEY") {
		return "it is a private key"
	}
	parts := strings.Fields(s)
	if len(parts) < 2 {
		return "it is not of the form TYPE BASE64 [COMMENT]"
	}
	blob, err := base64.StdEncoding.DecodeString(parts[1])
	if err != nil || len(blob) < 4 {
		return "its second word is not base64"
	}
	// The blob begins with its own type: a 4-byte length and the name.
	n := int(blob[0])<<24 | int(blob[1])<<16 | int(blob[2])<<8 | int(blob[3])
	if n <= 0 || n > len(blob)-4 || string(blob[4:4+n]) != parts[0] {
		return "its type and its key do not match"
	}
	return ""
}

// Claims implements Object.
func (k *SSHKey) Claims() Claims {
	return Claims{Unique: []Unique{NameClaim(KindSSHKey, &k.Meta)}, Refs: []Ref{{Kind: KindProject, ID: k.Project, Field: "project"}}}
}
