package main

import (
	"errors"
	"fmt"
	"strconv"
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
	{api.KindInstance, "security-group", "Security group of the NICs that --network and --subnet make; may be given many times.", groupFlag},
	{api.KindInstance, "user-data-file", "File with the user data for cloud-init; - is the standard input.", fileFlag("user_data")},
	{api.KindNetwork, "route", "Range that a port of the network leads to, as DESTINATION,ADDRESS, such as 172.16.0.0/12,10.0.0.5; may be given many times.", routeFlag},
	{api.KindSecurityGroup, "rule", "What to allow, as DIRECTION,PROTOCOL[,PORT[-PORT]][,CIDR or GROUP], such as ingress,tcp,80-90,203.0.113.0/24 or ingress,icmp,8; may be given many times.", ruleFlag},
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

// groupFlag gives security groups to the NICs that are to be made.
func groupFlag(_ *app, body map[string]any, values []string) error {
	spec, _ := body["spec"].(map[string]any)
	nics, _ := spec["nics"].([]any)
	given := false
	for _, n := range nics {
		nic, ok := n.(map[string]any)
		if !ok || nic["port"] != nil || nic["security_groups"] != nil {
			continue
		}
		nic["security_groups"], given = values, true
	}
	if !given {
		return errors.New("--security-group is about the NICs of --network and --subnet, and there are none: give one, or set the groups of the port")
	}
	return nil
}

// routeFlag appends a route for each value.
func routeFlag(_ *app, body map[string]any, values []string) error {
	spec, _ := body["spec"].(map[string]any)
	routes, _ := spec["routes"].([]any)
	for _, v := range values {
		to, via, two := strings.Cut(v, ",")
		if !two {
			return fmt.Errorf("--route %s: give DESTINATION,ADDRESS, such as 172.16.0.0/12,10.0.0.5", v)
		}
		routes = append(routes, map[string]any{"destination": to, "via": via})
	}
	return assign(body, []string{"spec", "routes"}, routes)
}

// ruleFlag appends a rule for each value. What comes behind the protocol is told
// apart by how it is written.
func ruleFlag(_ *app, body map[string]any, values []string) error {
	spec, _ := body["spec"].(map[string]any)
	rules, _ := spec["rules"].([]any)
	for _, v := range values {
		parts := strings.Split(v, ",")
		rule := map[string]any{"direction": parts[0]}
		if len(parts) > 1 {
			rule["protocol"] = parts[1]
		}
		for _, p := range parts[min(2, len(parts)):] {
			if err := rulePart(rule, p); err != nil {
				return fmt.Errorf("--rule %s: %w", v, err)
			}
		}
		rules = append(rules, rule)
	}
	return assign(body, []string{"spec", "rules"}, rules)
}

func rulePart(rule map[string]any, p string) error {
	first, last, isRange := strings.Cut(p, "-")
	n, err := strconv.Atoi(first)
	m, err2 := strconv.Atoi(last)
	isICMP := strings.HasPrefix(fmt.Sprint(rule["protocol"]), "icmp")
	switch {
	case err == nil && !isRange && isICMP:
		rule["icmp_type"] = n
	case err == nil && !isRange:
		rule["ports"] = map[string]any{"first": n}
	case err == nil && err2 == nil:
		rule["ports"] = map[string]any{"first": n, "last": m}
	case strings.Contains(p, "/"):
		rule["cidr"] = p
	case p == "" || rule["group"] != nil:
		return fmt.Errorf("%q is no port, range of addresses or group; give DIRECTION,PROTOCOL[,PORT[-PORT]][,CIDR or GROUP]", p)
	default:
		rule["group"] = p
	}
	return nil
}
