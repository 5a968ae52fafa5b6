package main

import (
	"fmt"
	"strings"

	"github.com/cairn-cloud/cairn/api"
)

// convenience is a flag that no field has, for what people type often. This
// list is all that the client knows of single kinds.
type convenience struct {
	kind, flag, doc string
	apply           func(a *app, body map[string]any, values []string) error
}

var conveniences = []convenience{
	{api.KindInstance, "network", "Network to put a NIC into, as NAME or NAME=ADDRESS; may be given many times.", nicFlag("network")},
	{api.KindInstance, "subnet", "Subnet to put a NIC into, as NAME or NAME=ADDRESS; may be given many times.", nicFlag("subnet")},
	{api.KindPort, "subnet", "Subnet to have an address in, as NAME or NAME=ADDRESS; may be given many times.", portFlag("subnet")},
	{api.KindPort, "address", "Address to have; may be given many times.", portFlag("address")},
	{api.KindInstance, "port", "Existing port to use as a NIC; may be given many times.", nicFlag("port")},
	{api.KindInstance, "user-data-file", "File with the user data for cloud-init; - is the standard input.", fileFlag("user_data")},
	{api.KindSSHKey, "public-key-file", "File with the public key, such as ~/.ssh/id_ed25519.pub; - is the standard input.", fileFlag("public_key")},
}

func conveniencesOf(kind string) (out []convenience) {
	for _, c := range conveniences {
		if c.kind == kind {
			out = append(out, c)
		}
	}
	return out
}

// nicFlag appends a NIC for each value.
func nicFlag(field string) func(*app, map[string]any, []string) error {
	return func(_ *app, body map[string]any, values []string) error {
		spec, _ := body["spec"].(map[string]any)
		nics, _ := spec["nics"].([]any)
		for _, v := range values {
			name, address, fixed := strings.Cut(v, "=")
			nic, asked := map[string]any{}, map[string]any{}
			if fixed {
				asked["address"] = address
			}
			if field == "subnet" {
				asked["subnet"] = name
			} else {
				nic[field] = name
			}
			if len(asked) > 0 {
				nic["addresses"] = []any{asked}
			}
			nics = append(nics, nic)
		}
		return assign(body, []string{"spec", "nics"}, nics)
	}
}

// portFlag appends an address for each value.
func portFlag(field string) func(*app, map[string]any, []string) error {
	return func(_ *app, body map[string]any, values []string) error {
		spec, _ := body["spec"].(map[string]any)
		addresses, _ := spec["addresses"].([]any)
		for _, v := range values {
			name, address, fixed := strings.Cut(v, "=")
			asked := map[string]any{field: name}
			if fixed {
				asked["address"] = address
			}
			addresses = append(addresses, asked)
		}
		return assign(body, []string{"spec", "addresses"}, addresses)
	}
}

// fileFlag sets a field of the spec to what is in a file.
func fileFlag(field string) func(*app, map[string]any, []string) error {
	return func(a *app, body map[string]any, values []string) error {
		b, err := a.read(values[0])
		if err != nil {
			return fmt.Errorf("read the %s: %w", strings.ReplaceAll(field, "_", " "), err)
		}
		return assign(body, []string{"spec", field}, string(b))
	}
}
