package controller

import "github.com/cairn-cloud/cairn/api"

var sshKeyKind = Kind{
	Name: api.KindSSHKey,
	Admit: func(_ *admission, old, o api.Object) error {
		return immutable(old, o, "make another key: instances that have this one were told of it at their first boot")
	},
}
